"""Whether an exported file computes what the PyTorch network computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..evaluators.hardware.onnxruntime_session import open_session
from ..evaluators.named_tensors import named_outputs
from ..evaluators.onnx_export import feed_of_file
from ..evaluators.task import Inputs
from ..spaces.inputs import call, random_like
from .pt2_archive import read_pt2
from .pt2_program import Pt2Program

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest absolute output of the PyTorch network."""

Forward = Callable[[Inputs], list[np.ndarray]]


@dataclass(frozen=True)
class Parity:
    """How far two networks are apart on the same inputs."""

    max_abs_difference: float
    relative: float
    """The largest absolute difference, divided by the largest absolute output over all inputs."""
    random_inputs: int
    real_inputs: int

    @property
    def passed(self) -> bool:
        """Whether the difference is within :data:`TOLERANCE`; NaN is not."""
        return self.relative <= TOLERANCE

    def to_dict(self) -> dict[str, float]:
        """Return the plain data that ``manifest.json`` stores."""
        return asdict(self)


def parity(
    model: nn.Module, forward: Forward, *, random_inputs: Sequence[Inputs], real_inputs: Sequence[Inputs]
) -> Parity:
    """Compare ``forward`` with ``model``.

    Args:
        model: the PyTorch network, in eval mode.
        forward: computes the exported network's outputs for one input.
        random_inputs: drawn inputs, a batch of 1 each.
        real_inputs: samples of the validation set, a batch of 1 each, and such of other sizes.
    """
    expected_forward = torch_forward(model)
    worst, scale = 0.0, 0.0
    for inputs in (*random_inputs, *real_inputs):
        expected, found = expected_forward(inputs), forward(inputs)
        if [e.shape for e in expected] != [f.shape for f in found]:
            return Parity(float("inf"), float("inf"), len(random_inputs), len(real_inputs))
        for e, f in zip(expected, found, strict=True):
            # A NaN on either side must not pass, and max() would drop it.
            difference = np.abs(e - f).max(initial=0.0)
            worst = difference if np.isnan(difference) else max(worst, float(difference))
            scale = max(scale, float(np.abs(e).max(initial=0.0)))
    worst = float(worst)
    return Parity(worst, worst / (scale or 1.0), len(random_inputs), len(real_inputs))


def torch_forward(model: nn.Module) -> Forward:
    """Return the forward pass of a PyTorch network as lists of arrays."""

    def forward(inputs: Inputs) -> list[np.ndarray]:
        with torch.no_grad():
            return _arrays(call(model, inputs))

    return forward


def onnx_forward(onnx_file: Path) -> Forward:
    """Return the forward pass of an ONNX file in ONNX Runtime on the CPU, set up as latencies are measured."""
    session = open_session(onnx_file.read_bytes(), threads=1)
    names = [i.name for i in session.get_inputs()]

    def forward(inputs: Inputs) -> list[np.ndarray]:
        return [np.asarray(output, dtype=np.float64) for output in session.run(None, feed_of_file(names, inputs))]

    return forward


def pt2_forward(pt2_file: Path, *, trust: bool = False) -> Forward:
    """Return the forward pass of a file written by ``torch.export.save``.

    Args:
        pt2_file: the file.
        trust: let PyTorch load it, which executes what the file says; else its operators are computed one by one.

    Raises:
        UnsafeFileError: reading it would execute it.
        NotComputedError: it uses an operator that is not computed here.
    """
    if trust:
        return torch_forward(torch.export.load(str(pt2_file)).module())
    program = Pt2Program(read_pt2(pt2_file))
    return lambda inputs: _arrays(program(inputs))


def random_inputs(example_input: Inputs, count: int, *, seed: int = 0) -> list[Any]:
    """Draw ``count`` inputs like ``example_input``: normal numbers; integers (token ids) stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    return [random_like(example_input, generator, batch=1) for _ in range(count)]


def _arrays(outputs: Any) -> list[np.ndarray]:
    return [tensor.detach().to(torch.float64).numpy() for tensor in named_outputs(outputs).values()]
