"""A runtime: what executes a network on this machine, so that it can be timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType
from typing import Protocol, runtime_checkable

import numpy as np
from torch import nn

from ....errors import MissingExtraError, UnsupportedError, describe
from ...onnx.quantisation_scheme import DEFAULT_SCHEME, QuantisationScheme
from ...task.task import Inputs

Run = Callable[[], object]
"""One inference; what it returns is for :meth:`Runtime.arrays`."""


@dataclass(frozen=True)
class Network:
    """A network as it is handed to a runtime, which takes what it can run: the PyTorch network or the ONNX file."""

    model: nn.Module | None
    """The PyTorch network, at fp32."""
    example_input: Inputs
    """What it is run on, a batch of 1."""
    onnx: bytes | None = None
    """The very ONNX file to run, at ``precision``; made from ``model`` where a runtime needs one and none is given."""
    precision: str = "fp32"
    scheme: QuantisationScheme = DEFAULT_SCHEME
    """Of an int8 file made from ``model``."""

    def with_onnx(self, onnx: bytes) -> Network:
        """Return the same network with its file."""
        return replace(self, onnx=onnx)


@dataclass(frozen=True)
class ProfiledNode:
    """One kernel of the optimised graph, as the runtime ran it."""

    name: str
    operator: str
    """Such as ``Conv``, ``FusedConv``, ``ReorderInput``: the runtime's own word."""
    latency_ms: float
    """Median over the runs."""


@runtime_checkable
class Runtime(Protocol):
    """What executes networks. Making one imports nothing; the first call of a method does."""

    name: str
    """As ``RUNTIMES`` and device files call it."""
    precisions: tuple[str, ...]
    """What it runs, such as ``("fp32", "int8")``."""

    def version(self) -> str:
        """Return the version of the installed library.

        Raises:
            MissingExtraError: it is not installed.
        """
        ...

    def prepare(self, network: Network, *, threads: int) -> Run:
        """Return what runs ``network`` once on its example input, compiled and loaded, on ``threads`` threads.

        Raises:
            MissingExtraError: the library is not installed.
            UnsupportedError: the precision is none of ``precisions``, or the network is not in a form that it takes.
            EvaluationError: the network cannot be exported, compiled or run.
        """
        ...

    def seconds(self, run: Run) -> float:
        """Return how long one call of ``run`` takes, until its results are there."""
        ...

    def arrays(self, outputs: object) -> tuple[np.ndarray, ...]:
        """Return what a run returned as arrays, in the order of the PyTorch network's outputs and of their shapes."""
        ...

    def profile(self, network: Network, *, threads: int, seconds: float = 0.5) -> tuple[ProfiledNode, ...]:
        """Return the time of each kernel by the runtime's own profiler, in execution order.

        No new run starts after ``seconds``.

        Raises:
            UnsupportedError: it has no profiler, besides what :meth:`prepare` raises.
        """
        ...


def require(module: str, *, runtime: str, extra: str) -> ModuleType:
    """Return an optional module, imported now.

    Raises:
        MissingExtraError: it is not installed; the message says how to.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            describe(
                f"{runtime} cannot be loaded ({error})",
                expected=f"the module {module}",
                remedy=f"Install it: pip install 'espalier[{extra}]'.",
            )
        ) from error


def check_precision(runtime: Runtime, precision: str) -> None:
    """Refuse a precision that ``runtime`` does not run.

    Raises:
        UnsupportedError: it is none of its precisions.
    """
    if precision not in runtime.precisions:
        raise unsupported(f"precision {precision} in {runtime.name}", runtime.precisions)


def unsupported(got: str, known: Sequence[str]) -> UnsupportedError:
    """Return the error for something that a runtime cannot do, among what it can."""
    remedy = "Choose another precision, runtime or device."
    return UnsupportedError(describe(got, expected=f"one of {', '.join(known)}", remedy=remedy))
