"""Trace and prune every network of the zoo; print a table, write the JSON and exit with 1 where the promise is broken.

    python benchmarks/zoo.py --packages .zoo [--only NAME ...] [--again] [--json FILE] [--markdown FILE]
    python benchmarks/zoo.py --packages .zoo --against torch-pruning [--json FILE]

The promise: every network works at every sparsity tried, is traced in at most 60 seconds of one core, and of the 40 of
zoo.txt at least 36 lose 20 % of their multiply-accumulates at a sparsity of 0.3. Each network has a process of its own
with a time limit. Networks that the JSON file already holds are kept from it unless `--again` is given.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

from zoo_networks import CONFIGURED, HERE, timm_names
from zoo_table import Row, print_row, summary, write_markdown

TRACE_SECONDS = 60
"""Most that tracing may take on one core."""
FEWEST_LIGHTER = 36
"""Of zoo.txt, how many must lose a fifth of their multiply-accumulates at a sparsity of 0.3."""


def run(name: str, packages: Path, *, against: str, limit: float) -> Row:
    """Return what a process of its own finds about one network."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "row.json"
        command = [sys.executable, str(HERE / "zoo_one.py"), name, "--packages", str(packages.resolve())]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        try:
            ended = subprocess.run(
                [*command, "--json", str(found), "--against", against],
                timeout=limit,
                env=environment,
                check=False,
                capture_output=True,
                text=True,
            )
            cut = f"the process ended with {ended.returncode}: {(ended.stderr.strip().splitlines() or [''])[-1]}"
        except subprocess.TimeoutExpired:
            cut = f"did not end in {limit:g} s"
        row: Row = json.loads(found.read_text(encoding="utf-8")) if found.exists() else {"name": name}
    return row if row.get("state") in ("works", "fails") else {**row, "state": "fails", "reason": cut}


def objections(rows: list[Row]) -> list[str]:
    """Return what of the promise does not hold."""
    found = [f"{row['name']} fails: {row['reason']}" for row in rows if row["state"] != "works"]
    for row in rows:
        if row.get("seconds", 0) > TRACE_SECONDS:
            found.append(f"{row['name']} takes {row['seconds']} s to trace, more than {TRACE_SECONDS}")
    names = set(timm_names())
    listed = [row for row in rows if row["name"] in names]
    lighter = sum(row.get("kept", {}).get("0.3", {}).get("macs", 1) <= 0.8 for row in listed)
    if len(listed) == len(names) and lighter < FEWEST_LIGHTER:
        found.append(f"only {lighter} of {len(names)} lose 20 % of their MACs at 0.3; {FEWEST_LIGHTER} must")
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder that `make zoo` installs timm into")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these networks alone")
    parser.add_argument("--again", action="store_true", help="also networks that the JSON file holds")
    parser.add_argument("--against", choices=("espalier", "torch-pruning"), default="espalier")
    parser.add_argument("--limit", type=float, help="seconds that one network may take in all")
    parser.add_argument("--json", type=Path, help="where the rows are kept")
    parser.add_argument("--markdown", type=Path, help="write the JSON file's tables here and run nothing")
    return parser.parse_args()


def main() -> int:
    """Run the command."""
    options = _options()
    baseline = options.against != "espalier"
    every = timm_names() if baseline else [*timm_names(), *CONFIGURED]
    stored: dict[str, Row] = {}
    if options.json is not None and options.json.exists():
        stored = {row["name"]: row for row in json.loads(options.json.read_text(encoding="utf-8"))["rows"]}
    if options.markdown is not None:
        write_markdown(options.markdown, [stored[name] for name in every if name in stored], options.json)
        return 0
    unknown = sorted(set(options.only or ()) - set(every))
    if unknown:
        print(f"{', '.join(unknown)}: not in the zoo; it holds {', '.join(every)}", file=sys.stderr)
        return 2
    limit = options.limit or (60 if baseline else 900)
    rows = []
    for name in options.only or every:
        if options.again or stored.get(name, {}).get("state") != "works":
            stored[name] = run(name, options.packages, against=options.against, limit=limit)
        rows.append(stored[name])
        print_row(stored[name])
        if options.json is not None:
            _save(options.json, options.against, [stored[n] for n in every if n in stored])
    print(summary(rows))
    if baseline:
        return 0
    broken = objections(rows)
    print("\n".join(broken))
    return 1 if broken else 0


def _save(path: Path, tool: str, rows: list[Row]) -> None:
    versions = {name: metadata.version(name) for name in ("torch", "espalier", "torch-pruning")}
    document = {"version": 1, "tool": tool, "versions": versions, "rows": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
