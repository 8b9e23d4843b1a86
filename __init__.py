"""Espalier fits a trained PyTorch network to a device.

It searches what to prune from each group of coupled channels, measures what every candidate costs on the device and
what it is worth after a short fine-tune, and hands over the Pareto front, a report and a verified export.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .moved_modules import install as _import_moved_modules

if TYPE_CHECKING:
    from .errors import EspalierError, InputError
    from .evaluators.hardware.calibrate import calibrate
    from .evaluators.hardware.device import Device, load_device
    from .evaluators.hardware.estimate import estimate
    from .evaluators.hardware.measured import measure
    from .evaluators.task.task import Task
    from .evaluators.task.task_loading import load_task
    from .reports.export import export
    from .reports.load import load
    from .reports.verify import verify
    from .search.run_folder import open_run
    from .search.run_search import run_search
    from .spaces.apply import prune
    from .spaces.graph.trace import trace
    from .spaces.importance.rankings import rank
    from .spaces.policy import Policy
    from .spaces.search_space import SearchSpace

__version__ = "0.1.0"

_import_moved_modules()

# Where each public name lives. They are imported on first use: torch and optuna take seconds, and
# `espalier --help` needs neither.
_HOMES = {
    "Device": "evaluators.hardware.device",
    "EspalierError": "errors",
    "InputError": "errors",
    "Policy": "spaces.policy",
    "SearchSpace": "spaces.search_space",
    "Task": "evaluators.task.task",
    "calibrate": "evaluators.hardware.calibrate",
    "estimate": "evaluators.hardware.estimate",
    "export": "reports.export",
    "load": "reports.load",
    "load_device": "evaluators.hardware.device",
    "load_task": "evaluators.task.task_loading",
    "measure": "evaluators.hardware.measured",
    "open_run": "search.run_folder",
    "prune": "spaces.apply",
    "rank": "spaces.importance.rankings",
    "run_search": "search.run_search",
    "trace": "spaces.graph.trace",
    "verify": "reports.verify",
}

__all__ = [
    "Device",
    "EspalierError",
    "InputError",
    "Policy",
    "SearchSpace",
    "Task",
    "__version__",
    "calibrate",
    "estimate",
    "export",
    "load",
    "load_device",
    "load_task",
    "measure",
    "open_run",
    "prune",
    "rank",
    "run_search",
    "trace",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
