"""A path of ever smaller networks, from the dense one to the cheapest worth having: each starts from the one before.

Every group's widths are tried alone, and the branches that may be dropped: what one costs, how much loss it brings, and
how much of that lasts. From the dense network on, the step is taken that gains most cost for the least loss (as
NetAdapt does, with a table in place of a measurement for each step: Yang et al., ECCV 2018, arXiv:1804.03230), and
networks at even distances are kept. Widths that gain nothing on the device, in the middle of a stair, are never
on the path.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from ..spaces.groups import Group
from ..spaces.policy import Choice, Policy
from ..spaces.search_space import SearchSpace
from .lasting_loss import LastingLoss

FRACTIONS = (0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875)
"""Which widths of a group are tried alone, most telling first, as time allows."""
LEAST_GAIN = 0.01
"""A width that saves less than this share of the dense cost over the next wider one is no step."""
LEAST_LOSS = 0.01
"""Less loss cannot be told from none, on so few samples."""
LARGE_FIRST = 1.5
"""Of two steps that lose as much for what they save, one that saves more goes first (an exponent above 1): all that is
trained after it is trained faster."""
LEAST_TOLD = 3
"""What fewer trainings tell is not carried over to all the rest."""
TAIL = 0.01
"""The path ends where all that is left to gain is below this share of the dense cost."""


@dataclass(frozen=True)
class Probe:
    """What a policy costs, and its loss before any training."""

    cost: float
    loss: float


@dataclass(frozen=True)
class Level:
    """A network of the path."""

    policy: Policy
    cost: float
    """As a share of the dense network's, told from what each group does alone."""
    loss: float
    """Above the dense network's, told from what each group does alone, and of that what lasts if that is known."""


Prober = Callable[[Sequence[Policy]], Sequence[Probe]]
"""Tells policies under the same conditions, so that their costs can be compared."""
_TOGETHER = 12


@dataclass(frozen=True)
class _Step:
    """One group moved to one of its options, as found with that group alone."""

    choice: Choice
    cost: float
    """As a share of the dense network's."""
    loss: float
    """Above the dense network's; never below zero."""

    @property
    def drops(self) -> bool:
        """Whether a branch goes, and not only some of its channels."""
        return self.choice.type == "block"


_Table = Mapping[str, tuple[_Step, ...]]
_Chosen = Mapping[str, _Step]
_LEAST_COST = 0.01
"""Of all that branches take; what is left of a network whose branches are all gone is not told well."""


def descent(
    space: SearchSpace,
    probe: Prober,
    *,
    levels: int,
    share: float = 1.0,
    enough: Callable[[], bool],
    lasting: LastingLoss | None = None,
) -> tuple[Level, ...]:
    """Return at most ``levels`` networks of nested policies, largest first, the dense one left out.

    Args:
        space: what may be pruned, and how.
        probe: what policies cost and lose; slow.
        levels: how many networks are wanted.
        share: of the dense cost that a constraint leaves: the path has one network on the way there, and its levels
            below.
        enough: whether the time for probing is used up; each group is tried once whatever it says.
        lasting: tells how much of a loss lasts; without it a loss counts as it is before training.
    """
    table = _table(space, probe, enough)
    path = tuple(_walk(space, table if lasting is None else _lasting(space, table, lasting)))
    return tuple(_spaced(path, levels, share)) if path else ()


def _table(space: SearchSpace, probe: Prober, enough: Callable[[], bool]) -> _Table:
    found: dict[str, list[_Step]] = {group.name: [] for group in space.graph}
    for rank, fraction in enumerate(FRACTIONS):
        wanted = [(g, c) for g in space.graph for c in _options(space, g, fraction)]
        new = [(g, c) for g, c in wanted if all(step.choice != c for step in found[g.name])]
        for start in range(0, len(new), _TOGETHER):
            if rank and enough():
                break
            for name, step in _probed(space, probe, new[start : start + _TOGETHER]):
                found[name].append(step)
    return {name: _useful(steps) for name, steps in found.items()}


def _probed(space: SearchSpace, probe: Prober, options: Sequence[tuple[Group, Choice]]) -> Iterator[tuple[str, _Step]]:
    """Yield what each option comes to beside the dense network, which is told anew each time: machines drift."""
    single = [Policy.of(space.graph, {group.name: choice}) for group, choice in options]
    dense, *others = probe([Policy.dense(space.graph), *single])
    for (group, choice), seen in zip(options, others, strict=True):
        yield group.name, _Step(choice, seen.cost / dense.cost, max(0.0, seen.loss - dense.loss))


def _options(space: SearchSpace, group: Group, fraction: float) -> Iterator[Choice]:
    """Yield the width of ``group`` nearest to a fraction of it and, where its branch may be dropped, that."""
    criterion = space.criteria[0]
    if "channel" in space.offered(group):
        amounts = space.amounts(group, "channel")
        yield space.choice(group, "channel", min(amounts, key=lambda a: abs(a[0] / a[1] - fraction)), criterion)
    if "block" in space.offered(group):
        yield space.choice(group, "block", space.amounts(group, "block")[0], criterion)


def _useful(steps: Sequence[_Step]) -> tuple[_Step, ...]:
    """Return the steps that save something over all that lose less, in the order of what they lose."""
    kept: list[_Step] = []
    for step in sorted(steps, key=lambda s: (_weight(s.choice), s.loss)):
        if step.cost < min((k.cost for k in kept), default=1.0) - LEAST_GAIN:
            kept.append(step)
    return tuple(kept)


