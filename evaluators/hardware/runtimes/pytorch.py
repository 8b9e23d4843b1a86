"""PyTorch itself, operator by operator, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ....errors import EvaluationError, UnsupportedError, describe
from ....spaces.graph.copying import copied
from ...task.task import Inputs
from ..recording import tensors_in
from .base import Network, ProfiledNode, Run, check_precision
from .node_times import median_by_node
from .timing import host_seconds


class PyTorch:
    """Runs the module as it is, without a compiler: what a user of plain PyTorch gets."""

    name: str = "torch"
    precisions: tuple[str, ...] = ("fp32",)

    def version(self) -> str:
        """Return PyTorch's version."""
        return str(torch.__version__)

    def prepare(self, network: Network, *, threads: int) -> Run:
        """Return what runs the network once."""
        check_precision(self, network.precision)
        model = eager_copy(network)
        call = bound(model, network.example_input)

        def run() -> object:
            # PyTorch's number of threads is the process's: another user may have changed it since.
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)
            with torch.inference_mode():
                return call()

        check_runs(run)
        return run

    def seconds(self, run: Run) -> float:
        """Return how long one call takes."""
        return host_seconds(run)

    def arrays(self, outputs: object) -> tuple[np.ndarray, ...]:
        """Return what a run returned as arrays."""
        return tuple(t.detach().cpu().numpy() for t in tensors_in(outputs))

    def profile(self, network: Network, *, threads: int, seconds: float = 0.5) -> tuple[ProfiledNode, ...]:
        """Return the time of each ATen operator, those that it calls apart, in execution order."""
        run = self.prepare(network, threads=threads)
        count = max(3, min(20, int(seconds / max(host_seconds(run), 1e-6))))
        runs = []
        for _ in range(count):
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
                run()
            runs.append(_events(profiler))
        return median_by_node(runs)


def _events(profiler: Any) -> list[tuple[str, str, float]]:
    found = [e for e in profiler.events() if e.name.startswith("aten::") and e.self_cpu_time_total > 0]
    return [(f"{i}:{e.name}", e.name, e.self_cpu_time_total / 1e3) for i, e in enumerate(found)]


def eager_copy(network: Network) -> nn.Module:
    """Return a copy of the network in eval mode.

    Raises:
        UnsupportedError: there is an ONNX file only.
    """
    if network.model is None:
        remedy = "Measure the PyTorch network, or choose onnxruntime or openvino."
        raise UnsupportedError(describe("an ONNX file alone", expected="a PyTorch network", remedy=remedy))
    return copied(network.model).eval()


def bound(model: nn.Module, example_input: Inputs) -> Run:
    """Return the call of ``model`` on its input, of whatever form that is."""
    if isinstance(example_input, Mapping):
        return lambda: model(**example_input)
    if isinstance(example_input, tuple):
        return lambda: model(*example_input)
    return lambda: model(example_input)


def check_runs(run: Run) -> None:
    """Run once.

    Raises:
        EvaluationError: it fails.
    """
    try:
        run()
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise EvaluationError(
            describe(
                f"the network fails on its example input: {error}",
                expected="a network that runs on it",
                remedy="Correct the network or the example input.",
            )
        ) from error
