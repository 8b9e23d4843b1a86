"""What a run's accuracies were measured after, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import formatting as fmt

if TYPE_CHECKING:
    from ..search.run_folder import Run


def fidelity_words(run: Run) -> str:
    """Return how many training samples the run's candidates had seen, inherited ones included."""
    found = [t.configuration for t in run.trials if t.configuration is not None]
    seen = sorted({c.seen_samples for c in found if c.seen_samples})
    if not seen:
        return fmt.plural(run.info.samples, "sample")
    least, most = fmt.plural(seen[0], "sample"), fmt.plural(seen[-1], "sample")
    if least == most:
        return most
    inherited = any(c.inherited_samples for c in found)
    span = f"{least.rpartition(' ')[0]} to {most}"
    return f"{span} (inherited ones included)" if inherited else span
