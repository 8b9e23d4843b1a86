"""PyTorch on an NVIDIA GPU, timed by CUDA events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ....errors import MissingExtraError, describe
from ...task.task import Inputs
from ..recording import tensors_in
from .base import Network, ProfiledNode, Run, check_precision
from .node_times import median_by_node
from .pytorch import bound, check_runs, eager_copy


class Cuda:
    """Runs the module on the first GPU; the input lies there already. Threads are the host's, so one is enough."""

    name: str = "cuda"
    precisions: tuple[str, ...] = ("fp32",)

    def version(self) -> str:
        """Return the versions of PyTorch and CUDA."""
        _require_gpu()
        return f"{torch.__version__}, CUDA {torch.version.cuda}"

    def prepare(self, network: Network, *, threads: int) -> Run:
        """Return what runs the network once and waits for it."""
        check_precision(self, network.precision)
        _require_gpu()
        call = bound(eager_copy(network).cuda(), _on_gpu(network.example_input))

        def run() -> object:
            with torch.inference_mode():
                outputs = call()
            torch.cuda.synchronize()
            return outputs

        check_runs(run)
        return run

    def seconds(self, run: Run) -> float:
        """Return how long the GPU takes for one call, launching included, by its own clock."""
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    def arrays(self, outputs: object) -> tuple[np.ndarray, ...]:
        """Return what a run returned as arrays."""
        return tuple(t.detach().cpu().numpy() for t in tensors_in(outputs))

    def profile(self, network: Network, *, threads: int, seconds: float = 0.5) -> tuple[ProfiledNode, ...]:
        """Return the time of each GPU kernel, in execution order; the gaps between them are not in it."""
        run = self.prepare(network, threads=threads)
        count = max(3, min(20, int(seconds / max(self.seconds(run), 1e-6))))
        activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
        runs = []
        for _ in range(count):
            with torch.profiler.profile(activities=activities) as profiler:
                run()
            runs.append(_events(profiler))
        return median_by_node(runs)


def _events(profiler: Any) -> list[tuple[str, str, float]]:
    kernels = [e for e in profiler.events() if e.device_type.name == "CUDA"]
    return [(f"{i}:{e.name}", e.name, e.device_time_total / 1e3) for i, e in enumerate(kernels)]


def _on_gpu(inputs: Inputs) -> Inputs:
    if isinstance(inputs, Mapping):
        return {name: tensor.cuda() for name, tensor in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(next(tensors_in(t)).cuda() for t in inputs)
    return inputs.cuda()


def _require_gpu() -> None:
    if not torch.cuda.is_available():
        raise MissingExtraError(
            describe(
                f"PyTorch {torch.__version__} sees no NVIDIA GPU",
                expected="torch.cuda.is_available()",
                remedy="Install a CUDA build of PyTorch on a machine with a GPU, or choose another runtime.",
            )
        )
