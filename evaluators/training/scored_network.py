"""What a candidate's accuracy is taken of: the file that will run, where scoring that is faster or all there is.

ONNX Runtime scores small networks in less time than PyTorch: 0.72 against 1.13 ms a sample on a ResNet-20, 0.22 against
0.36 on a ResNet-8, 0.53 against 0.73 on a plain CNN and 0.97 against 1.10 on a small ViT (one core of a Xeon with AMX,
the other one busy), with the same accuracies. The file is made anyway where it is timed.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ...errors import EvaluationError, describe
from ...spaces.graph.output_shapes import OutputShapes
from ...spaces.graph.outputs import output_tensors
from ...spaces.inputs import call, channels_last, tensors_of
from ..counting import count_macs, element_bytes
from ..onnx.onnx_export import export_onnx
from ..onnx.onnx_network import Deployed, deploy, deployed_file
from ..onnx.quantisation_scheme import DEFAULT_SCHEME, QuantisationScheme
from ..task.data import TensorBatches, as_network_input, batches
from ..task.task import Task

LEAST_MACS = 1e10
"""Scoring with fewer multiply-accumulates in all takes less time than a session of the runtime takes to open."""
TOLERANCE = 1e-3
"""By how much the file's outputs may differ, as a share of the largest output, or of 1 where all are smaller."""
_COMPARED = 8
"""Validation samples on which they are compared, for each network."""


@dataclass
class ScoredNetworks:
    """Makes what is scored of networks of one task.

    Args:
        task: whose data they are scored on.
        threads: of the runtime.
        scheme: of int8 files.
    """

    task: Task
    threads: int = 1
    scheme: QuantisationScheme = DEFAULT_SCHEME
    _pays: bool | None = field(default=None, init=False, repr=False)

    def of(self, model: nn.Module, precision: str) -> Deployed:
        """Return ``model`` as it is scored: at int8 as its file, at fp32 as its file where that pays.

        Raises:
            EvaluationError: it cannot be quantised.
        """
        if element_bytes(precision) == 4 and self._by_file(model):
            try:
                return self._as_file(model)
            except EvaluationError as error:
                self._pays = False  # what fails for one network will fail for a smaller one too
                warnings.warn(
                    f"scores are taken in PyTorch, which takes longer: {error} Nothing else changes.", stacklevel=2
                )
        return deploy(model, self.task, precision, threads=self.threads, scheme=self.scheme)

    def _as_file(self, model: nn.Module) -> Deployed:
        found = deployed_file(model, self.task, export_onnx(model, self.task.example_input), threads=self.threads)
        walk = batches(self.task.validation, name="validation", task=self.task).walk(_COMPARED, limit=_COMPARED)
        inputs = next(walk)[0]
        inputs = channels_last(as_network_input(inputs, self.task.example_input))
        with torch.no_grad():
            wanted = call(model, inputs)
            try:
                given = call(found.network, inputs)
            except Exception as error:  # the runtime's own exceptions share no base but Exception
                raise EvaluationError(f"ONNX Runtime fails on validation data: {error}") from error
        if not _agree(wanted, given):
            remedy = "Look for values in its forward pass that depend on the input."
            expected = f"the network's own to {TOLERANCE}"
            raise EvaluationError(describe("the exported file has other outputs", expected=expected, remedy=remedy))
        return found

    def _by_file(self, model: nn.Module) -> bool:
        if self._pays is None:
            self._pays = self.task.evaluate is None and self._has_fixed_shapes() and self._is_long(model)
        return self._pays

    def _has_fixed_shapes(self) -> bool:
        """Return whether all samples are shaped like the example, as a file takes no others."""
        wanted = [tensor.shape[1:] for tensor in tensors_of(self.task.example_input)]
        for name in ("train", "validation"):
            data = batches(getattr(self.task, name), name=name, task=self.task)
            if not isinstance(data, TensorBatches):
                return False
            if [tensor.shape[1:] for tensor in tensors_of(data.inputs)] != wanted:
                return False
        return True

    def _is_long(self, model: nn.Module) -> bool:
        samples = batches(self.task.validation, name="validation", task=self.task).samples
        with torch.no_grad():
            return samples * count_macs(model, self.task.example_input) >= LEAST_MACS


def _agree(wanted: Any, given: Any) -> bool:
    """Return whether outputs are of one form and near to one another; those without a number agree in nothing."""
    one, other = output_tensors(wanted), output_tensors(given)
    if OutputShapes.of(wanted).objection(given) is not None or not any(t.numel() for t in one):
        return False
    return not any(_distance(a, b) > TOLERANCE for a, b in zip(one, other, strict=True) if a.numel())


def _distance(wanted: torch.Tensor, given: torch.Tensor) -> float:
    scale = max(1.0, float(wanted.double().abs().max()))
    return float((wanted.double() - given.double()).abs().max()) / scale
