"""From united atoms to candidate groups, not verified yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from torch import nn

from .coupling import Key, Tracker
from .coupling.atoms import ANY, FIXED
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
    reason: str | None
    """Why it may not go."""
    mixed: bool
    """Whether a normalisation mixes it with others."""

    @property
    def shape(self) -> tuple[tuple[Key, int], ...]:
        """How many positions it has where; units of one group agree in this."""
        return tuple(sorted((key, len(indices)) for key, indices in self.members.items()))


def candidates(
    model: nn.Module, tracker: Tracker, *, stages: Mapping[str, int], freeze: frozenset[str]
) -> tuple[list[Group], list[FrozenGroup]]:
    """Return what may be offered, and what is frozen without looking at numbers, in execution order."""
    units = _units(tracker, freeze)
    free = [u for u in units if u.reason is None]
    groups: list[Group] = []
    frozen = _frozen(u for u in units if u.reason is not None)
    names: dict[str, int] = {}
    for members in _families(free):
        name = _layer_name(members[0].makers)
        names[name] = names.get(name, 0) + 1
        name = name if names[name] == 1 else f"{name}#{names[name]}"
        if len(members) < 2:
            layers = tuple(dict.fromkeys(_layer(key) for key in members[0].members))
            reason = "all its channels depend on one another, so none can go alone"
            frozen.append(FrozenGroup(name, layers, len(members[0].members[members[0].makers[0]]), reason))
        else:
            groups.append(_group(model, name, members, tracker, stages))
    return groups, frozen


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
    reason = "a shortcut adds a fixed number of channels of zeros to it, which would no longer fit"
    return [replace(f, reason=reason) if f.name in beside else f for f in failed]


def _units(tracker: Tracker, freeze: frozenset[str]) -> list[Unit]:
    units, mixed = [], tracker.atoms.mixed()
    for root, members in tracker.atoms.members().items():
        makers = tuple(key for key in tracker.produced if key in members)
        if not makers:
            continue
        reason = tracker.atoms.reason(root)
        named = sorted({_layer(key) for key in makers} & freeze)
        if reason is None and named:
            reason = f"the task freezes {', '.join(named)}"
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
    whole = tuple(
        SizeAttribute(_layer(key), "groups", None, model.get_submodule(_layer(key)).groups)  # pyright: ignore[reportArgumentType]
        for key in units[0].members
        if key[0] in tracker.whole_groups and key[1] == 0
    )
    verification = "shape" if any(u.mixed for u in units) else "exact"
    return Group(name, len(units), slices, verification, stages.get(name.partition("#")[0], 0), attributes=whole)


def _frozen(units: Iterable[Unit]) -> list[FrozenGroup]:
    found: dict[tuple[Key, str], list[Unit]] = {}
    for unit in units:
        found.setdefault((unit.makers[0], str(unit.reason)), []).append(unit)
    groups = []
    for (maker, reason), members in found.items():
        layers = tuple(dict.fromkeys(_layer(key) for unit in members for key in unit.members))
        channels = sum(len(unit.members[maker]) for unit in members)
        groups.append(FrozenGroup(_layer_name(members[0].makers), layers, channels, reason))
    return groups


def _layer_name(makers: tuple[Key, ...]) -> str:
    """Return the first layer that makes the channels; of a parameter outside a layer, its own name."""
    layered = [key for key in makers if "." in key[0] and "weight" in key[0]]
    return _layer((layered or list(makers))[0]) or makers[0][0]


def _layer(key: Key) -> str:
    return layer_of(key[0])
