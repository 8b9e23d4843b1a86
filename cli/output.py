"""How results are printed: JSON for programs, tables on a terminal, plain aligned lines anywhere else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, describe

UNKNOWN = "-"


def print_json(content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print ``content`` as the only thing on standard output."""
    sys.stdout.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


def note(text: str) -> None:
    """Say something about the work that is no result, on standard error."""
    print(text, file=sys.stderr, flush=True)


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print rows of text: a table on a terminal, else aligned plain lines that are never cut."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title or None, title_justify="left", header_style="bold")
        for index, column in enumerate(columns):
            table.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*row)
        Console(markup=False, highlight=False).print(table)
        return
    if title:
        print(title)
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    for row in (columns, *rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
    print()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failure to write ``path`` into bad input."""
    try:
        yield
    except OSError as error:
        raise InputError(
            describe(f"{path} cannot be written ({error})", expected="a writable place", remedy="Choose another --out.")
        ) from error


def refuse_existing(path: Path) -> None:
    """Refuse to overwrite a file.

    Raises:
        InputError: ``path`` exists.
    """
    if path.exists():
        raise InputError(describe(f"{path} exists already", expected="a new file", remedy="Choose another --out."))
