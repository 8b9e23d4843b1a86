"""The end of a search: the front's final numbers, taken once, with nothing else running."""

from __future__ import annotations

from pathlib import Path

from ..evaluators.request import FinishRequest
from .problem import SearchEvaluator
from .progress import Progress
from .run_folder import open_run, read_finished, write_finished


def finish(folder: Path, evaluator: SearchEvaluator, progress: Progress) -> None:
    """Store final numbers of the dense network and of every member of the front that has none yet.

    Test data are read here alone, and once for each configuration: numbers of an earlier end of the run stay. All are
    stored together, so a kill leaves either none of the new ones or all.
    """
    run = open_run(folder)
    done = read_finished(folder)
    wanted = [c for c in run.search_front.configurations if c.trial not in done]
    if not wanted and None in done:
        return
    progress.message(f"taking final numbers of {len(wanted)} configurations")
    requests = [FinishRequest(c.trial, c.policy, _weights(run.weights_path(c.trial))) for c in wanted]
    networks = {network.trial: network for network in evaluator.finish(requests)}
    write_finished(folder, {**networks, **done}.values())


def _weights(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())
