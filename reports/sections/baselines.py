"""Was the search worth it? Its front beside those of the built-in baselines, at equal budget."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...evaluators.configuration import Configuration
from .. import formatting as fmt
from ..baseline_comparison import BaselineComparison, Contender, compare_baselines

if TYPE_CHECKING:
    from ...search.run_folder import Run

_MARKS = ({"symbol": "square-open", "shown": "\u25a1"}, {"symbol": "triangle-up-open", "shown": "\u25b3"})


def baselines(run: Run) -> dict[str, Any] | None:
    """Return the verdict, the table's rows and the fronts to draw; ``None`` where there is no baseline."""
    found = compare_baselines(run)
    if found is None:
        return None
    reference, measure = found.search.front.reference_point, run.measure
    return {
        "verdict": found.verdict,
        "rows": [_row(contender, found) for contender in (found.search, *found.baselines)],
        "reference": ", ".join(
            f"{fmt.inline(name, measure)} {fmt.metric(name, v, measure)}" for name, v in reference.items()
        ),
        "cost": fmt.label(found.cost.name).lower(),
        "budget": "seconds" if found.timed else "training samples",
        "fronts": [
            {"name": b.name.capitalize(), **mark, "points": [_point(c, b.name, found) for c in b.front.configurations]}
            for b, mark in zip(found.baselines, _MARKS, strict=False)
        ],
    }


def _row(contender: Contender, found: BaselineComparison) -> dict[str, Any]:
    return {
        "name": "This search" if contender is found.search else contender.name.capitalize(),
        "spent": fmt.duration(contender.seconds) if found.timed else fmt.plural(contender.samples, "sample"),
        "hypervolume": fmt.significant(contender.hypervolume),
        "members": str(len(contender.front.configurations)),
    }


def _point(member: Configuration, name: str, found: BaselineComparison) -> dict[str, Any]:
    shown, measure = ("accuracy", "test_accuracy", found.cost.name, "macs"), found.search.front.measure
    return {
        "x": member.metrics.get(found.cost.name),
        "y": member.metrics.get("accuracy"),
        "title": f"{name.capitalize()}, network {member.trial}",
        "lines": [
            f"{fmt.label(n, measure)}: {fmt.metric(n, v, measure)}"
            for n in dict.fromkeys(shown)
            if fmt.known(v := member.metrics.get(n))
        ],
    }
