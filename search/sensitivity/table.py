"""What each group loses and saves when it alone is pruned: probed once for a run, and kept with it.

The path of shrinking networks, some of the starting points and the coarse resolutions are told from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from ...errors import InputError, RunFolderError, describe
from ...jsonfile import read_json, write_json
from ...spaces.graph.groups import Group
from ...spaces.policy import Choice, Policy
from ...spaces.search_space import SearchSpace
from .recovery import Recovery

SENSITIVITY = "sensitivity.json"
VERSION = 1
FRACTIONS = (0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875)
"""Which widths of a group are tried alone, most telling first, as time allows."""
LEAST_GAIN = 0.01
"""A width that saves less than this share of the dense cost over the next wider one is no step."""
LEAST_LOSS = 0.01
"""Less loss cannot be told from none, on so few samples."""
LEAST_TOLD = 3
"""What fewer trainings tell is not carried over to all the rest."""
LEAST_COST = 0.01
"""Of all that branches take; what is left of a network whose branches are all gone is not told well."""
_TOGETHER = 12


@dataclass(frozen=True)
class Probe:
    """What a policy costs, and its loss before any training."""

    cost: float
    loss: float


Prober = Callable[[Sequence[Policy]], Sequence[Probe]]
"""Tells policies under the same conditions, so that their costs can be compared."""


@dataclass(frozen=True)
class Step:
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


@dataclass(frozen=True)
class SensitivityTable:
    """The steps of each group that save something over all that lose less, in the order of what they remove."""

    steps: Mapping[str, tuple[Step, ...]]

    @classmethod
    def probed(
        cls,
        space: SearchSpace,
        probe: Prober,
        *,
        enough: Callable[[], bool],
        recovery: Recovery | None = None,
    ) -> SensitivityTable:
        """Return what probing finds.

        Args:
            space: what may be pruned, and how.
            probe: what policies cost and lose; slow.
            enough: whether the time for probing is used up; each group is tried once whatever it says.
            recovery: tells how much of a loss lasts; without it a loss counts as it is before training.
        """
        found: dict[str, list[Step]] = {group.name: [] for group in space.graph}
        for rank, fraction in enumerate(FRACTIONS):
            wanted = [(g, c) for g in space.graph for c in _options(space, g, fraction)]
            new = [(g, c) for g, c in wanted if all(step.choice != c for step in found[g.name])]
            for start in range(0, len(new), _TOGETHER):
                if rank and enough():
                    break
                for name, step in _probed(space, probe, new[start : start + _TOGETHER]):
                    found[name].append(step)
        table = cls({name: _useful(steps) for name, steps in found.items()})
        return table if recovery is None else cls(_recovery(space, table.steps, recovery))

    def write(self, folder: Path) -> None:
        """Store it in a run's folder."""
        steps = {name: [_plain(step) for step in steps] for name, steps in self.steps.items()}
        write_json(folder / SENSITIVITY, {"version": VERSION, "groups": steps})

    @classmethod
    def read(cls, folder: Path) -> SensitivityTable | None:
        """Return what a run's folder holds, ``None`` where it holds none.

        Raises:
            RunFolderError: it is torn or of another kind.
        """
        path = folder / SENSITIVITY
        if not path.exists():
            return None
        try:
            groups = read_json(path, version=VERSION)["groups"]
            return cls({name: tuple(_step(step) for step in steps) for name, steps in groups.items()})
        except (KeyError, TypeError, AttributeError, InputError) as error:
            expected, remedy = "what Espalier wrote", "Restore it from a copy, or start a new run."
            raise RunFolderError(describe(f"{path} is no table ({error})", expected=expected, remedy=remedy)) from error


def told_cost(chosen: Mapping[str, Step]) -> float:
    """Return the cost of several steps together, as a share of the dense network's.

    Widths act on shared layers as factors do. A dropped branch saves what it took, whatever else is dropped.
    """
    dropped = sum(1.0 - step.cost for step in chosen.values() if step.drops)
    widths = math.prod(step.cost for step in chosen.values() if not step.drops)
    return widths * max(1.0 - dropped, LEAST_COST)


