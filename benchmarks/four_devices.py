"""Four searches of one network for four devices: do they come to different fronts, and is it told why?

    python benchmarks/four_devices.py [--trials N] [--samples N] [--seed N] [--data FOLDER] [--out FOLDER] [--json FILE]

Runs the commands that a user runs, with equal options: four searches of ``cifar10-resnet8`` and ``compare`` over them.
Runs that are finished in ``--out`` are used, those that are not go on. Two fronts differ where their members' policies
do, and by how much is told group by group: the difference of the mean share kept, beside its standard error. Exits with
1 where two fronts hold the same policies, or ``compare`` names no group by which they differ.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean, variance
from typing import Any

from espalier.search.run_folder import Run, open_run

TASK = "cifar10-resnet8"
DEVICES = ("cortex-m4", "raspberry-pi-4", "ethos-u55-128", "host")
BEYOND_NOISE = 2.0
"""Standard errors between two means of kept shares."""


def espalier(*words: object, capture: bool = False) -> str:
    """Run a command of Espalier as a user does and return what it printed; end with its exit code if it fails."""
    command = [sys.executable, "-m", "espalier", *map(str, words)]
    print("$ espalier", *words, file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE if capture else sys.stderr, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout or ""


def is_finished(folder: Path, trials: int) -> bool:
    """Return whether ``folder`` holds a search that came to its end with as many trials."""
    if not (folder / "run.json").exists():
        return False
    run = open_run(folder)
    return bool(run.finished) and sum(t.state == "complete" for t in run.trials) >= trials


def search(device: str, options: argparse.Namespace) -> Run:
    """Search for one device, or take the run that is there."""
    folder = options.out / device
    if not is_finished(folder, options.trials):
        how = ["--trials", options.trials, "--samples", options.samples, "--seed", options.seed, "--threads", 1]
        data = ["--data", options.data] if options.data else []
        resume = ["--resume"] if (folder / "run.json").exists() else []
        espalier("search", TASK, "--device", device, *how, *data, "--out", folder, *resume)
    return open_run(folder)


def kept_shares(run: Run) -> dict[str, list[float]]:
    """Return the share that each pruned member of the front keeps, by group."""
    pruned = [c.policy for c in run.front.configurations if any(x.sparsity for x in c.policy.choices.values())]
    return {g.name: [1 - p.choices[g.name].sparsity for p in pruned] for g in run.graph_summary.groups}


def standard_errors_apart(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Return how many standard errors lie between two means; ``None`` where either has fewer than two values."""
    if min(len(first), len(second)) < 2:
        return None
    error = (variance(first) / len(first) + variance(second) / len(second)) ** 0.5
    difference = abs(mean(first) - mean(second))
    return difference / error if error else 0.0 if difference == 0 else float("inf")


def pair(first: Run, second: Run) -> dict[str, Any]:
    """Return by what two fronts differ."""
    mine, theirs = ({c.policy for c in run.front.configurations} for run in (first, second))
    shares = kept_shares(first), kept_shares(second)
    groups = {}
    for name in shares[0]:
        apart = standard_errors_apart(shares[0][name], shares[1][name])
        means = [mean(s[name]) if s[name] else None for s in shares]
        groups[name] = {"kept": means, "standard_errors": None if apart is None else round(apart, 2)}
    beyond = [name for name, g in groups.items() if (g["standard_errors"] or 0) > BEYOND_NOISE]
    return {
        "devices": [first.info.device, second.info.device],
        "policies": [len(mine), len(theirs)],
        "shared_policies": len(mine & theirs),
        "groups": groups,
        "beyond_noise": beyond,
    }


def main() -> int:
    """Search, compare, print and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--samples", type=int, default=1024, help="training samples for each candidate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10 and the trained weights")
    parser.add_argument("--out", type=Path, default=Path("bench-results/four-devices"), help="the runs' folder")
    parser.add_argument("--json", type=Path, help="where to write what was found")
    options = parser.parse_args()
    runs = [search(device, options) for device in DEVICES]
    folders = [run.path for run in runs]
    explained = json.loads(espalier("compare", *folders, "--json", capture=True))
    print(espalier("compare", *folders, "--out", options.out / "compare.html", capture=True))
    pairs = [pair(a, b) for a, b in combinations(runs, 2)]
    for found in pairs:
        first, second = found["devices"]
        beyond = ", ".join(found["beyond_noise"]) or "none"
        print(
            f"{first} and {second}: {found['shared_policies']} policies shared of {found['policies'][0]} and "
            f"{found['policies'][1]}; groups kept differently beyond {BEYOND_NOISE:g} standard errors: {beyond}"
        )
    alike = [p for p in pairs if p["shared_policies"] == max(p["policies"])]
    told = (explained["device_differences"] or {}).get("groups") or []
    if options.json is not None:
        found = {"version": 1, "task": TASK, "trials": options.trials, "samples": options.samples, "seed": options.seed}
        found |= {"pairs": pairs, "compare": explained}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 1 if alike or not told else 0


if __name__ == "__main__":
    sys.exit(main())
