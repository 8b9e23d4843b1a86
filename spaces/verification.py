"""The mask oracle: a pruned network must agree with the original in which the same channels are zeroed.

Groups are judged together and told apart by bisection only where together they fail, so that a sound network costs a
handful of forward passes however many groups it has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType

import torch
from torch import nn

from .attributes import SplitPart, attempts, followers, kind_of
from .copying import copied
from .faults import told
from .freeze_reasons import FreezeCode, FreezeReason
from .groups import FrozenGroup, Group, SizeAttribute, Slice
from .head_dims import across_heads, by_position, in_pairs, rescale_
from .inputs import Inputs, call, map_tensors, random_like, tensors_of
from .quantisation_aware import compute_unrounded_
from .slicing import Removed, positions_of, without, zeroed

TOLERANCE = 1e-5
"""Largest difference, relative to the largest output, between a pruned network and its masked twin."""
_ROUNDING = 1e-2
"""A difference below this in single precision may be rounding; double precision decides."""
_CUTS = ("all but one", "random part", "first quarter")
"""What is removed in turn: nearly everything, which fails soonest; of each group another part, as groups that need the
same width are sound together only; a run of first channels, which shows every mistake in offsets."""


@dataclass
class MaskOracle:
    """Judges groups on a perturbed copy of a network with random inputs."""

    model: nn.Module
    inputs: Inputs
    generator: torch.Generator
    parts: Mapping[str, Sequence[SplitPart]]
    """By group, what splits its channels by given sizes."""

    @classmethod
    def of(
        cls,
        model: nn.Module,
        example_input: Inputs,
        parts: Mapping[str, Sequence[SplitPart]] = MappingProxyType({}),
        *,
        seed: int = 0,
    ) -> MaskOracle:
        """Prepare the oracle; ``model`` is left as it is.

        Every parameter is perturbed, so that a scale initialised to zero cannot hide a mistake.
        """
        generator = torch.Generator().manual_seed(seed)
        network = copied(model).eval()
        compute_unrounded_(network)
        _perturb(network, generator)
        return cls(network, _drawn(network, _smaller(network, example_input), generator), generator, parts)

    def judge(self, groups: Sequence[Group], whole: Sequence[Group] = ()) -> tuple[list[Group], list[FrozenGroup]]:
        """Return the groups that are sound, in order, and the others frozen with the reason.

        ``whole`` are groups of one channel, which cannot go, but may with others: heads that stand alone.
        """
        sound: dict[str, Group] = {}
        frozen = [FrozenGroup.because(FreezeCode.INSEPARABLE.because(), g.name, g.layers, width_of(g)) for g in whole]
        for verification in ("exact", "shape"):
            passed, failed = self._bisect(self._kinds([g for g in groups if g.verification == verification]))
            sound.update({g.name: g for g in passed})
            frozen += [FrozenGroup.because(reason, g.name, g.layers, g.channels) for g, reason in failed]
        kept = [sound[g.name] for g in groups if g.name in sound]
        return self._with_head_dims(kept, frozen, groups, whole)

    def _with_head_dims(
        self, kept: list[Group], frozen: list[FrozenGroup], groups: Sequence[Group], whole: Sequence[Group]
    ) -> tuple[list[Group], list[FrozenGroup]]:
        """Unite what cannot be cut alone where that makes it sound."""
        names = {f.name for f in frozen}
        for united, parts in across_heads([*(g for g in groups if g.name in names), *whole]):
            if names.issuperset(parts):
                passed, _ = self._bisect([[united]])
                if passed and self.objection([*kept, *passed]) is None:
                    kept = [*kept, *passed]
                    names.difference_update(parts)
        order = [g.name for g in groups]
        return sorted(kept, key=lambda g: order.index(g.name)), [f for f in frozen if f.name in names]

    def _kinds(self, groups: Sequence[Group]) -> list[list[Group]]:
        """Put groups of one kind together: the same layers of the same classes of modules, in whichever block."""
        kinds: dict[frozenset[tuple[str, str, int]], list[Group]] = {}
        for group in groups:
            kinds.setdefault(frozenset(self._place(piece) for piece in group.slices), []).append(group)
        return list(kinds.values())

    def _place(self, piece: Slice) -> tuple[str, str, int]:
        parent, _, name = piece.layer.rpartition(".")
        return (
            type(self.model.get_submodule(parent)).__qualname__,
            f"{name}.{piece.tensor.rpartition('.')[2]}",
            piece.dim,
        )

    def _bisect(self, kinds: list[list[Group]]) -> tuple[list[Group], list[tuple[Group, FreezeReason]]]:
        groups = [g for kind in kinds for g in kind]
        reason = self.objection(groups) if groups else None
        if reason is None:
            return groups, []
        repaired = self._repaired(groups, most=3)
        if repaired is not None:
            return repaired, []
        if len(kinds) == 1:
            return self._one_kind(groups, reason)
        middle = len(kinds) // 2
        left, left_failed = self._bisect(kinds[:middle])
        right, right_failed = self._bisect(kinds[middle:])
        failed = left_failed + right_failed
        together = left + right
        # Halves that pass alone may still fail together; then the later ones give way.
        while together and left and right and (clash := self.objection(together)) is not None:
            failed.append((together.pop(), FreezeCode.TOGETHER.because(clash=clash.words)))
        return together, failed

    def _one_kind(
        self, groups: list[Group], reason: FreezeReason
    ) -> tuple[list[Group], list[tuple[Group, FreezeReason]]]:
        """Judge groups of one kind: what the first cannot do, its like in other blocks is not asked to."""
        repaired = self._repaired(groups[:1], most=24)
        if repaired is not None:
            names = {kind_of(a) for a in repaired[0].attributes}
            everyone = self._with_attributes(groups, lambda a: kind_of(a) in names)
            if self.objection(everyone) is None:
                return everyone, []
        sound = self._rescaled(groups)
        for regroup in (in_pairs, by_position):
            others = [g for g in map(regroup, groups) if g is not None]
            if sound is None and len(others) == len(groups):
                sound = self._regrouped(others)
        if sound is not None:
            return sound, []
        alone = reason if len(groups) == 1 else self.objection(groups[:1])
        if alone is not None:
            return [], [(g, alone) for g in groups]
        return self._bisect([[g] for g in groups])

    def _regrouped(self, groups: list[Group]) -> list[Group] | None:
        """Return groups that are cut another way, if they are sound so."""
        if self.objection(groups) is None:
            return groups
        return self._repaired(groups, most=3) or self._rescaled(groups)

    def _rescaled(self, groups: list[Group]) -> list[Group] | None:
        """Return groups that differ from their masked twins by the scale of attention alone, which follows a shape."""
        if any(g.verification != "exact" for g in groups) or self.objection(groups, rescaled=True) is not None:
            return None
        return [replace(g, verification="shape") for g in groups]

    def _repaired(self, groups: Sequence[Group], *, most: int) -> list[Group] | None:
        """Return the groups with the attributes that must follow them, or ``None`` where none make them sound."""
        everything = tuple(dict.fromkeys(a for g in groups for a in self._followers(g)))
        for chosen in attempts(everything, most=most):
            changed = self._with_attributes(groups, chosen.__contains__)
            if self.objection(changed) is None:
                return changed
        return None

    def _with_attributes(self, groups: Sequence[Group], wanted: Callable[[SizeAttribute], bool]) -> list[Group]:
        return [replace(g, attributes=(*g.attributes, *(a for a in self._followers(g) if wanted(a)))) for g in groups]

    def _followers(self, group: Group) -> tuple[SizeAttribute, ...]:
        parts = [p for p in self.parts.get(group.name, ()) if len(p.per) == group.channels]
        return followers(self.model, group, parts)

    def objection(self, groups: Sequence[Group], *, rescaled: bool = False) -> FreezeReason | None:
        """Return why ``groups`` cannot be pruned together, or ``None`` where they can.

        Args:
            groups: that are pruned.
            rescaled: whether the masked twin divides attention by the width that the pruned network has.
        """
        exact = all(g.verification == "exact" for g in groups)
        for cut in _CUTS:
            shift = int(torch.randint(1 << 16, (1,), generator=self.generator))
            removed = [(g, self._draw(g, cut, shift + i, alone=len(groups) == 1)) for i, g in enumerate(groups)]
            reason = self._compare(removed, exact=exact, gradients=cut == "first quarter", rescaled=rescaled)
            if reason is not None:
                return reason
        return None

    def _draw(self, group: Group, cut: str, number: int, *, alone: bool) -> list[int]:
        if cut == "first quarter":
            return list(range(max(1, group.channels // 4)))
        count = group.channels - 1
        if cut == "random part":
            count = number % group.channels or int(alone)
        return torch.randperm(group.channels, generator=self.generator)[:count].tolist()

    def _compare(
        self, removed: Removed, *, exact: bool, gradients: bool, rescaled: bool = False
    ) -> FreezeReason | None:
        outputs: list[list[torch.Tensor]] = []
        run = _run_with_gradients if gradients else _run
        fault = _fault(lambda: outputs.append(run(without(self.model, removed), self.inputs)))
        if fault is not None:
            return FreezeCode.DOES_NOT_RUN.because(fault=fault)
        twin = _run(self._twin(self.model, removed, rescaled=rescaled), self.inputs) if exact else self._dense
        reason = _shape_objection(outputs[0], twin)
        if reason is not None or not exact:
            return reason
        difference = _difference(outputs[0], twin)
        if TOLERANCE < difference < _ROUNDING:
            difference = self._difference_in_double(removed, difference, rescaled=rescaled)
        if difference > TOLERANCE:
            return FreezeCode.DIFFERS.because(difference=f"{difference:.1e}")
        return None

    def difference(self, small: nn.Module, twin: nn.Module) -> float | None:
        """Return how far two networks' outputs are apart, relative to the largest; ``None`` where one does not run."""
        found: list[float] = []

        def run() -> None:
            pruned, expected = _run_with_gradients(small, self.inputs), _run(twin, self.inputs)
            if _shape_objection(pruned, expected) is None:
                found.append(_difference(pruned, expected))

        return found[0] if _fault(run) is None and found else None

    @cached_property
    def _dense(self) -> list[torch.Tensor]:
        return _run(self.model, self.inputs)

    @cached_property
    def _double(self) -> tuple[nn.Module, Inputs]:
        wide = map_tensors(lambda t: t.double() if t.is_floating_point() else t, self.inputs)
        return copied(self.model).double(), wide

    @staticmethod
    def _twin(model: nn.Module, removed: Removed, *, rescaled: bool) -> nn.Module:
        twin = zeroed(model, positions_of(removed))
        if rescaled:
            rescale_(twin, removed)
        return twin

    def _difference_in_double(self, removed: Removed, single: float, *, rescaled: bool) -> float:
        model, inputs = self._double
        found: list[float] = []

        def run() -> None:
            twin = _run(self._twin(model, removed, rescaled=rescaled), inputs)
            found.append(_difference(_run(without(model, removed), inputs), twin))

        # A network that is written for single precision alone keeps what that precision says.
        return single if _fault(run) is not None else found[0]