def told_loss(chosen: Mapping[str, Step]) -> float:
    """Return the loss of several steps together."""
    return sum(step.loss for step in chosen.values())


def chosen_policy(space: SearchSpace, chosen: Mapping[str, Step]) -> Policy:
    """Return the policy of several steps together."""
    return _policy(space, {name: step.choice for name, step in chosen.items()})


def _policy(space: SearchSpace, choices: Mapping[str, Choice]) -> Policy:
    # Through the space's own values, which empty what a dropped branch holds.
    return space.policy(space.values(Policy.of(space.graph, choices)))


def _probed(space: SearchSpace, probe: Prober, options: Sequence[tuple[Group, Choice]]) -> Iterator[tuple[str, Step]]:
    """Yield what each option comes to beside the dense network, which is told anew each time: machines drift."""
    single = [Policy.of(space.graph, {group.name: choice}) for group, choice in options]
    dense, *others = probe([Policy.dense(space.graph), *single])
    for (group, choice), seen in zip(options, others, strict=True):
        yield group.name, Step(choice, seen.cost / dense.cost, max(0.0, seen.loss - dense.loss))


def _options(space: SearchSpace, group: Group, fraction: float) -> Iterator[Choice]:
    """Yield the width of ``group`` nearest to a fraction of it and, where its branch may be dropped, that."""
    criterion = space.criteria[0]
    if "channel" in space.offered(group):
        amounts = space.amounts(group, "channel")
        yield space.choice(group, "channel", min(amounts, key=lambda a: abs(a[0] / a[1] - fraction)), criterion)
    if "block" in space.offered(group):
        yield space.choice(group, "block", space.amounts(group, "block")[0], criterion)


def _useful(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps that save something over all that lose less, in the order of what they lose."""
    kept: list[Step] = []
    for step in sorted(steps, key=lambda s: (_removed(s.choice), s.loss)):
        if step.cost < min((k.cost for k in kept), default=1.0) - LEAST_GAIN:
            kept.append(step)
    return tuple(kept)


def _removed(choice: Choice) -> float:
    """Order options from those that keep much to those that keep little; a dropped branch keeps nothing."""
    return 1.0 if choice.type == "block" else 1 - choice.kept / choice.of


def _recovery(
    space: SearchSpace, table: Mapping[str, tuple[Step, ...]], recovery: Recovery
) -> Mapping[str, tuple[Step, ...]]:
    """Return the table with what lasts of each loss.

    One width of a group tells for all of them, a drop for itself. Where there is no time to train all, those that save
    most are; the others are taken to mend as those do in the middle.
    """
    everything = [(name, step) for name, steps in table.items() for step in _telling(steps)]
    told = sorted(everything, key=lambda each: each[1].cost)[: max(0, recovery.most)]
    if not told or len(told) < min(LEAST_TOLD, len(everything)):
        return table
    policies = [_policy(space, {name: step.choice}) for name, step in told]
    found = recovery.of(Policy.dense(space.graph), policies, [step.loss for _, step in told])
    shares = {
        (name, step.drops): left / step.loss for (name, step), left in zip(told, found, strict=True) if step.loss > 0
    }
    return {
        name: tuple(replace(step, loss=step.loss * _share_of(shares, name, step)) for step in steps)
        for name, steps in table.items()
    }


def _share_of(shares: Mapping[tuple[str, bool], float], name: str, step: Step) -> float:
    """Return what share of a step's loss lasts: as told, else the middle one of its kind, else of all."""
    alike = [share for (_, drops), share in shares.items() if drops == step.drops]
    return shares.get((name, step.drops)) or median(alike or shares.values() or [1.0])


def _telling(steps: Sequence[Step]) -> Iterator[Step]:
    widths = [step for step in steps if not step.drops]
    if widths:
        yield widths[len(widths) // 2]
    yield from (step for step in steps if step.drops)


def _plain(step: Step) -> dict[str, Any]:
    return {**step.choice.to_dict(), "cost": step.cost, "loss": step.loss}


def _step(data: Mapping[str, Any]) -> Step:
    choice = Choice(data["type"], data["criterion"], int(data["kept"]), int(data["of"]))
    return Step(choice, float(data["cost"]), float(data["loss"]))
