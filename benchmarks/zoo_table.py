"""The zoo's rows as lines of a terminal and as the tables of docs/networks.md."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from espalier.spaces.graph.freeze_reasons import FreezeCode

Row = dict[str, Any]
_SHORT = {
    FreezeCode.OUTPUT: "output",
    FreezeCode.OUTPUT_SHAPE: "output",
    FreezeCode.SCALAR: "acts on many channels",
    FreezeCode.INPUT: "meets the input",
    FreezeCode.DOES_NOT_RUN: "does not run pruned",
    FreezeCode.DIFFERS: "differs from its twin",
}


def why_frozen(row: Row) -> str:
    """Return how many groups are frozen and, in few words, why."""
    counted: Counter[str] = Counter()
    for frozen in row.get("frozen", ()):
        code = FreezeCode(frozen["code"])
        counted[_SHORT.get(code, code.replace("_", " "))] += 1
    return ", ".join(f"{n} {reason}" for reason, n in counted.most_common()) or "none"


def print_row(row: Row) -> None:
    """Print one network's line, and what broke below it."""
    kept = row.get("kept", {})
    low, high = kept.get("0.3", {}), kept.get("maximum", {})
    print(
        f"{row['name']:30} {row.get('groups', '-'):>4} groups  kept at 0.3: {_percent(low, 'macs')} MACs "
        f"{_percent(low, 'params')} params, at most: {_percent(high, 'macs')} {_percent(high, 'params')}  "
        f"oracle {_error(row)}  {row.get('seconds', float('nan')):5.1f} s  {row.get('passes', 0):4d} passes  "
        f"frozen: {why_frozen(row)}",
        flush=True,
    )
    if row["state"] != "works":
        print(f"    {row['state']}: {row['reason']}", flush=True)


def summary(rows: list[Row]) -> str:
    """Return one line over all networks."""
    works = [row for row in rows if row["state"] == "works"]
    lighter = sum(row.get("kept", {}).get("0.3", {}).get("macs", 1) <= 0.8 for row in works)
    return f"{len(works)} of {len(rows)} work; {lighter} of them lose 20 % of their MACs or more at 0.3"


def write_markdown(path: Path, rows: list[Row], source: Path | None) -> None:
    """Replace the table of networks in ``path``."""
    lines = [
        "| network | groups | frozen | MACs at 0.3 | params at 0.3 | MACs at most | params at most | error | seconds |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        kept = row.get("kept", {})
        cells = [_percent(kept.get(at, {}), of).strip() for at in ("0.3", "maximum") for of in ("macs", "params")]
        about = [row["name"], str(row.get("groups", "-")), why_frozen(row)]
        if row["state"] != "works":
            about[2] = f"fails: {row['reason']}"
        lines.append(f"| {' | '.join([*about, *cells, _error(row).strip(), str(row.get('seconds', '-'))])} |")
    versions = json.loads(source.read_text(encoding="utf-8"))["versions"] if source else {}
    lines += ["", f"{summary(rows)} (PyTorch {versions.get('torch', 'unknown')})."]
    replace_marked(path, "networks", lines)


def replace_marked(path: Path, mark: str, lines: list[str]) -> None:
    """Put ``lines`` between the comments ``begin: mark`` and ``end: mark`` of a Markdown file."""
    begin, end = f"<!-- begin: {mark} -->", f"<!-- end: {mark} -->"
    text = path.read_text(encoding="utf-8")
    if begin not in text or end not in text:
        raise ValueError(f"{path} lacks the comments {begin} and {end}")
    middle = "\n".join([begin, *lines, end])
    path.write_text(re.sub(f"{begin}.*{end}", lambda _: middle, text, flags=re.DOTALL), encoding="utf-8")


def _percent(kept: dict[str, float], of: str) -> str:
    return f"{kept[of]:6.1%}" if of in kept else "     -"


def _error(row: Row) -> str:
    return f"{row['oracle_error']:7.0e}" if "oracle_error" in row else "      -"
