"""Telling where a network's own code failed: the line that reshapes by a number says more than PyTorch's message."""

from __future__ import annotations

import ast
import linecache
import traceback
from pathlib import Path

import torch

_HINT = "; a size written as a number cannot follow, one that is read from a shape or kept as an attribute can"
_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


def told(error: Exception) -> str:
    """Return an error's type, the first line of its text, and the line of the network's code that it came from."""
    first = str(error).splitlines()[0][:160] if str(error) else ""
    text = f"{type(error).__name__}: {first}".rstrip(": ")
    line = _line(error)
    if not line:
        return text
    hint = _HINT if _has_number(line) else ""
    return f"{text}, at `{line[:120]}`{hint}"


def _line(error: Exception) -> str:
    frames = [f for f, _ in traceback.walk_tb(error.__traceback__) if not f.f_code.co_filename.startswith(_OURS)]
    numbers = [n for f, n in traceback.walk_tb(error.__traceback__) if not f.f_code.co_filename.startswith(_OURS)]
    if not frames:
        return ""
    return linecache.getline(frames[-1].f_code.co_filename, numbers[-1], frames[-1].f_globals).strip()


def _has_number(line: str) -> bool:
    """Return whether a line of code names a size, which is a whole number above one."""
    try:
        tree = ast.parse(line.removesuffix(":"))
    except SyntaxError:  # a part of a statement
        return any(part.isdigit() and int(part) > 1 for part in line.replace(",", " ").replace(")", " ").split())
    found = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant))
    return any(type(value) is int and value > 1 for value in found)
