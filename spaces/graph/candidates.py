"""From united atoms to candidate groups, not verified yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from .attributes import SplitPart
from .coupling import Key, Tracker
from .coupling.atoms import ANY, FIXED
from .freeze_reasons import FreezeCode, FreezeReason
from .groups import FrozenGroup, Group, SizeAttribute, Slice, layer_of
from .slicing import named_tensors


@dataclass(frozen=True)
class Unit:
    """Positions that can only go together: one channel, one head, one block of a shuffle."""

    root: int
    members: Mapping[Key, list[int]]
    """Indices by (tensor, dimension)."""
    makers: tuple[Key, ...]
    """The members that make channels, in order of first use."""
    reason: FreezeReason | None
    """Why it may not go."""
    mixed: bool
    """Whether a normalisation mixes it with others."""

    @property
    def shape(self) -> tuple[tuple[Key, int], ...]:
        """How many positions it has where; units of one group agree in this."""
        return tuple(sorted((key, len(indices)) for key, indices in self.members.items()))


def candidates(
    model: nn.Module, tracker: Tracker, *, stages: Mapping[str, int], freeze: frozenset[str]
) -> tuple[list[Group], list[FrozenGroup], list[Group]]:
    """Return what may be offered, and what is frozen without looking at numbers, in execution order.

    The third list has, as groups of one channel, those whose channels depend on one another, such as a single head.
    """
    units = _units(tracker, freeze)
    free = [u for u in units if u.reason is None]
    groups: list[Group] = []
    whole: list[Group] = []
    frozen = _frozen(u for u in units if u.reason is not None)
    names: dict[str, int] = {}
    for members in _families(free):
        name = _layer_name(members[0].makers)
        names[name] = names.get(name, 0) + 1
        name = name if names[name] == 1 else f"{name}#{names[name]}"
        if len(members) < 2:
            whole.append(_group(model, name, members, tracker, stages))
        else:
            groups.append(_group(model, name, members, tracker, stages))
    return groups, frozen, whole


def explained(groups: Iterable[Group], failed: Iterable[FrozenGroup], tracker: Tracker) -> list[FrozenGroup]:
    """Return ``failed`` with plain words where it is known why some of ``groups`` cannot be cut."""
    atoms = tracker.atoms
    padded = {atoms.find(a) for a in tracker.beside_padding - {ANY, FIXED}}
    beside = set()
    for group in groups:
        piece = next(s for s in group.slices if s.produces)
        own = atoms.known((piece.tensor, piece.dim))[[i for row in piece.positions for i in row]]
        if padded & set(atoms.roots(own).tolist()):
            beside.add(group.name)
    reason = FreezeCode.ZERO_PADDED.because()
    return [FrozenGroup.because(reason, f.name, f.layers, f.channels) if f.name in beside else f for f in failed]


def split_parts(groups: Iterable[Group], tracker: Tracker) -> dict[str, list[SplitPart]]:
    """Return by group how its channels lie in the parts that something was split into by given sizes."""
    splits = [(sizes, [tracker.atoms.roots(p).tolist() for p in parts]) for sizes, parts in tracker.splits]
    found: dict[str, list[SplitPart]] = {}
    for group in groups if splits else ():
        piece = next(s for s in group.slices if s.produces)
        known = tracker.atoms.known((piece.tensor, piece.dim))
        roots = [tracker.atoms.find(int(known[row[0]])) for row in piece.positions]
        parts = {
            SplitPart(sizes, i, tuple(part.count(root) for root in roots))
            for sizes, labels in splits
            for i, part in enumerate(labels)
        }
        found[group.name] = sorted((p for p in parts if any(p.per)), key=lambda p: (p.sizes, p.index))
    return found


def _units(tracker: Tracker, freeze: frozenset[str]) -> list[Unit]:
    units, mixed = [], tracker.atoms.mixed()
    for root, members in tracker.atoms.members().items():
        makers = tuple(key for key in tracker.produced if key in members)
        if not makers:
            continue
        reason = tracker.atoms.reason(root)
        named = sorted({_layer(key) for key in makers} & freeze)
        if reason is None and named:
            reason = FreezeCode.TASK.because(layers=", ".join(named))
        units.append(Unit(root, members, makers, reason, root in mixed))
    order = {key: i for i, key in enumerate(tracker.produced)}
    return sorted(units, key=lambda u: (order[u.makers[0]], u.members[u.makers[0]][0]))


def _families(units: Iterable[Unit]) -> list[list[Unit]]:
    """Put units together that share what makes them and look alike, in order of their first maker."""
    families: dict[tuple[object, ...], list[Unit]] = {}
    for unit in units:
        families.setdefault((unit.makers, unit.shape), []).append(unit)
    return list(families.values())


def _group(model: nn.Module, name: str, units: list[Unit], tracker: Tracker, stages: Mapping[str, int]) -> Group:
    tensors = named_tensors(model)
    slices = tuple(
        Slice(
            tensor=tensor,
            dim=dim,
            positions=tuple(tuple(u.members[tensor, dim]) for u in units),
            produces=(tensor, dim) in tracker.produced or tensors[tensor].dim() == 1,
        )
        for tensor, dim in units[0].members
    )
    cut = [key for key in units[0].members if key[0] in tracker.whole_groups and key[1] == 0]
    held = [(key, getattr(model.get_submodule(_layer(key)), "groups", None)) for key in cut]
    whole = tuple(_whole_groups(key, units, tensors[key[0]].shape[0], n) for key, n in held if isinstance(n, int))
    verification = "shape" if any(u.mixed for u in units) else "exact"
    return Group(name, len(units), slices, verification, stages.get(name.partition("#")[0], 0), attributes=whole)


def _whole_groups(key: Key, units: list[Unit], rows: int, groups: int) -> SizeAttribute:
    """Return the groups of a convolution, which go with its filters; several groups of channels may share them."""
    per = tuple(len(unit.members[key]) * groups // rows for unit in units)
    return SizeAttribute(_layer(key), "groups", None, groups, per if sum(per) < groups else ())


def _frozen(units: Iterable[Unit]) -> list[FrozenGroup]:
    found: dict[tuple[Key, FreezeReason], list[Unit]] = {}
    for unit in units:
        if unit.reason is not None:
            found.setdefault((unit.makers[0], unit.reason), []).append(unit)
    groups = []
    for (maker, reason), members in found.items():
        layers = tuple(dict.fromkeys(_layer(key) or key[0] for unit in members for key in unit.members))
        channels = sum(len(unit.members[maker]) for unit in members)
        groups.append(FrozenGroup.because(reason, _layer_name(members[0].makers), layers, channels))
    return groups


def _layer_name(makers: tuple[Key, ...]) -> str:
    """Return the first layer that makes the channels; of a parameter outside a layer, its own name."""
    layered = [key for key in makers if "." in key[0] and "weight" in key[0]]
    return _layer((layered or list(makers))[0]) or makers[0][0]


def _layer(key: Key) -> str:
    return layer_of(key[0])
