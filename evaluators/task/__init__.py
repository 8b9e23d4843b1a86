"""What the user brings: a network with its data, loss and metric; how it is loaded, checked and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .task import Inputs, Task

__all__ = ["Inputs", "Task"]


def __getattr__(name: str) -> Any:
    """Give what the module of this name gave before it became a room."""
    if name in __all__:
        from . import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
