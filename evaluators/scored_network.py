"""What a candidate's accuracy is taken of: the file that will run, where scoring that is faster or all there is.

ONNX Runtime scores small networks in less time than PyTorch: 0.72 against 1.13 ms a sample on a ResNet-20, 0.22 against
0.36 on a ResNet-8, 0.53 against 0.73 on a plain CNN and 0.97 against 1.10 on a small ViT (one core of a Xeon with AMX,
the other one busy), with the same accuracies. The file is made anyway where it is timed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from ..errors import EvaluationError
from ..spaces.inputs import tensors_of
from .counting import count_macs, element_bytes
from .data import TensorBatches, batches
from .onnx_export import export_onnx
from .onnx_network import Deployed, deploy, deployed_file
from .task import Task

LEAST_MACS = 1e10
"""Scoring with fewer multiply-accumulates in all takes less time than a session of the runtime takes to open."""


@dataclass
class ScoredNetworks:
    """Makes what is scored of networks of one task.

    Args:
        task: whose data they are scored on.
        threads: of the runtime.
    """

    task: Task
    threads: int = 1
    _pays: bool | None = field(default=None, init=False, repr=False)

    def of(self, model: nn.Module, precision: str) -> Deployed:
        """Return ``model`` as it is scored: at int8 as its file, at fp32 as its file where that pays.

        Raises:
            EvaluationError: it cannot be quantised.
        """
        if element_bytes(precision) == 4 and self._by_file(model):
            try:
                onnx = export_onnx(model, self.task.example_input)
                return deployed_file(model, self.task, onnx, threads=self.threads)
            except EvaluationError:
                self._pays = False  # what the exporter does not know it will not know of a smaller network either
        return deploy(model, self.task, precision, threads=self.threads)

    def _by_file(self, model: nn.Module) -> bool:
        if self._pays is None:
            self._pays = self.task.evaluate is None and self._has_fixed_shapes() and self._is_long(model)
        return self._pays

    def _has_fixed_shapes(self) -> bool:
        """Return whether all samples are shaped like the example, as a file takes no others."""
        wanted = [tensor.shape[1:] for tensor in tensors_of(self.task.example_input)]
        for name in ("train", "validation"):
            data = batches(getattr(self.task, name), name=name)
            if not isinstance(data, TensorBatches):
                return False
            if [tensor.shape[1:] for tensor in tensors_of(data.inputs)] != wanted:
                return False
        return True

    def _is_long(self, model: nn.Module) -> bool:
        samples = batches(self.task.validation, name="validation").samples
        with torch.no_grad():
            return samples * count_macs(model, self.task.example_input) >= LEAST_MACS
