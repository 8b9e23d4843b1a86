"""Why fronts of runs for different devices differ: what each device asks of the search, and which layers it cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..evaluators.hardware.device import Device, load_device
from ..evaluators.hardware.speeds import Quantity
from ..spaces.policy import Choice
from . import formatting as fmt

if TYPE_CHECKING:
    from ..search.run_folder import GroupSummary, Run

UNKNOWN = "unknown"
TOLD = 3
"""Groups that are put into words."""
_NOISE = 2.0
"""Standard errors of the difference of two means below which it is called noise."""


@dataclass(frozen=True)
class GroupDifference:
    """What one group keeps in each run's front, and what it weighs on each run's device."""

    group: str
    kept: tuple[float | None, ...]
    """Mean share kept over the front's pruned members, run by run; ``None`` where there are none."""
    share: tuple[float | None, ...]
    """Share of the dense network's latency in the group's layers, run by run; ``None`` where it is not known."""
    error: tuple[float | None, ...] = ()
    """Standard error of each mean; ``None`` where there are fewer than two members."""

    @property
    def spread(self) -> float:
        """Largest difference between two runs' kept shares."""
        return _range(self.kept)

    @property
    def beyond_noise(self) -> bool:
        """Whether two runs' means lie further apart than their standard errors explain."""
        known = [(k, e) for k, e in zip(self.kept, self.error, strict=False) if k is not None and e is not None]
        return any(abs(a - b) > _NOISE * (e**2 + f**2) ** 0.5 for (a, e), (b, f) in combinations(known, 2))

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
    policies: tuple[int, ...] = ()
    """How many policies each front holds."""
    common: int = 0
    """How many of them are on every front."""

    def sentences(self) -> tuple[str, ...]:
        """Return the explanation in words: the steps, the policies in common, and groups, those that differ most."""
        steps = tuple(f"{title} {_each(self.runs, texts)}." for title, texts in self.steps)
        kept = [each for each in self.groups if each.spread >= 0.005][:TOLD]
        weighed = sorted(self.groups, key=lambda each: -_range(each.share))
        others = [each for each in weighed if _range(each.share) >= 0.005 and each not in kept][:TOLD]
        return (*steps, self._common(), *map(self._kept, kept), *map(self._weighed, others))

    def _common(self) -> str:
        same = "" if any(each.spread >= 0.005 for each in self.groups) else " They keep the same of every group."
        counts = _each(self.runs, ["1 policy" if count == 1 else f"{count} policies" for count in self.policies])
        return f"Of {counts}, {self.common} {'is' if self.common == 1 else 'are'} on all fronts.{same}"

    def _kept(self, group: GroupDifference) -> str:
        noise = "" if group.beyond_noise else "; with so few members this may be chance"
        return f"{group.group} keeps {_each(self.runs, group.cells())}{noise}."

    def _weighed(self, group: GroupDifference) -> str:
        shares = [UNKNOWN if value is None else fmt.percent(value) for value in group.share]
        return f"{group.group} takes {_each(self.runs, shares)} of the dense latency."

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        return {
            "steps": [{"what": title, "runs": list(texts)} for title, texts in self.steps],
            "policies": list(self.policies),
            "policies_on_all_fronts": self.common,
            "groups": [
                {
                    "group": g.group,
                    "kept": list(g.kept),
                    "share_of_dense_latency": list(g.share),
                    "standard_error": list(g.error),
                    "beyond_noise": g.beyond_noise,
                }
                for g in self.groups
            ],
        }


def device_differences(names: Sequence[str], runs: Sequence[Run]) -> DeviceDifferences | None:
    """Return by what the runs differ; ``None`` where they are for one device or search other groups."""
    groups = runs[0].graph_summary.groups
    same = all([g.name for g in run.graph_summary.groups] == [g.name for g in groups] for run in runs)
    if len({run.info.device for run in runs}) < 2 or not same:
        return None
    found = [_difference(group, runs) for group in groups]
    found.sort(key=lambda each: -each.spread)
    fronts = [{c.policy for c in run.front.configurations} for run in runs]
    counts = tuple(len(front) for front in fronts)
    return DeviceDifferences(tuple(names), _steps(runs), tuple(found), counts, len(set.intersection(*fronts)))


def _difference(group: GroupSummary, runs: Sequence[Run]) -> GroupDifference:
    shares = [_kept(run, group) for run in runs]
    return GroupDifference(
        group.name,
        kept=tuple(mean(s) if s else None for s in shares),
        share=tuple(_share(run, group) for run in runs),
        error=tuple(stdev(s) / len(s) ** 0.5 if len(s) > 1 else None for s in shares),
    )


def _kept(run: Run, group: GroupSummary) -> list[float]:
    policies = [c.policy for c in run.front.configurations]
    pruned = [p for p in policies if any(choice.sparsity for choice in p.choices.values())]
    return [1 - p.choices.get(group.name, Choice.keep_all(group.channels)).sparsity for p in pruned]


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


def _range(values: Sequence[float | None]) -> float:
    known = [value for value in values if value is not None]
    return max(known) - min(known) if known else 0.0


def _each(names: Sequence[str], texts: Sequence[str]) -> str:
    return ", ".join(f"{text} in {name}" for name, text in zip(names, texts, strict=True))
