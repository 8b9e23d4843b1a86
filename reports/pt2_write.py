"""Writes ``model.pt2`` with nothing in it but the program and its tensors' own elements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..evaluators.task.own_elements import keep_own_elements

_TOLD = ("stack_trace",)
"""What a graph's nodes remember of the machine: paths of source files and lines of the user's code."""


def write_program(program: torch.export.ExportedProgram, path: Path) -> None:
    """Write an exported program; what it was traced with is no part of it.

    ``torch.export.save`` stores the example input by pickle, with the whole storage behind it: a slice of the training
    data takes all of them along. Nothing that runs the file reads it.
    """
    program.example_inputs = None
    keep_own_elements(program.state_dict)
    keep_own_elements(program.constants)
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            _forget(node.meta)
    torch.export.save(program, str(path))


def _forget(meta: dict[str, Any]) -> None:
    for name in _TOLD:
        meta.pop(name, None)
