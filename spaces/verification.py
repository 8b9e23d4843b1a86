"""The mask oracle: a pruned network must agree with the original in which the same channels are zeroed.

Groups are judged together and told apart by bisection only where together they fail, so that a sound network costs a
handful of forward passes however many groups it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import torch
from torch import nn

from .attributes import SplitPart, attempts, followers
from .comparison import difference, finite_alike, values_of
from .copying import copied
from .groups import FrozenGroup, Group, SizeAttribute, Slice
from .head_dims import across_heads, in_pairs
from .inputs import Inputs, map_tensors, random_like
from .output_shapes import OutputShapes
from .outputs import found_in
from .passes import ForwardPass, Outcome, run
from .random_numbers import Draws
from .slicing import Removed, positions_of, without, zeroed

TOLERANCE = 1e-5
"""Largest difference, relative to the largest output, between a pruned network and its masked twin."""
_ROUNDING = 1e-2
"""A difference below this in single precision may be rounding; double precision decides."""
_CUTS = ("all but one", "random part", "first quarter")
"""What is removed in turn: nearly everything, which fails soonest; of each group another part, as groups that need the
same width are sound together only; a run of first channels, which shows every mistake in offsets."""

_NOT_FINITE = "the pruned network's outputs are not finite"
_NOTHING = "no output holds a number by which a cut could be compared"
_RANDOM = "the random numbers that it meets are as many as its channels, and cannot be compared"
_UNOBSERVED = "no output was seen to depend on it, so that a cut of it cannot be compared"
_INSEPARABLE = "all its channels depend on one another, so none can go alone"


@dataclass
class MaskOracle:
    """Judges groups on a perturbed copy of a network with random inputs."""

    model: nn.Module
    inputs: Inputs
    generator: torch.Generator
    parts: Mapping[str, Sequence[SplitPart]]
    """By group, what splits its channels by given sizes."""
    passes: Sequence[ForwardPass] = ()
    """Further ones, of which each is made once for all groups together: other inputs, training mode."""
    moved: set[str] = field(default_factory=set)
    """Parameters of which some output was seen to depend."""

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
        _perturb(network, generator)
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        return cls(network, _drawn(network, _smaller(network, example_input), generator), generator, parts)

    def judge(self, groups: Sequence[Group], whole: Sequence[Group] = ()) -> tuple[list[Group], list[FrozenGroup]]:
        """Return the groups that are sound, in order, and the others frozen with the reason.

        ``whole`` are groups of one channel, which cannot go, but may with others: heads that stand alone.
        """
        sound: dict[str, Group] = {}
        frozen = [FrozenGroup(g.name, g.layers, _width(g), _INSEPARABLE) for g in whole]
        for verification in ("exact", "shape"):
            passed, failed = self._bisect(self._kinds([g for g in groups if g.verification == verification]))
            sound.update({g.name: g for g in passed})
            frozen += [FrozenGroup(g.name, g.layers, g.channels, reason) for g, reason in failed]
        kept = [sound[g.name] for g in groups if g.name in sound]
        kept, frozen = self._with_head_dims(kept, frozen, groups, whole)
        for check in (self._in_other_passes, self._unobserved):
            kept, failed = check(kept)
            frozen += [FrozenGroup(g.name, g.layers, g.channels, reason) for g, reason in failed]
        return kept, frozen

    def _in_other_passes(self, groups: list[Group]) -> tuple[list[Group], list[tuple[Group, str]]]:
        """Return the groups that are sound in all further passes, too, and the others with the reason."""
        failed: list[tuple[Group, str]] = []
        for verification in ("exact", "shape"):
            alike = [g for g in groups if g.verification == verification]
            # Those that change no state go first, as all run on the same copies.
            for forward in sorted(self.passes, key=lambda forward: forward.training):
                alike, out = self._apart(alike, lambda some, forward=forward: self.objection_in(forward, some))
                failed += out
        names = {g.name for g, _ in failed}
        return [g for g in groups if g.name not in names], failed

    def _apart(
        self, groups: list[Group], objection: Callable[[Sequence[Group]], str | None]
    ) -> tuple[list[Group], list[tuple[Group, str]]]:
        """Tell groups to which there is an objection from the others, by halves."""
        reason = objection(groups) if groups else None
        if reason is None:
            return groups, []
        if len(groups) == 1:
            return [], [(groups[0], reason)]
        middle = len(groups) // 2
        left, left_failed = self._apart(groups[:middle], objection)
        right, right_failed = self._apart(groups[middle:], objection)
        failed, together = left_failed + right_failed, left + right
        while together and left and right and (clash := objection(together)) is not None:
            failed.append((together.pop(), f"together with other groups, {clash}"))
        return together, failed

    def objection_in(self, forward: ForwardPass, groups: Sequence[Group]) -> str | None:
        """Return why ``groups`` cannot be pruned together where the network runs as ``forward`` says."""
        dense = self._dense_in(forward)
        if dense is None:
            return None
        exact = all(g.verification == "exact" for g in groups)
        for cut in _CUTS if forward.new else _CUTS[1:2]:
            removed = self._removed(groups, cut)
            reason = self._compare(removed, forward, dense, exact=exact, gradients=cut != "all but one")
            if reason is not None:
                return f"{_where(forward)}, {reason}"
        return None

    def _unobserved(self, groups: list[Group]) -> tuple[list[Group], list[tuple[Group, str]]]:
        """Return the groups of which some output depends, and the others: of these, nothing was compared."""
        seen = [g for g in groups if self._observed(g)]
        return seen, [(g, _UNOBSERVED) for g in groups if g not in seen]

    def _observed(self, group: Group) -> bool:
        if any(piece.tensor in self.moved for piece in group.slices):
            return True
        # Gradients say nothing where forward records none, or where all outputs are integers.
        positions = positions_of([(group, list(range(1, group.channels)))])
        for forward in (self._base, *self.passes):
            dense = self._dense_in(forward)
            if dense is not None and self._changes(forward, dense, zeroed(self.model, positions)):
                return True
        return False

    def _changes(self, forward: ForwardPass, dense: _Dense, masked: nn.Module) -> bool:
        found: list[float | None] = []

        def compare() -> None:
            values = values_of(run(masked, forward, like=dense.draws).outputs)
            found.append(difference(values, dense.values))

        return _fault(compare) is None and (found[0] or 0.0) > TOLERANCE

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

    def _bisect(self, kinds: list[list[Group]]) -> tuple[list[Group], list[tuple[Group, str]]]:
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
            failed.append((together.pop(), f"together with other groups, {clash}"))
        return together, failed

    def _one_kind(self, groups: list[Group], reason: str) -> tuple[list[Group], list[tuple[Group, str]]]:
        """Judge groups of one kind: what the first cannot do, its like in other blocks is not asked to."""
        repaired = self._repaired(groups[:1], most=24)
        if repaired is not None:
            names = {(a.module.rpartition(".")[2], a.name) for a in repaired[0].attributes}
            everyone = self._with_attributes(groups, lambda a: (a.module.rpartition(".")[2], a.name) in names)
            if self.objection(everyone) is None:
                return everyone, []
        pairs = [p for p in map(in_pairs, groups) if p is not None]
        if len(pairs) == len(groups) and self.objection(pairs) is None:
            return pairs, []
        alone = reason if len(groups) == 1 else self.objection(groups[:1])
        if alone is not None:
            return [], [(g, alone) for g in groups]
        return self._bisect([[g] for g in groups])

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

    def objection(self, groups: Sequence[Group]) -> str | None:
        """Return why ``groups`` cannot be pruned together, or ``None`` where they can."""
        exact = all(g.verification == "exact" for g in groups)
        for cut in _CUTS:
            removed = self._removed(groups, cut)
            reason = self._compare(removed, self._base, self._dense, exact=exact, gradients=cut == "first quarter")
            if reason is not None:
                return reason
        return None

    def _removed(self, groups: Sequence[Group], cut: str) -> Removed:
        shift = int(torch.randint(1 << 16, (1,), generator=self.generator))
        return [(g, self._draw(g, cut, shift + i, alone=len(groups) == 1)) for i, g in enumerate(groups)]

    def _draw(self, group: Group, cut: str, number: int, *, alone: bool) -> list[int]:
        if cut == "first quarter":
            return list(range(max(1, group.channels // 4)))
        count = group.channels - 1
        if cut == "random part":
            count = number % group.channels or int(alone)
        return torch.randperm(group.channels, generator=self.generator)[:count].tolist()

    def _compare(
        self, removed: Removed, forward: ForwardPass, dense: _Dense, *, exact: bool, gradients: bool
    ) -> str | None:
        found: list[tuple[Outcome, list[torch.Tensor]]] = []

        def attempt() -> None:
            small = without(self.model, removed)
            outcome = run(small, forward, like=dense.draws, gradients=gradients, watch_integers=dense.all_integers)
            if gradients:
                self._note_gradients(small, outcome)
            found.append((outcome, values_of(outcome.outputs)))

        fault = _fault(attempt)
        if fault is not None:
            return f"the pruned network does not run ({fault})"
        outcome, values = found[0]
        objection = dense.shapes.objection(outcome.outputs) if not exact else None
        if objection is not None:
            return f"its channels are an output of the network: pruning them changes its shape ({objection})"
        if not exact:
            return None if finite_alike(values, dense.values) else _NOT_FINITE
        return self._against_twin(removed, forward, outcome, values)

    def _against_twin(
        self, removed: Removed, forward: ForwardPass, small: Outcome, values: list[torch.Tensor]
    ) -> str | None:
        masked = zeroed(self.model, positions_of(removed))
        twin = run(masked, forward, like=small.draws, watch_integers=bool(small.decided_by))
        objection = OutputShapes.of(twin.outputs).objection(small.outputs)
        if objection is not None:
            return f"its channels are an output of the network: pruning them changes its shape ({objection})"
        wanted = values_of(twin.outputs)
        if not finite_alike(values, wanted):
            return _NOT_FINITE
        apart = difference(*_with_integers(small, values, twin, wanted))
        if apart is None:
            return _NOTHING
        if TOLERANCE < apart < (1.0 if forward.training else _ROUNDING):
            apart = self._difference_in_double(removed, forward, apart)
        if apart <= TOLERANCE:
            return None
        if small.draws.unaligned or twin.draws.unaligned:
            return _RANDOM
        return f"the pruned network differs from its masked twin by {apart:.1e} of the largest output"

    def difference(self, small: nn.Module, twin: nn.Module) -> float | None:
        """Return how far two networks' outputs are apart, relative to the largest.

        ``None`` where one does not run, the outputs have other shapes, or there is nothing in them to compare.
        """
        found: list[float | None] = []

        def compare() -> None:
            pruned = run(small, self._base, like=self._dense.draws, gradients=True)
            _gradients(small, pruned)
            expected = run(twin, self._base, like=pruned.draws)
            if OutputShapes.of(expected.outputs).objection(pruned.outputs) is None:
                found.append(difference(values_of(pruned.outputs), values_of(expected.outputs)))

        return found[0] if _fault(compare) is None and found else None

    def _note_gradients(self, network: nn.Module, outcome: Outcome) -> None:
        self.moved.update(name for name, g in _gradients(network, outcome).items() if bool(g.any()))

    @property
    def _base(self) -> ForwardPass:
        return ForwardPass(self.inputs)

    @cached_property
    def _dense(self) -> _Dense:
        return _Dense.of(copied(self.model), self._base)

    @cached_property
    def _dense_by_pass(self) -> dict[int, _Dense | None]:
        return {}

    def _dense_in(self, forward: ForwardPass) -> _Dense | None:
        """Return what the dense network gives in a pass; ``None`` where it fails or gives nothing finite."""
        known = self._dense_by_pass
        if id(forward) not in known:
            found: list[_Dense] = []
            fault = _fault(lambda: found.append(_Dense.of(copied(self.model), forward)))
            sound = fault is None and not any(bool(t.isnan().any()) for t in found[0].values)
            known[id(forward)] = found[0] if sound else None
        return known[id(forward)]

    @cached_property
    def _double(self) -> nn.Module:
        return copied(self.model).double()

    def _difference_in_double(self, removed: Removed, forward: ForwardPass, single: float) -> float:
        wide = map_tensors(lambda t: t.double() if t.is_floating_point() else t, forward.inputs)
        forward = replace(forward, inputs=wide)
        found: list[float | None] = []

        def compare() -> None:
            small = run(without(self._double, removed), forward, like=self._draws_in(forward))
            twin = run(zeroed(self._double, positions_of(removed)), forward, like=small.draws)
            found.append(difference(values_of(small.outputs), values_of(twin.outputs)))

        # A network that is written for single precision alone keeps what that precision says.
        return single if _fault(compare) is not None or found[0] is None else found[0]

    def _draws_in(self, forward: ForwardPass) -> Draws:
        return run(copied(self._double), forward).draws


@dataclass(frozen=True)
class _Dense:
    """What the dense network gives in one pass."""

    shapes: OutputShapes
    values: list[torch.Tensor]
    draws: Draws
    all_integers: bool
    """Whether no output is a floating-point number, so that equal ones say little."""

    @classmethod
    def of(cls, model: nn.Module, forward: ForwardPass) -> _Dense:
        outcome = run(model, forward)
        tensors = [tensor for _, tensor in found_in(outcome.outputs).tensors]
        integers = not any(t.is_floating_point() or t.is_complex() for t in tensors if t.numel())
        return cls(OutputShapes.of(outcome.outputs), values_of(outcome.outputs), outcome.draws, integers)


def _with_integers(
    small: Outcome, values: list[torch.Tensor], twin: Outcome, wanted: list[torch.Tensor]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return both networks' values, with those that all outputs were rounded or chosen from where they are integers."""
    pairs = [(a.double(), b.double()) for a, b in zip(small.decided_by, twin.decided_by, strict=False)]
    alike = [(a, b) for a, b in pairs if a.shape == b.shape]
    return [*values, *(a for a, _ in alike)], [*wanted, *(b for _, b in alike)]


