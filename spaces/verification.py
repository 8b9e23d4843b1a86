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
from .inputs import Inputs, map_tensors
from .outcomes import DenseOutcome, fault_of, gradients_of, with_integers
from .output_shapes import OutputShapes
from .passes import ForwardPass, Outcome, run
from .probes import drawn, perturb_, smaller
from .random_numbers import Draws
from .slicing import Removed, positions_of, without, zeroed

TOLERANCE = 1e-5
"""Largest difference, relative to the largest output, between a pruned network and its masked twin."""
_ROUNDING = 1e-2
"""A difference below this in single precision may be rounding; double precision decides."""
_TRAINING_TOLERANCE = 1e-3
"""The same in training mode, where BatchNorm divides by what two samples differ in: 3e-5 for a ResNet."""
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
        perturb_(network, generator)
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        return cls(network, drawn(network, smaller(network, example_input), generator), generator, parts)

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

    def _changes(self, forward: ForwardPass, dense: DenseOutcome, masked: nn.Module) -> bool:
        found: list[float | None] = []

        def compare() -> None:
            outcome = run(masked, forward, like=dense.draws, watch_integers=dense.all_integers)
            found.append(difference(*with_integers(outcome, values_of(outcome.outputs), dense, dense.values)))

        return fault_of(compare) is None and (found[0] or 0.0) > TOLERANCE

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
        self, removed: Removed, forward: ForwardPass, dense: DenseOutcome, *, exact: bool, gradients: bool
    ) -> str | None:
        found: list[tuple[Outcome, list[torch.Tensor]]] = []

        def attempt() -> None:
            small = without(self.model, removed)
            outcome = run(small, forward, like=dense.draws, gradients=gradients, watch_integers=dense.all_integers)
            if gradients:
                self._note_gradients(small, outcome)
            found.append((outcome, values_of(outcome.outputs)))

        fault = fault_of(attempt)
        if fault is not None:
            return f"the pruned network does not run ({fault})"
        outcome, values = found[0]
        objection = dense.shapes.objection(outcome.outputs) if not exact else None
        if objection is not None:
            return f"its channels are an output of the network: pruning them changes its shape ({objection})"
        if not exact:
            return None if finite_alike(values, dense.values) else _NOT_FINITE
        return self._against_twin(removed, forward, dense, outcome, values)

    def _against_twin(
        self, removed: Removed, forward: ForwardPass, dense: DenseOutcome, small: Outcome, values: list[torch.Tensor]
    ) -> str | None:
        masked = zeroed(self.model, positions_of(removed))
        twin = run(masked, forward, like=small.draws, watch_integers=bool(small.decided_by))
        objection = OutputShapes.of(twin.outputs).objection(small.outputs)
        if objection is not None:
            return f"its channels are an output of the network: pruning them changes its shape ({objection})"
        wanted = values_of(twin.outputs)
        if not finite_alike(values, wanted):
            return _NOT_FINITE
        apart = difference(*with_integers(small, values, twin, wanted))
        if apart is None:
            return _NOTHING
        tolerance, rounding = (_TRAINING_TOLERANCE, 1.0) if forward.training else (TOLERANCE, _ROUNDING)
        if tolerance < apart < rounding:
            apart = self._difference_in_double(removed, forward, dense.draws, apart)
        if apart <= tolerance:
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
            gradients_of(small, pruned)
            expected = run(twin, self._base, like=pruned.draws)
            if OutputShapes.of(expected.outputs).objection(pruned.outputs) is None:
                found.append(difference(values_of(pruned.outputs), values_of(expected.outputs)))

        return found[0] if fault_of(compare) is None and found else None

    def _note_gradients(self, network: nn.Module, outcome: Outcome) -> None:
        self.moved.update(name for name, g in gradients_of(network, outcome).items() if bool(g.any()))

    @property
    def _base(self) -> ForwardPass:
        return ForwardPass(self.inputs)

    @cached_property
    def _dense(self) -> DenseOutcome:
        return DenseOutcome.of(copied(self.model), self._base)

    @cached_property
    def _dense_by_pass(self) -> dict[int, DenseOutcome | None]:
        return {}

    def _dense_in(self, forward: ForwardPass) -> DenseOutcome | None:
        """Return what the dense network gives in a pass; ``None`` where it fails or gives nothing finite."""
        known = self._dense_by_pass
        if id(forward) not in known:
            found: list[DenseOutcome] = []
            fault = fault_of(lambda: found.append(DenseOutcome.of(copied(self.model), forward)))
            sound = fault is None and not any(bool(t.isnan().any()) for t in found[0].values)
            known[id(forward)] = found[0] if sound else None
        return known[id(forward)]

    @cached_property
    def _double(self) -> nn.Module:
        return copied(self.model).double()

    def _difference_in_double(self, removed: Removed, forward: ForwardPass, draws: Draws, single: float) -> float:
        wide = map_tensors(lambda t: t.double() if t.is_floating_point() else t, forward.inputs)
        forward = replace(forward, inputs=wide)
        found: list[float | None] = []

        def compare() -> None:
            small = run(without(self._double, removed), forward, like=draws)
            twin = run(zeroed(self._double, positions_of(removed)), forward, like=small.draws)
            found.append(difference(values_of(small.outputs), values_of(twin.outputs)))

        # A network that is written for single precision alone keeps what that precision says.
        return single if fault_of(compare) is not None or found[0] is None else found[0]


def _where(forward: ForwardPass) -> str:
    return "in training mode" if forward.training else f"on {forward.name}"


def _width(group: Group) -> int:
    return sum(len(row) for row in next(s for s in group.slices if s.produces).positions)
