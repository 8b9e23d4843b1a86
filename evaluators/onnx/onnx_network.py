"""An ONNX file as a network: what is scored where the file itself, and no PyTorch network, is what will run."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ...spaces.inputs import Inputs, call
from ..counting import element_bytes
from ..hardware.onnxruntime_session import open_session
from ..hardware.recording import evaluating
from ..task.task import Task
from .int8_products import can_saturate
from .named_tensors import named_outputs
from .onnx_export import feed_of_file
from .quantisation import quantise
from .quantisation_scheme import DEFAULT_SCHEME, QuantisationScheme


class OnnxNetwork(nn.Module):
    """Computes what an ONNX file computes in ONNX Runtime, sample by sample where the file takes a batch of 1.

    Sums of int8 products are those of the processors that the file is right on, whatever this one would make of them.

    Args:
        onnx: the exported file.
        like: the PyTorch network that it was exported from; its outputs' structure is given back.
        example_input: a batch of 1.
        threads: of the runtime.
        exact_products: whether int8 products are to be summed right where this processor would not; as told from the
            file unless given.
    """

    def __init__(
        self,
        onnx: bytes,
        *,
        like: nn.Module,
        example_input: Inputs,
        threads: int = 1,
        exact_products: bool | None = None,
    ) -> None:
        super().__init__()
        exact = can_saturate(onnx) if exact_products is None else exact_products
        self._session = open_session(onnx, threads=threads, exact_products=exact)
        self._inputs = [i.name for i in self._session.get_inputs()]
        self._any_batch = all(not i.shape or isinstance(i.shape[0], str) for i in self._session.get_inputs())
        self._names = [o.name for o in self._session.get_outputs()]
        with evaluating(like), torch.no_grad():
            self._structure = call(like, example_input)
        self._one_tensor = isinstance(example_input, torch.Tensor)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the outputs for inputs of any batch size."""
        inputs: Any = args[0] if self._one_tensor else kwargs or args
        feed = {n: np.ascontiguousarray(array) for n, array in feed_of_file(self._inputs, inputs).items()}
        joined = map(torch.from_numpy, self._run(feed)) if self._any_batch else self._by_row(feed)
        held = named_outputs(self._structure).values()
        found: dict[int, Any] = {id(t): part for t, part in zip(held, joined, strict=False)}
        # A copy in which each tensor is another one, whatever object holds it.
        return copy.deepcopy(self._structure, found)

    def _by_row(self, feed: dict[str, np.ndarray]) -> Iterator[torch.Tensor]:
        count = max(len(array) for array in feed.values() if array.ndim)
        rows = [self._run({n: _row(array, r, count) for n, array in feed.items()}) for r in range(count)]
        return (_joined(parts) for parts in zip(*rows, strict=True))

    def _run(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return [np.asarray(output) for output in self._session.run(self._names, feed)]


def _row(array: np.ndarray, row: int, count: int) -> np.ndarray:
    return array[row : row + 1] if array.ndim and len(array) == count else array


def _joined(parts: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(parts) if np.ndim(parts[0]) else np.stack(parts))


@dataclass(frozen=True)
class Deployed:
    """A network as it runs at a precision."""

    model: nn.Module
    """The PyTorch network, at fp32."""
    network: nn.Module
    """What is scored: the PyTorch network at fp32, the int8 file in ONNX Runtime at int8."""
    onnx: bytes | None
    """The int8 file; ``None`` at fp32."""


def deploy(
    model: nn.Module, task: Task, precision: str, *, threads: int = 1, scheme: QuantisationScheme = DEFAULT_SCHEME
) -> Deployed:
    """Return ``model`` as it runs at ``precision``; at int8 it is quantised here, by ``scheme``.

    Raises:
        EvaluationError: the network cannot be exported or quantised.
        UnknownNameError: no such precision.
    """
    if element_bytes(precision) == 4:
        return Deployed(model, model, None)
    return deployed_file(model, task, quantise(model, task, threads=threads, scheme=scheme), threads=threads)


def deployed_file(model: nn.Module, task: Task, onnx: bytes, *, threads: int = 1) -> Deployed:
    """Return ``model`` as the int8 file ``onnx`` computes it."""
    network = OnnxNetwork(onnx, like=model, example_input=task.example_input, threads=threads)
    return Deployed(model, network, onnx)