def _where(forward: ForwardPass) -> str:
    return "in training mode" if forward.training else f"on {forward.name}"


def _width(group: Group) -> int:
    return sum(len(row) for row in next(s for s in group.slices if s.produces).positions)


def _smaller(model: nn.Module, example_input: Inputs) -> Inputs:
    """Return the input at a lower resolution where the network takes one, as soundness does not depend on it."""
    if not isinstance(example_input, torch.Tensor) or example_input.dim() != 4 or min(example_input.shape[2:]) < 128:
        return example_input
    wanted = OutputShapes.of(_run(model, example_input).outputs)
    small = example_input[:, :, :64, :64]
    shapes: list[OutputShapes] = []
    fault = _fault(lambda: shapes.append(OutputShapes.of(_run(model, small).outputs)))
    return small if fault is None and shapes[0] == wanted else example_input


def _drawn(model: nn.Module, inputs: Inputs, generator: torch.Generator) -> Inputs:
    """Return random inputs of two samples, or of one where the first dimension is no batch and cannot be two."""
    two = random_like(inputs, generator)
    return two if _fault(lambda: _run(model, two)) is None else random_like(inputs, generator, batch=1)


def _run(model: nn.Module, inputs: Inputs) -> Outcome:
    return run(model, ForwardPass(inputs))


def _gradients(network: nn.Module, outcome: Outcome) -> dict[str, torch.Tensor]:
    """Return the gradients of all outputs together by the parameters' names.

    Raises:
        ArithmeticError: one is not finite.
    """
    tensors = [tensor for _, tensor in found_in(outcome.outputs).tensors]
    sources = [t for t in tensors if t.requires_grad and not t.is_complex()]
    parameters = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not sources or not parameters:
        return {}
    found = torch.autograd.grad([t.sum() for t in sources], list(parameters.values()), allow_unused=True)
    gradients = {name: g for name, g in zip(parameters, found, strict=True) if g is not None}
    if not all(bool(torch.isfinite(g).all()) for g in gradients.values()):
        raise ArithmeticError("a gradient is not finite")
    return gradients


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
