"""The mask oracle: a pruned network must agree with the original in which the same channels are zeroed.

Groups are judged together and told apart by bisection only where together they fail, so that a sound network costs a
handful of forward passes however many groups it has.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from .groups import FrozenGroup, Group
from .inputs import Inputs, call, map_tensors, random_like, tensors_of
from .slicing import positions_of, without, zeroed

TOLERANCE = 1e-5
"""Largest difference, relative to the largest output, between a pruned network and its masked twin."""
_SHARES = (0.25, 1.0)
"""Which shares of the channels are removed; 1.0 is all but one."""


@dataclass(frozen=True)
class MaskOracle:
    """Judges groups on a perturbed copy of a network with random inputs."""

    model: nn.Module
    inputs: Inputs
    generator: torch.Generator

    @classmethod
    def of(cls, model: nn.Module, example_input: Inputs, *, seed: int = 0) -> MaskOracle:
        """Prepare the oracle; ``model`` is left as it is.

        Every parameter is perturbed, so that a scale initialised to zero cannot hide a mistake; the arithmetic is
        double precision where the network can run in it.
        """
        generator = torch.Generator().manual_seed(seed)
        network = copy.deepcopy(model).eval()
        _perturb(network, generator)
        inputs = random_like(example_input, generator)
        double = copy.deepcopy(network).double()
        wide = map_tensors(lambda t: t.double() if t.is_floating_point() else t, inputs)
        if _fault(lambda: _run(double, wide)) is None:
            return cls(double, wide, generator)
        return cls(network, inputs, generator)

    def judge(self, groups: Sequence[Group]) -> tuple[list[Group], list[FrozenGroup]]:
        """Return the groups that are sound, in order, and the others frozen with the reason."""
        sound: dict[str, Group] = {}
        frozen: list[FrozenGroup] = []
        for kind in ("exact", "shape"):
            chosen = [g for g in groups if g.verification == kind]
            passed, failed = self._bisect(chosen)
            sound.update({g.name: g for g in passed})
            frozen += [FrozenGroup(g.name, g.layers, g.channels, reason) for g, reason in failed]
        kept = [sound[g.name] for g in groups if g.name in sound]
        return kept, frozen

    def _bisect(self, groups: Sequence[Group]) -> tuple[list[Group], list[tuple[Group, str]]]:
        if not groups:
            return [], []
        reason = self.objection(groups)
        if reason is None:
            return list(groups), []
        if len(groups) == 1:
            return [], [(groups[0], reason)]
        middle = len(groups) // 2
        left, left_failed = self._bisect(groups[:middle])
        right, right_failed = self._bisect(groups[middle:])
        failed = left_failed + right_failed
        together = left + right
        # Halves that pass alone may still fail together; then the later ones give way.
        while together and left and right and (clash := self.objection(together)) is not None:
            failed.append((together.pop(), f"together with other groups, {clash}"))
        return together, failed

    def objection(self, groups: Sequence[Group]) -> str | None:
        """Return why ``groups`` cannot be pruned together, or ``None`` where they can."""
        for share in _SHARES:
            removed = [(g, self._draw(g, share)) for g in groups]
            exact = all(g.verification == "exact" for g in groups)
            reason = self._compare(removed, exact=exact)
            if reason is not None:
                return reason
        return None

    def _draw(self, group: Group, share: float) -> list[int]:
        count = min(max(1, round(share * group.channels)), group.channels - 1)
        return torch.randperm(group.channels, generator=self.generator)[:count].tolist()

    def _compare(self, removed: Iterable[tuple[Group, list[int]]], *, exact: bool) -> str | None:
        positions = positions_of(removed)
        results: list[list[torch.Tensor]] = []

        def compare() -> None:
            pruned = without(self.model, positions)
            results.append(_run(pruned, self.inputs))
            results.append(_run(zeroed(self.model, positions) if exact else self.model, self.inputs))
            _check_gradients(pruned, self.inputs)

        fault = _fault(compare)
        if fault is not None:
            return f"the pruned network does not run ({fault})"
        return _difference(results[0], results[1], exact=exact)


def _difference(pruned: list[torch.Tensor], twin: list[torch.Tensor], *, exact: bool) -> str | None:
    if [t.shape for t in pruned] != [t.shape for t in twin]:
        return "its channels are an output of the network: pruning them changes its shape"
    if not all(torch.isfinite(t).all() for t in pruned if t.is_floating_point()):
        return "the pruned network's outputs are not finite"
    if not exact:
        return None
    scale = max((float(t.abs().max()) for t in twin if t.numel()), default=0.0) or 1.0
    worst = max((float((a - b).abs().max()) for a, b in zip(pruned, twin, strict=True) if a.numel()), default=0.0)
    if worst > TOLERANCE * scale:
        return f"the pruned network differs from its masked twin by {worst / scale:.1e} of the largest output"
    return None


def _run(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    with torch.no_grad():
        return tensors_of(call(model, inputs))


def _check_gradients(model: nn.Module, inputs: Inputs) -> None:
    with torch.enable_grad():
        outputs = [t for t in tensors_of(call(model, inputs)) if t.requires_grad]
        if not outputs:
            return
        parameters = [p for p in model.parameters() if p.requires_grad]
        gradients = torch.autograd.grad([t.sum() for t in outputs], parameters, allow_unused=True)
    if not all(torch.isfinite(g).all() for g in gradients if g is not None):
        raise ArithmeticError("a gradient is not finite")


def _fault(action: Callable[[], object]) -> str | None:
    # A wrong cut can raise anything at all inside a stranger's forward; each such error is a finding, not a crash.
    try:
        action()
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}".rstrip(": ")
    return None


def _perturb(model: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.numel() > 0:
                spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
                parameter.add_(0.1 * (spread or 1.0) * noise.to(parameter.dtype))