def _lasting(space: SearchSpace, table: _Table, lasting: LastingLoss) -> _Table:
    """Return the table with what lasts of each loss.

    One width of a group tells for all of them, a drop for itself. Where there is no time to train all, those that save
    most are; the others are taken to mend as those do in the middle.
    """
    everything = [(name, step) for name, steps in table.items() for step in _telling(steps)]
    told = sorted(everything, key=lambda each: each[1].cost)[: max(0, lasting.most)]
    if not told or len(told) < min(LEAST_TOLD, len(everything)):
        return table
    policies = [_policy(space, {name: step.choice}) for name, step in told]
    found = lasting.of(Policy.dense(space.graph), policies, [step.loss for _, step in told])
    shares = {
        (name, step.drops): left / step.loss for (name, step), left in zip(told, found, strict=True) if step.loss > 0
    }
    return {
        name: tuple(replace(step, loss=step.loss * _share_of(shares, name, step)) for step in steps)
        for name, steps in table.items()
    }


def _share_of(shares: Mapping[tuple[str, bool], float], name: str, step: _Step) -> float:
    """Return what share of a step's loss lasts: as told, else the middle one of its kind, else of all."""
    alike = [share for (_, drops), share in shares.items() if drops == step.drops]
    return shares.get((name, step.drops)) or median(alike or shares.values() or [1.0])


def _telling(steps: Sequence[_Step]) -> Iterator[_Step]:
    widths = [step for step in steps if not step.drops]
    if widths:
        yield widths[len(widths) // 2]
    yield from (step for step in steps if step.drops)


def _weight(choice: Choice) -> float:
    """Order options from those that keep much to those that keep little; a dropped branch keeps nothing."""
    return 1.0 if choice.type == "block" else 1 - choice.kept / choice.of


def _walk(space: SearchSpace, table: _Table) -> Iterator[Level]:
    """Yield ever smaller networks, told from the table."""
    chosen: _Chosen = {}
    gone: set[str] = set()
    while True:
        moves = [(name, step) for name in table.keys() - gone for step in _ahead(table[name], chosen.get(name))]
        if not moves:
            return
        name, best = min(moves, key=lambda move: (_price(move[1], chosen.get(move[0])), move[0]))
        # Towards the best width by the smallest step, as networks near each other inherit most; a branch goes at once.
        step = best if best.drops else _ahead(table[name], chosen.get(name))[0]
        chosen = _moved(space, chosen, name, step)
        gone |= _inside(space, name) if step.drops else set()
        yield Level(_policy(space, {n: s.choice for n, s in chosen.items()}), _cost(chosen), _loss(chosen))


def _ahead(steps: Sequence[_Step], now: _Step | None) -> Sequence[_Step]:
    return steps if now is None else steps[steps.index(now) + 1 :]


def _moved(space: SearchSpace, chosen: _Chosen, name: str, step: _Step) -> _Chosen:
    inside = _inside(space, name) if step.drops else set()
    return {n: s for n, s in chosen.items() if n not in inside} | {name: step}


def _inside(space: SearchSpace, name: str) -> set[str]:
    branch = space.graph.group(name).branch
    return set() if branch is None else set(branch.groups)


def _cost(chosen: _Chosen) -> float:
    """Return the cost as a share of the dense network's.

    Widths act on shared layers as factors do. A dropped branch saves what it took, whatever else is dropped.
    """
    dropped = sum(1.0 - step.cost for step in chosen.values() if step.drops)
    widths = math.prod(step.cost for step in chosen.values() if not step.drops)
    return widths * max(1.0 - dropped, _LEAST_COST)


def _loss(chosen: _Chosen) -> float:
    return sum(step.loss for step in chosen.values())


def _price(step: _Step, now: _Step | None) -> float:
    """Return the loss for what is saved of the cost, on a scale where equal factors are equal savings.

    Both are what the group does alone. The smaller the network already is, the larger a share a step saves, and the
    more it loses.
    """
    cost, loss = (1.0, 0.0) if now is None else (now.cost, now.loss)
    return max(step.loss - loss, LEAST_LOSS) / max(math.log(cost / step.cost), 1e-9) ** LARGE_FIRST


def _policy(space: SearchSpace, choices: Mapping[str, Choice]) -> Policy:
    # Through the space's own values, which empty what a dropped branch holds.
    return space.policy(space.values(Policy.of(space.graph, choices)))


def _spaced(path: Sequence[Level], levels: int, share: float) -> Iterator[Level]:
    """Yield networks at about even distances, in cost and loss alike, from ``share`` of the dense cost to the end."""
    floor = path[-1].cost
    end = next(i for i, level in enumerate(path) if level.cost <= floor + TAIL)
    top = max(share, path[end].cost)
    whole = (max(1.0 - path[end].cost, 1e-9), max(path[end].loss, 1e-9))
    lengths = [(1.0 - level.cost) / whole[0] + level.loss / whole[1] for level in path[: end + 1]]
    start = next(length for level, length in zip(path, lengths, strict=False) if level.cost <= top)
    first = 0.0 if top == 1.0 else start
    targets = [first + (lengths[end] - first) * i / levels for i in range(1, levels + 1)]
    if top < 1.0:
        targets[:0] = [start / 2, start]
    places = (min(range(end + 1), key=lambda i: abs(lengths[i] - target)) for target in targets)
    for place in dict.fromkeys(places):
        yield path[place]
