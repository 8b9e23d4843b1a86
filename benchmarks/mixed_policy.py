"""A policy of channels, 2:4 zeros, a dropped block and int8 at once: searched, exported and verified on a real network.

    python benchmarks/mixed_policy.py [--trials N] [--samples N] [--seed N] [--data FOLDER] [--out FOLDER] [--json FILE]

Runs the commands that a user runs on ``cifar10-resnet8``: a search of all four that starts from two policies of one's
own (``--start``) and goes on by itself, the export of the most accurate member of the front that mixes all four, and
its verification. Exits with 1 where no such member is found or a check fails.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from espalier import Policy, load_task, trace
from espalier.evaluators.configuration import Configuration
from espalier.search.run_folder import Run, open_run
from espalier.spaces.graph.groups import Graph
from espalier.spaces.policy import Choice

TASK = "cifar10-resnet8"
KINDS = frozenset({"channel", "nm", "block"})
COLUMNS = ("trial", "origin", "precision", "types", "accuracy", "test_accuracy", "latency_ms", "size_bytes")
_BLOCK = Choice("block", None, 0, 1)
_TWO_OF_FOUR = Choice("nm", "l1", 2, 4)


def own_policies(graph: Graph) -> tuple[Policy, ...]:
    """Return two policies that mix all four; both drop the first residual branch."""

    def half(name: str) -> Choice:
        channels = graph.group(name).channels
        return Choice.channel(kept=channels // 2, of=channels, criterion="l2")

    later = {"b1.conv1": _BLOCK, "b2.conv1": _TWO_OF_FOUR, "b3.conv1": half("b3.conv1")}
    earlier = {"b1.conv1": _BLOCK, "b2.conv1": half("b2.conv1"), "b3.conv2": _TWO_OF_FOUR}
    return tuple(Policy.of(graph, choices, precision="int8") for choices in (later, earlier))


def mixes_all(configuration: Configuration) -> bool:
    """Return whether a configuration has channels removed, 2:4 zeros, a dropped block, and runs at int8."""
    choices = configuration.policy.choices.values()
    two_of_four = any(c.type == "nm" and (c.kept, c.of) == (2, 4) for c in choices)
    return two_of_four and {c.type for c in choices} >= KINDS and configuration.policy.precision == "int8"


def row(run: Run, configuration: Configuration) -> dict[str, Any]:
    """Return one line of the table."""
    origin = next(str(t.origin) for t in run.trials if t.number == configuration.trial)
    types = sorted({c.type for c in configuration.policy.choices.values()} - {"none"})
    head = {"trial": configuration.trial, "origin": origin, "precision": configuration.policy.precision}
    metrics = {name: configuration.metrics.get(name) for name in COLUMNS[4:]}
    return {**head, "types": "+".join(types) or "none", **metrics}


def espalier(*words: object) -> int:
    """Run a command of Espalier as a user does, and return its exit code."""
    command = ["espalier", *map(str, words)]
    print("$", *command, flush=True)
    return subprocess.run([sys.executable, "-m", *command], check=False).returncode


def search(options: argparse.Namespace, folder: Path) -> Run:
    """Search from the two policies and return the run."""
    task = load_task(TASK, data=options.data)
    starts: list[object] = []
    for number, policy in enumerate(own_policies(trace(task.model().eval(), task.example_input))):
        path = folder / f"own-{number}.json"
        path.write_text(policy.to_json(), encoding="utf-8")
        starts += ["--start", path]
    data = ["--data", options.data] if options.data else []
    what = ["--types", "channel,block,nm", "--criteria", "l2", "--precision", "fp32,int8", *starts]
    how = ["--trials", options.trials, "--samples", options.samples, "--seed", options.seed, "--threads", 1, *data]
    code = espalier("search", TASK, "--device", "host", *what, *how, "--out", folder / "run")
    if code:
        raise SystemExit(code)
    return open_run(folder / "run")


def handed_over(run: Run, pick: Configuration, folder: Path, data: Path | None) -> dict[str, Any]:
    """Export and verify one configuration and return how that went."""
    export = folder / "export"
    given = ["--data", data] if data else []
    exported = espalier("export", run.path, "--pick", pick.trial, "--out", export, *given)
    verified = espalier("verify", export, *given) if exported == 0 else None
    return {"trial": pick.trial, "export": exported, "verify": verified}


def show(rows: list[dict[str, Any]]) -> None:
    """Print the front."""
    print("  ".join(f"{name:>17}" for name in COLUMNS))
    for found in rows:
        cells = (f"{v:.4g}" if isinstance(v, float) and abs(v) < 1e4 else f"{v}" for v in found.values())
        print("  ".join(f"{cell:>17}" for cell in cells))


def main() -> int:
    """Search, export, verify; print the front and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--samples", type=int, default=4096, help="training samples for each candidate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10 and the trained weights")
    parser.add_argument("--out", type=Path, help="new folder for run and export; a temporary one by default")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="espalier-mixed-") as temporary:
        folder = options.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run = search(options, folder)
        members = run.front.configurations
        mixed = [c for c in members if mixes_all(c)]
        tried = sum(t.configuration is not None and mixes_all(t.configuration) for t in run.trials)
        best = max(mixed, key=lambda c: c.metrics["accuracy"] or 0.0, default=None)
        result = None if best is None else handed_over(run, best, folder, options.data)
        rows = [row(run, c) for c in members]
    show(rows)
    print(f"mix all four: {tried} of {len(run.trials)} trials, {len(mixed)} of {len(members)} on the front; {result}")
    if options.json is not None:
        found = {"version": 1, "task": TASK, "trials": options.trials, "samples": options.samples, "seed": options.seed}
        found |= {"dense": dict(run.front.dense), "front": rows, "mixed_tried": tried, "handed_over": result}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if result is not None and result["verify"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
