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

from ..architectures.head_dims import across_heads, by_position, in_pairs
from ..inputs import Inputs, random_like
from .attributes import SplitPart, attempts, followers, kind_of, read_by_code
from .comparison import difference, values_of
from .copying import copied
from .cuts import CUTS, removed_by
from .freeze_reasons import FreezeCode, FreezeReason
from .groups import FrozenGroup, Group, SizeAttribute, Slice
from .kinds import kinds_of
from .masked_twins import TOLERANCE, MaskedTwins
from .outcomes import DenseOutcome, fault_of, gradients_of, with_integers
from .output_shapes import OutputShapes
from .passes import ForwardPass, run
from .probes import drawn, perturb_, smaller
from .quantisation_aware import compute_unrounded_
from .slicing import forget, positions_of, zeroed

_MORE = 8
"""So many times more samples are tried where some groups change no output."""


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
    cuts: Sequence[str] = CUTS
    """Which ones groups are judged by."""
    sample: Inputs | None = None
    """Random inputs of one sample, for what is judged in full afterwards."""
    dense: DenseOutcome | None = None
    """What the dense network gives on ``inputs``, where it is known."""

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
        perturb_(network, generator)
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        example = smaller(network, example_input)
        inputs, dense = drawn(network, example, generator)
        sample = random_like(example, generator, batch=1)
        forget(network)  # computed once, it would hide parameters from whoever asks what outputs come from
        return cls(network, inputs, generator, parts, sample=sample, dense=dense)

    def judge(self, groups: Sequence[Group], whole: Sequence[Group] = ()) -> tuple[list[Group], list[FrozenGroup]]:
        """Return the groups that are sound, in order, and the others frozen with the reason.

        ``whole`` are groups of one channel, which cannot go, but may with others: heads that stand alone.
        """
        sound: dict[str, Group] = {}
        frozen = [FrozenGroup.because(FreezeCode.INSEPARABLE.because(), g.name, g.layers, width_of(g)) for g in whole]
        for verification in ("exact", "shape"):
            passed, failed = self._sound_ones([g for g in groups if g.verification == verification])
            sound.update({g.name: g for g in passed})
            frozen += [FrozenGroup.because(reason, g.name, g.layers, g.channels) for g, reason in failed]
        kept = [sound[g.name] for g in groups if g.name in sound]
        kept, frozen = self._with_head_dims(kept, frozen, groups, whole)
        for check in (self._in_other_passes, self._reached):
            kept, failed = check(kept)
            frozen += [FrozenGroup.because(reason, g.name, g.layers, g.channels) for g, reason in failed]
        return kept, frozen

    def _sound_ones(self, groups: Sequence[Group]) -> tuple[list[Group], list[tuple[Group, FreezeReason]]]:
        """Return the groups that are sound together, and the others.

        Parts of them are told apart quickly; what is kept of all parts is then judged by every cut.
        """
        if not groups or self.objection(groups) is None:
            return list(groups), []
        kinds = kinds_of(self.model, groups)
        passed, failed = self.quick._bisect(kinds)
        # Of those that are rescaled values are compared for the last time: one cut may agree by chance.
        rescaled = [replace(g, verification="exact") for g in passed if g.verification != groups[0].verification]
        agree = not rescaled or self.objection(rescaled, rescaled=True) is None
        return (passed, failed) if agree and self._sound_together(passed, passed) else self._bisect(kinds)

    def _sound_together(self, groups: Sequence[Group], new: Sequence[Group]) -> bool:
        """Return whether groups can be pruned together, some of which are new."""
        # Of those that outputs are compared by value for, too: among others that would be left out.
        exact = [g for g in groups if g.verification == "exact"]
        parts = [exact] if any(g.verification == "exact" for g in new) else []
        if len(exact) < len(groups):
            parts.append(list(groups))
        return all(self.objection(part) is None for part in parts)

    def _in_other_passes(self, groups: list[Group]) -> tuple[list[Group], list[tuple[Group, FreezeReason]]]:
        """Return the groups that are sound in all further passes, too, and the others with the reason."""
        return self._in(self.passes, groups)

    def _in(
        self, passes: Sequence[ForwardPass], groups: list[Group]
    ) -> tuple[list[Group], list[tuple[Group, FreezeReason]]]:
        failed: list[tuple[Group, FreezeReason]] = []
        for verification in ("exact", "shape"):
            alike = [g for g in groups if g.verification == verification]
            # Those that change no state go first, as all run on the same copies.
            for forward in sorted(passes, key=lambda forward: forward.training):
                alike, out = self._apart(alike, lambda some, forward=forward: self.objection_in(forward, some))
                failed += out
        names = {g.name for g, _ in failed}
        return [g for g in groups if g.name not in names], failed

    def _apart(
        self, groups: list[Group], objection: Callable[[Sequence[Group]], FreezeReason | None]
    ) -> tuple[list[Group], list[tuple[Group, FreezeReason]]]:
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
            failed.append((together.pop(), FreezeCode.TOGETHER.because(clash=clash.words)))
        return together, failed

    def objection_in(self, forward: ForwardPass, groups: Sequence[Group]) -> FreezeReason | None:
        """Return why ``groups`` cannot be pruned together where the network runs as ``forward`` says."""
        dense = self._dense_in(forward)
        if dense is None:
            return None
        exact = all(g.verification == "exact" for g in groups)
        for cut in CUTS if forward.new else CUTS[1:2]:
            removed = removed_by(cut, groups, self.generator)
            reason = self._twins.objection(removed, forward, dense, exact=exact, gradients=cut != "all but one")
            if reason is not None:
                return replace(reason, words=f"{_where(forward)}, {reason.words}")
        return None

    def _reached(self, groups: list[Group]) -> tuple[list[Group], list[tuple[Group, FreezeReason]]]:
        """Return the groups on which some output depends, and the others: of these, nothing was compared.

        More samples reach experts that two are not sent to; what these reach alone is judged on them.
        """
        hidden = [g for g in groups if not self._observed(g, (self._base, *self.passes))]
        if not hidden:
            return groups, []
        many = ForwardPass(random_like(self.inputs, self.generator, batch=_MORE), name="more random inputs", new=True)
        late = [g for g in hidden if self._observed(g, (many,))]
        _, failed = self._in((many,), late)
        reached = {g.name for g in late}
        failed += [(g, FreezeCode.UNOBSERVED.because()) for g in hidden if g.name not in reached]
        names = {g.name for g, _ in failed}
        return [g for g in groups if g.name not in names], failed

    def _observed(self, group: Group, passes: Sequence[ForwardPass]) -> bool:
        if any(piece.tensor in self.moved for piece in group.slices):
            return True
        # Gradients say nothing where forward records none, or where all outputs are integers.
        positions = positions_of([(group, list(range(1, group.channels)))])
        for forward in passes:
            dense = self._dense_in(forward)
            if dense is not None and self._changes(forward, dense, zeroed(self.model, positions, lazy=True)):
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
        order = [g.name for g in groups]
        united, names = self._united(kept, frozen, groups, whole, one_by_one=False)
        if len(united) > len(kept) and not self._sound_together(united, united[len(kept) :]):
            united, names = self._united(kept, frozen, groups, whole, one_by_one=True)
        return sorted(united, key=lambda g: order.index(g.name)), [f for f in frozen if f.name in names]

    def _united(
        self,
        kept: list[Group],
        frozen: list[FrozenGroup],
        groups: Sequence[Group],
        whole: Sequence[Group],
        *,
        one_by_one: bool,
    ) -> tuple[list[Group], set[str]]:
        """Return ``kept`` with what was united, and the names of what stays frozen.

        Args:
            kept: sound groups.
            frozen: all others.
            groups: the same before they were judged.
            whole: groups of one channel.
            one_by_one: whether each is judged in full beside those before it; else quickly and alone.
        """
        names = {f.name for f in frozen}
        for united, parts in across_heads([*(g for g in groups if g.name in names), *whole]):
            if names.issuperset(parts):
                passed, _ = (self if one_by_one else self.quick)._bisect([[united]])
                if not one_by_one and any(g.verification != united.verification for g in passed):
                    passed, _ = self._bisect([[united]])
                if passed and (not one_by_one or self.objection([*kept, *passed]) is None):
                    kept = [*kept, *passed]
                    names.difference_update(parts)
        return kept, names

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
        for chosen in attempts(everything, most=most, read=read_by_code(self.model, everything)):
            changed = self._with_attributes(groups, chosen.__contains__)
            if self.objection(changed) is None:
                return changed
        return None

    def _with_attributes(self, groups: Sequence[Group], wanted: Callable[[SizeAttribute], bool]) -> list[Group]:
        return [replace(g, attributes=(*g.attributes, *(a for a in self._followers(g) if wanted(a)))) for g in groups]

    def _followers(self, group: Group) -> tuple[SizeAttribute, ...]:
        # Asked for at each attempt; told by its slices, as to hash all their positions takes as long as to look anew.
        known = self._followers_by_slices.get(id(group.slices))
        if known is None or known[0] is not group.slices:
            parts = [p for p in self.parts.get(group.name, ()) if len(p.per) == group.channels]
            known = group.slices, followers(self.model, group, parts)
            self._followers_by_slices[id(group.slices)] = known
        return known[1]

    @cached_property
    def _followers_by_slices(self) -> dict[int, tuple[tuple[Slice, ...], tuple[SizeAttribute, ...]]]:
        return {}

    def objection(self, groups: Sequence[Group], *, rescaled: bool = False) -> FreezeReason | None:
        """Return why ``groups`` cannot be pruned together, or ``None`` where they can.

        Args:
            groups: that are pruned.
            rescaled: whether the masked twin divides attention by the width that the pruned network has.
        """
        exact = all(g.verification == "exact" for g in groups)
        for cut in self.cuts:
            removed, gradients = removed_by(cut, groups, self.generator), cut == "first quarter"
            reason = self._twins.objection(
                removed, self._base, self._dense, exact=exact, gradients=gradients, rescaled=rescaled
            )
            if reason is not None:
                return reason
        return None

    def difference(self, small: nn.Module, twin: nn.Module, *, gradients: bool = True) -> float | None:
        """Return how far two networks' outputs are apart, relative to the largest.

        ``None`` where one does not run, forwards or, where ``gradients`` are asked for, backwards, the outputs have
        other shapes, or there is nothing in them to compare.
        """
        found: list[float | None] = []

        def compare() -> None:
            pruned = run(small, self._base, like=self._dense.draws, gradients=gradients)
            if gradients:
                gradients_of(small, pruned)
            expected = run(twin, self._base, like=pruned.draws)
            if OutputShapes.of(expected.outputs).objection(pruned.outputs) is None:
                found.append(difference(values_of(pruned.outputs), values_of(expected.outputs)))

        return found[0] if fault_of(compare) is None and found else None

    @cached_property
    def quick(self) -> MaskOracle:
        """The oracle by the first cut, on one sample: it tells groups apart that are then judged in full."""
        if self.sample is None:
            return replace(self, cuts=self.cuts[:1])
        return replace(self, cuts=self.cuts[:1], inputs=self.sample, dense=None)

    @cached_property
    def _twins(self) -> MaskedTwins:
        return MaskedTwins(self.model, self.moved)

    @cached_property
    def _base(self) -> ForwardPass:
        return ForwardPass(self.inputs)

    @cached_property
    def _dense(self) -> DenseOutcome:
        return self.dense or DenseOutcome.of(copied(self.model, lazy=True), self._base)

    @cached_property
    def _dense_by_pass(self) -> dict[ForwardPass, DenseOutcome | None]:
        return {}

    def _dense_in(self, forward: ForwardPass) -> DenseOutcome | None:
        """Return what the dense network gives in a pass; ``None`` where it fails or gives nothing finite."""
        known = self._dense_by_pass
        if forward not in known:
            found: list[DenseOutcome] = []
            fault = fault_of(lambda: found.append(DenseOutcome.of(copied(self.model, lazy=True), forward)))
            sound = fault is None and not any(bool(t.isnan().any()) for t in found[0].values)
            known[forward] = found[0] if sound else None
        return known[forward]


def _where(forward: ForwardPass) -> str:
    return "in training mode" if forward.training else f"on {forward.name}"


def width_of(group: Group) -> int:
    """Return how many positions a group's channels take where they are made."""
    return sum(len(row) for row in next(s for s in group.slices if s.produces).positions)
