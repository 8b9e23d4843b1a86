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
from ..evaluators.onnx.named_tensors import named_outputs
from ..evaluators.onnx.onnx_export import feed_of_file
from ..evaluators.task.task import Inputs
from ..spaces.graph.random_numbers import seeded
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
    fault: str = ""
    """Why the difference says nothing or is none; empty where numbers were compared."""

    @property
    def passed(self) -> bool:
        """Whether the difference is within :data:`TOLERANCE`; NaN is not, and what compared nothing is not."""
        return self.relative <= TOLERANCE and not self.fault

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
    every = (*random_inputs, *real_inputs)
    counts = (len(random_inputs), len(real_inputs))
    expected_forward = torch_forward(model)
    random = _random_outputs(model, every[0]) if every else []
    worst, scale, values = 0.0, 0.0, _Values()
    for inputs in every:
        expected, found = expected_forward(inputs), forward(inputs)
        if [e.shape for e in expected] != [f.shape for f in found]:
            shapes = f"outputs of shapes {_shapes(found)}, of PyTorch {_shapes(expected)}"
            return Parity(float("inf"), float("inf"), *counts, fault=shapes)
        compared = [(e, f) for e, f, noise in zip(expected, found, random, strict=True) if not noise]
        for e, f in compared:
            # A NaN on either side must not pass, and max() would drop it.
            difference = np.abs(e - f).max(initial=0.0)
            worst = difference if np.isnan(difference) else max(worst, float(difference))
            scale = max(scale, float(np.abs(e).max(initial=0.0)))
        values.note([e for e, _ in compared])
    worst = float(worst)
    return Parity(worst, worst / (scale or 1.0), *counts, fault=values.fault(len(every)))


@dataclass
class _Values:
    """What was compared: whether there was anything, and anything that depends on the inputs."""

    first: list[np.ndarray] | None = None
    count: int = 0
    varied: bool = False

    def note(self, arrays: list[np.ndarray]) -> None:
        """Take in the outputs of one input."""
        self.count += sum(array.size for array in arrays)
        if self.first is None:
            self.first = arrays
        elif not all(a.shape == b.shape and np.array_equal(a, b) for a, b in zip(self.first, arrays, strict=False)):
            self.varied = True

    def fault(self, inputs: int) -> str:
        """Return why this is no comparison; empty where it is one."""
        if not self.count:
            return "no output holds a number that could be compared"
        if inputs > 1 and not self.varied:
            return f"all outputs are the same on {inputs} different inputs, so that nothing was compared"
        return ""


def _shapes(arrays: list[np.ndarray]) -> str:
    return ", ".join(str(array.shape) for array in arrays) or "none"


def _random_outputs(model: nn.Module, inputs: Inputs) -> list[bool]:
    """Return which outputs depend on random numbers, which another program draws otherwise."""
    one, other = (torch_forward(model, seed=seed)(inputs) for seed in (0, 1))
    return [a.shape == b.shape and not np.array_equal(a, b, equal_nan=True) for a, b in zip(one, other, strict=True)]


def torch_forward(model: nn.Module, *, seed: int = 0) -> Forward:
    """Return the forward pass of a PyTorch network as lists of arrays, its random numbers seeded."""

    def forward(inputs: Inputs) -> list[np.ndarray]:
        with seeded(seed), torch.no_grad():
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
