"""Why fronts of runs for different devices differ: what each device asks of the search, and which layers it cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..evaluators.hardware.device import Device, Quantity, load_device
from ..spaces.policy import Choice
from . import formatting as fmt

if TYPE_CHECKING:
    from ..search.run_folder import GroupSummary, Run

UNKNOWN = "unknown"
TOLD = 3
"""Groups that are put into words."""


@dataclass(frozen=True)
class GroupDifference:
    """What one group keeps in each run's front, and what it weighs on each run's device."""

    group: str
    kept: tuple[float | None, ...]
    """Mean share kept over the front's pruned members, run by run; ``None`` where there are none."""
    share: tuple[float | None, ...]
    """Share of the dense network's latency in the group's layers, run by run; ``None`` where it is not known."""

    @property
    def spread(self) -> float:
        """Largest difference between two runs' kept shares."""
        known = [value for value in self.kept if value is not None]
        return max(known) - min(known) if known else 0.0

    def cells(self) -> list[str]:
        """Return one cell per run."""
        return [_cell(kept, share) for kept, share in zip(self.kept, self.share, strict=True)]


@dataclass(frozen=True)
class DeviceDifferences:
    """Steps and groups by which runs for different devices differ."""

    runs: tuple[str, ...]
    steps: tuple[tuple[str, tuple[str, ...]], ...]
    """What of the devices differs: a title, and one text per run."""
    groups: tuple[GroupDifference, ...]
    """Largest difference first."""

    def sentences(self) -> tuple[str, ...]:
        """Return the explanation in words."""
        steps = (f"{title} {_each(self.runs, texts)}." for title, texts in self.steps)
        told = [each for each in self.groups[:TOLD] if each.spread >= 0.005]
        return (*steps, *(f"{each.group} keeps {_each(self.runs, each.cells())}." for each in told))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        return {
            "steps": [{"what": title, "runs": list(texts)} for title, texts in self.steps],
            "groups": [
                {"group": g.group, "kept": list(g.kept), "share_of_dense_latency": list(g.share)} for g in self.groups
            ],
        }


def device_differences(names: Sequence[str], runs: Sequence[Run]) -> DeviceDifferences | None:
    """Return by what the runs differ; ``None`` where they are for one device or search other groups."""
    groups = runs[0].graph_summary.groups
    same = all([g.name for g in run.graph_summary.groups] == [g.name for g in groups] for run in runs)
    if len({run.info.device for run in runs}) < 2 or not same:
        return None
    found = [
        GroupDifference(g.name, tuple(_kept(run, g) for run in runs), tuple(_share(run, g) for run in runs))
        for g in groups
    ]
    found.sort(key=lambda each: -each.spread)
    return DeviceDifferences(tuple(names), _steps(runs), tuple(found))


def _kept(run: Run, group: GroupSummary) -> float | None:
    policies = [c.policy for c in run.front.configurations]
    pruned = [p for p in policies if any(choice.sparsity for choice in p.choices.values())]
    shares = [1 - p.choices.get(group.name, Choice.keep_all(group.channels)).sparsity for p in pruned]
    return mean(shares) if shares else None


def _share(run: Run, group: GroupSummary) -> float | None:
    dense = run.finished.get(None)
    known = [layer for layer in (dense.layers if dense else ()) if layer.latency_ms is not None]
    total = sum(layer.latency_ms or 0.0 for layer in known)
    own = sum(layer.latency_ms or 0.0 for layer in known if layer.layer in group.layers)
    return own / total if total else None


def _steps(runs: Sequence[Run]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    devices = [_device(run.info.device) for run in runs]

    def each(text: Callable[[Device, Run], str]) -> tuple[str, ...]:
        return tuple(UNKNOWN if d is None else text(d, run) for d, run in zip(devices, runs, strict=True))

    rows = (
        ("Channels are kept in multiples of", each(_multiples)),
        ("Precisions searched are", tuple(", ".join(run.info.options.precision) for run in runs)),
        ("Costs are told at", each(_deployed)),
        ("Latency comes from", tuple(run.info.dense.latency_source for run in runs)),
        ("Flash is limited to", each(lambda device, _: _limit(device.limits.flash_bytes))),
        ("RAM is limited to", each(lambda device, _: _limit(device.limits.ram_bytes))),
    )
    return tuple((title, texts) for title, texts in rows if len(set(texts)) > 1)


def _device(name: str) -> Device | None:
    """Return the device of a run; ``None`` where its file is not at hand any more."""
    try:
        return load_device(name)
    except InputError:
        return None


def _multiples(device: Device, run: Run) -> str:
    return " and ".join(dict.fromkeys(str(device.alignment(p)) for p in run.info.options.precision))


def _deployed(device: Device, run: Run) -> str:
    return ", ".join(dict.fromkeys(device.deployed_precision(p) or p for p in run.info.options.precision))


def _limit(limit: Quantity | None) -> str:
    return "nothing" if limit is None else fmt.metric("size_bytes", limit.value)


def _cell(kept: float | None, share: float | None) -> str:
    text = "nothing known" if kept is None else fmt.percent(kept)
    return text if share is None else f"{text} (at {fmt.percent(share)} of the dense latency)"


def _each(names: Sequence[str], texts: Sequence[str]) -> str:
    return ", ".join(f"{text} in {name}" for name, text in zip(names, texts, strict=True))
