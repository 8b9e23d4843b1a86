"""What a file format of an export has to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from ...evaluators.task.task import Task
from ..parity import Forward


class ExportFormat(Protocol):
    """A form in which a network is handed over; the weights and the policy always are, whatever the formats."""

    @property
    def file(self) -> str:
        """Name of its file in an export's folder."""
        ...

    @property
    def description(self) -> str:
        """What the file is, for the model card."""
        ...

    def write(self, model: nn.Module, task: Task, folder: Path) -> dict[str, dict[str, Any]]:
        """Write the network into ``folder``, and return what each program takes, as the manifest's ``shapes`` say it.

        Raises:
            EvaluationError: the network cannot be exported.
        """
        ...

    def forward(self, file: Path, *, trust: bool) -> Forward:
        """Return what computes the outputs of the file that was written, to be compared with PyTorch's.

        Args:
            file: the file.
            trust: whether the file may be loaded by what executes it.

        Raises:
            NotComputedError: it cannot be computed without executing it, and is not trusted.
        """
        ...

    def usage(self, file: str, input_names: Sequence[str]) -> str:
        """Return how to load a file and run it, in Markdown, for the model card."""
        ...
