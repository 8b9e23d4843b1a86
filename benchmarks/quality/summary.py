"""All results as one table: means over seeds, and every method against Espalier, paired by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

from .base import OURS, is_ours
from .fronts import FRACTIONS, Scored, accuracy_at, time_to

UNPUBLISHED = ("iterative-uniform",)
"""Compared with apart: simple, strong, and nobody's method."""


@dataclass(frozen=True)
class Spread:
    """A mean over seeds with its standard deviation."""

    mean: float
    deviation: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Return the spread of the values that are known; ``None`` where not all are."""
        found = list(values)
        known = [v for v in found if v is not None]
        if not known or len(known) < len(found):
            return None
        return cls(mean(known), stdev(known) if len(known) > 1 else 0.0, len(known))


@dataclass(frozen=True)
class Row:
    """One method on one task at one budget."""

    method: str
    seeds: tuple[int, ...]
    hypervolume: Spread | None
    accuracy_at: Mapping[str, Spread | None]
    ratio: Spread | None
    """Espalier's hypervolume by this method's, paired by seed."""
    seconds_to: Spread | None
    """CPU seconds until Espalier had this method's final hypervolume of the same seed, where it always had."""


@dataclass(frozen=True)
class Table:
    """One task at one budget, best hypervolume first."""

    task: str
    budget: float
    dense: Mapping[str, float]
    rows: tuple[Row, ...]
    fastest: float
    """Least latency of any network of any method, as a share of the dense network's."""


def tables(results: Iterable[Mapping[str, Any]]) -> list[Table]:
    """Return a table for each task and budget."""
    groups: dict[tuple[str, float], list[Mapping[str, Any]]] = {}
    for result in results:
        groups.setdefault((result["task"], result["budget"]), []).append(result)
    return [_table(task, budget, group) for (task, budget), group in sorted(groups.items())]


def _table(task: str, budget: float, results: Sequence[Mapping[str, Any]]) -> Table:
    by_method: dict[str, dict[int, Mapping[str, Any]]] = {}
    for result in results:
        by_method.setdefault(result["method"], {})[result["seed"]] = result
    ours = by_method.get(OURS, {})
    rows = [_row(method, found, ours) for method, found in by_method.items()]
    rows.sort(key=lambda row: -(row.hypervolume.mean if row.hypervolume else 0.0))
    fastest = min((c["latency"] for result in results for c in result["candidates"]), default=1.0)
    return Table(task, budget, results[0]["dense"], tuple(rows), fastest)


def _row(method: str, found: Mapping[int, Mapping[str, Any]], ours: Mapping[int, Mapping[str, Any]]) -> Row:
    pairs = [(ours[seed], result) for seed, result in found.items() if seed in ours]
    other = method != OURS
    return Row(
        method,
        tuple(sorted(found)),
        Spread.of(r["hypervolume"] for r in found.values()),
        {str(f): Spread.of(_accuracy_at(r, f) for r in found.values()) for f in FRACTIONS},
        Spread.of(_ratio(a, b) for a, b in pairs) if other else None,
        Spread.of(time_to(a["timeline"], b["hypervolume"]) for a, b in pairs) if other else None,
    )


def _accuracy_at(result: Mapping[str, Any], fraction: float) -> float | None:
    scored = [Scored(c["seconds"], c["validation"], c["test"], c["latency"]) for c in result["candidates"]]
    return accuracy_at(scored, fraction)


def _ratio(ours: Mapping[str, Any], other: Mapping[str, Any]) -> float | None:
    return ours["hypervolume"] / other["hypervolume"] if other["hypervolume"] > 0 else None


def as_text(table: Table) -> str:
    """Return a table for people."""
    dense = table.dense
    head = f"{table.task}, {table.budget:g} CPU seconds, one thread; dense: test {100 * dense['test']:.1f} %, "
    lines = [f"{head}{dense['latency_ms']:.3f} ms", ""]
    names = ["method", "seeds", "hypervolume", *(f"at {float(f):.0%}" for f in FRACTIONS), "espalier by it", "time to"]
    cells = [names, *(_cells(row) for row in table.rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    for line in cells:
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    return "\n".join([*lines, "", *_verdict(table), _bound(table)])


def _cells(row: Row) -> list[str]:
    at = [_text(row.accuracy_at[str(f)], scale=100, digits=1) for f in FRACTIONS]
    hypervolume, ratio = _text(row.hypervolume, digits=3), _text(row.ratio, digits=2)
    return [row.method, str(len(row.seeds)), hypervolume, *at, ratio, _text(row.seconds_to, digits=0)]


def _text(spread: Spread | None, *, scale: float = 1.0, digits: int) -> str:
    if spread is None:
        return "–"
    text = f"{scale * spread.mean:.{digits}f}"
    return text if spread.count == 1 else f"{text} ± {scale * spread.deviation:.{digits}f}"


def _verdict(table: Table) -> list[str]:
    """Return how Espalier stands against the best method that was published, and against iterative uniform."""
    published = [
        row for row in table.rows if row.method not in UNPUBLISHED and not is_ours(row.method) and row.ratio is not None
    ]
    ours = next((row for row in table.rows if row.method == OURS), None)
    lines = []
    if published and ours is not None:
        best = published[0]
        lines.append(
            f"against the best published method, {best.method}: {_text(best.ratio, digits=2)} times its hypervolume "
            f"(to reach: 1.25), which Espalier had after {_text(best.seconds_to, digits=0)} s (to reach: "
            f"{table.budget / 3:.0f})"
        )
        lines += _points(ours, published)
    for row in table.rows:
        if row.method in UNPUBLISHED and row.ratio is not None:
            lines.append(f"against {row.method}: {_text(row.ratio, digits=2)} times its hypervolume (to reach: 1.10)")
    return lines


def _bound(table: Table) -> str:
    return (
        f"the fastest network of all takes {table.fastest:.0%} of the dense latency: with the dense accuracy there, "
        f"the hypervolume would be {max(0.0, 1 - table.fastest):.3f}"
    )


def _points(ours: Row, published: Sequence[Row]) -> list[str]:
    """Return the points of accuracy gained at half the dense latency, or at 65 % where no other gets to one half."""
    for fraction in ("0.5", "0.65"):
        others = [(at.mean, row.method) for row in published if (at := row.accuracy_at[fraction]) is not None]
        own = ours.accuracy_at[fraction]
        if others and own is not None:
            best, method = max(others)
            gained = 100 * (own.mean - best)
            return [f"at {float(fraction):.0%} of the dense latency: {gained:+.1f} points on {method} (to reach: +5.0)"]
    return []


def as_data(found: Sequence[Table]) -> dict[str, Any]:
    """Return the tables as plain data."""
    return {"version": 1, "tables": [asdict(table) for table in found]}