def width_of(group: Group) -> int:
    """Return how many positions a group's channels take where they are made."""
    return sum(len(row) for row in next(s for s in group.slices if s.produces).positions)


def _smaller(model: nn.Module, example_input: Inputs) -> Inputs:
    """Return the input at a lower resolution where the network takes one, as soundness does not depend on it."""
    if not isinstance(example_input, torch.Tensor) or example_input.dim() != 4 or min(example_input.shape[2:]) < 128:
        return example_input
    wanted = [t.shape for t in _run(model, example_input)]
    small = example_input[:, :, :64, :64]
    shapes: list[list[torch.Size]] = []
    fault = _fault(lambda: shapes.append([t.shape for t in _run(model, small)]))
    return small if fault is None and shapes[0] == wanted else example_input


def _drawn(model: nn.Module, inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Return random inputs of two samples, or of one where the first dimension is no batch and cannot be two."""
    two = random_like(inputs, generator)
    return two if _fault(lambda: _run(model, two)) is None else random_like(inputs, generator, batch=1)


def _shape_objection(pruned: list[torch.Tensor], twin: list[torch.Tensor]) -> FreezeReason | None:
    if [t.shape for t in pruned] != [t.shape for t in twin]:
        return FreezeCode.OUTPUT_SHAPE.because()
    if not all(torch.isfinite(t).all() for t in pruned if t.is_floating_point()):
        return FreezeCode.NOT_FINITE.because()
    return None


def _difference(pruned: list[torch.Tensor], twin: list[torch.Tensor]) -> float:
    scale = max((float(t.abs().max()) for t in twin if t.numel()), default=0.0) or 1.0
    found = [float((a - b).abs().max()) for a, b in zip(pruned, twin, strict=True) if a.numel()]
    # A twin that is not finite compares with nothing, and must not pass.
    return max(found, default=0.0) / scale if all(map(math.isfinite, found)) else math.inf


def _run(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    with torch.no_grad():
        return tensors_of(call(model, inputs))


def _run_with_gradients(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    with torch.enable_grad():
        outputs = tensors_of(call(model, inputs))
        sources = [t for t in outputs if t.requires_grad]
        parameters = [p for p in model.parameters() if p.requires_grad]
        if sources and parameters:
            gradients = torch.autograd.grad([t.sum() for t in sources], parameters, allow_unused=True)
            if not all(torch.isfinite(g).all() for g in gradients if g is not None):
                raise ArithmeticError("a gradient is not finite")
    return [t.detach() for t in outputs]


def _fault(action: Callable[[], object]) -> str | None:
    # A wrong cut can raise anything at all inside a stranger's forward; each such error is a finding, not a crash.
    try:
        action()
    except Exception as error:  # noqa: BLE001
        return told(error)
    return None


def _perturb(model: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.numel() > 0:
                spread = float(parameter.std()) if parameter.numel() > 1 else 0.0
                noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
                parameter.add_(0.1 * (spread or 1.0) * noise.to(parameter.dtype))
