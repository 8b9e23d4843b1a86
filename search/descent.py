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
TAIL = 0.03
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
    """As a share of the dense network's, told from what each group does alone: groups act as factors."""
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
    """Return the table with what lasts of each loss: one width of a group tells for all of them, a drop for itself."""
    told = [(name, step) for name, steps in table.items() for step in _telling(steps)]
    policies = [_policy(space, {name: step.choice}) for name, step in told]
    found = lasting.of(Policy.dense(space.graph), policies, [step.loss for _, step in told])
    if found is None:
        return table
    shares = {
        (name, step.drops): (left / step.loss if step.loss > 0 else 1.0)
        for (name, step), left in zip(told, found, strict=True)
    }
    return {n: tuple(replace(s, loss=s.loss * shares[n, s.drops]) for s in steps) for n, steps in table.items()}


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
    at: dict[str, int] = dict.fromkeys(table, -1)
    gone: set[str] = set()
    while True:
        moves = [(n, i) for n, steps in table.items() if n not in gone for i in range(at[n] + 1, len(steps))]
        if not moves:
            return
        name, best = min(moves, key=lambda move: _price(table[move[0]], at[move[0]], move[1]))
        # Towards the best width by the smallest step, as networks near each other inherit most; a branch goes at once.
        at[name] = best if table[name][best].drops else at[name] + 1
        if table[name][at[name]].drops:
            branch = space.graph.group(name).branch
            gone |= set() if branch is None else set(branch.groups)
        reached = {n: table[n][i] for n, i in at.items() if i >= 0}
        chosen = {n: step for n, step in reached.items() if n not in gone or step.drops}
        yield Level(
            _policy(space, {n: step.choice for n, step in chosen.items()}),
            math.prod(step.cost for step in chosen.values()),
            sum(step.loss for step in chosen.values()),
        )


def _policy(space: SearchSpace, choices: Mapping[str, Choice]) -> Policy:
    # Through the space's own values, which empty what a dropped branch holds.
    return space.policy(space.values(Policy.of(space.graph, choices)))


def _price(steps: Sequence[_Step], now: int, then: int) -> float:
    """Return the loss for what is saved of the cost, on a scale where equal factors are equal savings."""
    cost, loss = (steps[now].cost, steps[now].loss) if now >= 0 else (1.0, 0.0)
    return max(steps[then].loss - loss, LEAST_LOSS) / max(math.log(cost / steps[then].cost), 1e-9) ** LARGE_FIRST


def _spaced(path: Sequence[Level], levels: int, share: float) -> Iterator[Level]:
    """Yield networks at about even distances, in cost and in loss alike, from ``share`` of the dense cost to the end."""
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
