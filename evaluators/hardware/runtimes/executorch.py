"""ExecuTorch with its XNNPACK back end, which phones run: https://docs.pytorch.org/executorch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ....errors import EvaluationError, UnsupportedError, describe
from ..recording import tensors_in
from .base import Network, ProfiledNode, Run, check_precision, require
from .pytorch import check_runs, eager_copy
from .timing import host_seconds


class ExecuTorch:
    """Compiles the PyTorch network by ``torch.export``; XNNPACK takes what it can, portable kernels the rest."""

    name: str = "executorch"
    precisions: tuple[str, ...] = ("fp32",)

    def version(self) -> str:
        """Return the version of the installed library."""
        return str(_module("executorch.version").__version__)

    def prepare(self, network: Network, *, threads: int) -> Run:
        """Return what runs the network once."""
        check_precision(self, network.precision)
        if isinstance(network.example_input, Mapping):
            remedy = "Wrap the network to take them in order, or choose onnxruntime."
            raise UnsupportedError(describe("inputs by name", expected="tensors in order", remedy=remedy))
        inputs = list(tensors_in(network.example_input))
        program = self._program(network, inputs)
        _pin(threads)
        loaded = _module("executorch.runtime").Runtime.get().load_program(program)
        method = loaded.load_method("forward")

        def run() -> object:
            # The method reads the program in place and does not keep it alive: this function does.
            return method.execute(inputs) if loaded is not None else None

        check_runs(run)
        return run

    def seconds(self, run: Run) -> float:
        """Return how long one call takes."""
        return host_seconds(run)

    def arrays(self, outputs: object) -> tuple[np.ndarray, ...]:
        """Return what a run returned as arrays."""
        return tuple(t.detach().numpy() for t in tensors_in(outputs))

    def profile(self, network: Network, *, threads: int, seconds: float = 0.5) -> tuple[ProfiledNode, ...]:
        """Refuse: the wheels that are published have no event tracer."""
        raise UnsupportedError(
            describe("a profile by ExecuTorch", expected="a latency", remedy="Profile in onnxruntime or openvino.")
        )

    def _program(self, network: Network, inputs: list[torch.Tensor]) -> bytes:
        model, exir = eager_copy(network), _module("executorch.exir")
        partitioner = _module("executorch.backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
        try:
            with _quiet(), torch.no_grad():
                exported = torch.export.export(model, tuple(inputs))
                lowered = exir.to_edge_transform_and_lower(exported, partitioner=[partitioner()])
                return lowered.to_executorch().buffer
        except Exception as error:  # exporter and partitioner share no base but Exception
            raise EvaluationError(
                describe(
                    f"ExecuTorch {self.version()} refuses the network ({type(error).__name__}: {error})",
                    expected="a network that torch.export takes",
                    remedy="Replace the operator named, or choose another runtime.",
                )
            ) from error


def _module(name: str) -> Any:
    with _quiet():
        return require(name, runtime="ExecuTorch", extra="executorch")


def _pin(threads: int) -> None:
    """Set the size of the thread pool, which all programs of the process share."""
    bindings = _module("executorch.extension.pybindings.portable_lib")
    if bindings._threadpool_get_thread_count() != threads:
        bindings._unsafe_reset_threadpool(threads)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep remarks of exporters on their own future away from users."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(before)
