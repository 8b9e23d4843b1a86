"""How do I reproduce and export it? Commands to copy, versions, fingerprints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...evaluators.objectives import SCORE
from ...evaluators.task.measure import ACCURACY
from ...evaluators.task.task_loading import is_built_in
from ...search.run_folder import OriginKind
from .choice import export_command

if TYPE_CHECKING:
    from ...search.run_folder import Run

_PICK = "knee"
_ALWAYS = ("device", "trials", "seed")


def reproduce(run: Run) -> dict[str, Any]:
    """Return the commands and everything that identifies the run."""
    info = run.info
    path = shlex.quote(str(run.path))
    commands = [{"title": "Search again", "command": search_command(run)}]
    knee = next((c for c in run.front.configurations if _PICK in c.tags), None)
    if knee is not None:
        out = f"export-{knee.trial}"
        commands += [
            {"title": "Export the knee", "command": export_command(run, knee.trial)},
            {"title": "Check the export", "command": verify_command(out, info.task_reference)},
        ]
    commands += [
        {"title": "Ask for a configuration", "command": f"espalier pick {path} --max-drop 1%"},
        {"title": "Write this report again", "command": f"espalier report {path}"},
    ]
    return {
        "commands": commands,
        "options": [
            {"name": name, "value": _option(run, name, value)}
            for name, value in info.options.to_dict().items()
            if value not in (None, [])
        ],
        "versions": sorted(info.versions.items()),
        "fingerprints": sorted(info.fingerprints.items()),
    }


def verify_command(folder: str | Path, reference: str | None) -> str:
    """Return the command line that checks an export; a task that is not Espalier's own is named in it."""
    words = ["espalier", "verify", str(folder)]
    if reference is not None and not is_built_in(reference):
        words += ["--task", reference]
    return shlex.join(words)


def _option(run: Run, name: str, value: Any) -> str:
    return f"policies given: {len(value)}" if name == "start" else _shown(_named(run, value))


def _named(run: Run, value: Any) -> Any:
    """Return objectives and constraints with ``metric`` for a score that is no accuracy; both words are read alike."""
    if run.measure.name == ACCURACY.name or not isinstance(value, (list, tuple)):
        return value
    return [re.sub(rf"^{SCORE}(?=$|[<>])", "metric", str(each)) for each in value]


def search_command(run: Run) -> str:
    """Return the command line that runs the same search into a new folder, without the options left at default."""
    options = run.info.options
    words = options.words(
        always=_ALWAYS,
        objectives=_named(run, options.objectives),
        constraints=_named(run, [str(constraint) for constraint in options.parsed_constraints]),
        start=_given_paths(run),
    )
    reference = run.info.task_reference or run.info.task_name
    return shlex.join(["espalier", "search", reference, *words, "--out", f"{run.path}-again"])


def _given_paths(run: Run) -> list[Path]:
    given = [t.number for t in run.trials if t.origin.kind is OriginKind.GIVEN]
    return [path for path in map(run.policy_path, given) if path.exists()]


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(str(v) for v in value)
    return str(value)
