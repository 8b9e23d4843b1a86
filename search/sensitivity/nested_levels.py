"""A path of ever smaller networks, from the dense one to the cheapest worth having: each starts from the one before.

Every group's widths are tried alone, and the branches that may be dropped: what one costs, how much loss it brings, and
how much of that lasts. From the dense network on, the step is taken that gains most cost for the least loss (as
NetAdapt does, with a table in place of a measurement for each step: Yang et al., ECCV 2018, arXiv:1804.03230), and
networks at even distances are kept. Widths that gain nothing on the device, in the middle of a stair, are never
on the path.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from .table import LEAST_LOSS, SensitivityTable, Step, chosen_policy, told_cost, told_loss

LARGE_FIRST = 1.5
"""Of two steps that lose as much for what they save, one that saves more goes first (an exponent above 1): all that is
trained after it is trained faster."""
TAIL = 0.01
"""The path ends where all that is left to gain is below this share of the dense cost."""


@dataclass(frozen=True)
class Level:
    """A network of the path."""

    policy: Policy
    cost: float
    """As a share of the dense network's, told from what each group does alone."""
    loss: float
    """Above the dense network's, told from what each group does alone, and of that what lasts if that is known."""


def nested_levels(space: SearchSpace, table: SensitivityTable, *, levels: int, share: float = 1.0) -> tuple[Level, ...]:
    """Return at most ``levels`` networks of nested policies, largest first, the dense one left out.

    Args:
        space: what may be pruned, and how.
        table: what each group saves and loses alone.
        levels: how many networks are wanted.
        share: of the dense cost that a constraint leaves: the path has one network on the way there, and its levels
            below.
    """
    path = tuple(walk(space, table))
    return tuple(_spaced(path, levels, share)) if path else ()


def walk(space: SearchSpace, table: SensitivityTable) -> Iterator[Level]:
    """Yield ever smaller networks, told from the table."""
    chosen: Mapping[str, Step] = {}
    gone: set[str] = set()
    while True:
        moves = [(n, s) for n in table.steps.keys() - gone for s in _ahead(table.steps[n], chosen.get(n))]
        if not moves:
            return
        name, best = min(moves, key=lambda move: (_price(move[1], chosen.get(move[0])), move[0]))
        # Towards the best width by the smallest step, as networks near each other inherit most; a branch goes at once.
        step = best if best.drops else _ahead(table.steps[name], chosen.get(name))[0]
        chosen = _moved(space, chosen, name, step)
        gone |= _inside(space, name) if step.drops else set()
        yield Level(chosen_policy(space, chosen), told_cost(chosen), told_loss(chosen))


def _ahead(steps: Sequence[Step], now: Step | None) -> Sequence[Step]:
    return steps if now is None else steps[steps.index(now) + 1 :]


def _moved(space: SearchSpace, chosen: Mapping[str, Step], name: str, step: Step) -> Mapping[str, Step]:
    inside = _inside(space, name) if step.drops else set()
    return {n: s for n, s in chosen.items() if n not in inside} | {name: step}


def _inside(space: SearchSpace, name: str) -> set[str]:
    branch = space.graph.group(name).branch
    return set() if branch is None else set(branch.groups)


def _price(step: Step, now: Step | None) -> float:
    """Return the loss for what is saved of the cost, on a scale where equal factors are equal savings.

    Both are what the group does alone. The smaller the network already is, the larger a share a step saves, and the
    more it loses.
    """
    cost, loss = (1.0, 0.0) if now is None else (now.cost, now.loss)
    return max(step.loss - loss, LEAST_LOSS) / max(math.log(cost / step.cost), 1e-9) ** LARGE_FIRST


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
