"""Inputs on which an exported network is compared with PyTorch: several batch sizes, and other sizes of what varies."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ...spaces.inputs import Inputs, call, random_like
from ..hardware.recording import evaluating
from ..task.dynamic_axes import BATCH, DynamicAxes, shapes_in_words
from .named_tensors import named_inputs, named_outputs, with_tensors

BATCHES = (1, 2, 3, 8)
FEW_BATCHES = (1, 3)
_SIZES = 3
"""Other sizes than the example's that are tried of what varies besides the batch."""
_SHARES = (0.5, 0.75, 0.9)
"""To what an input is cut where the data show one size only."""


@dataclass(frozen=True)
class Probe:
    """One input, and what PyTorch computes of it."""

    sizes: Mapping[str, int]
    """How large each dimension is that may vary."""
    expected: Mapping[str, np.ndarray]
    given: Inputs
    """The input in the network's own form."""

    @property
    def words(self) -> str:
        """Its shape, for messages."""
        return shapes_in_words(self.sizes)


def traced_input(model: nn.Module, example_input: Inputs, axes: DynamicAxes) -> Inputs:
    """Return the example, with a batch of 2 where the batch varies: exporters take a size of 1 for a constant."""
    if BATCH not in axes.dimensions:
        return example_input
    return _resized(model, example_input, axes, {BATCH: 2})


def probes(
    model: nn.Module,
    example_input: Inputs,
    axes: DynamicAxes,
    samples: Sequence[Any],
    *,
    batches: Sequence[int] = BATCHES,
) -> tuple[Probe, ...]:
    """Return inputs of the example's size at each batch size, then such of other sizes, real ones where there are.

    Args:
        model: the network, which is run on each.
        example_input: a batch of 1.
        axes: that may vary.
        samples: inputs from the data, in batches.
        batches: batch sizes.
    """
    example = named_inputs(model, example_input)
    home = {name: size for name, size in axes.sizes(example).items() if name != BATCH}
    rows: dict[tuple[int, ...], Inputs] = {}
    for inputs in samples:
        found = named_inputs(model, inputs)
        if _fits(found, example, axes):
            rows.setdefault(tuple(axes.sizes(found).get(name, 0) for name in home), inputs)
    own = rows.pop(tuple(home.values()), None)
    drawn = random_like(example_input, torch.Generator().manual_seed(0), batch=1)
    made = [
        probe_of(model, _resized(model, own if own is not None else drawn, axes, {BATCH: size}), axes)
        for size in batches
    ]
    others = itertools.islice(rows.values(), _SIZES)
    pairs = [(inputs, {BATCH: size}) for inputs in others for size in batches[1:][:2]]
    pairs += _cuts(
        drawn if own is None else own, home, {name for p in pairs for name in _varied(model, p[0], axes, home)}
    )
    made += [probe_of(model, _resized(model, inputs, axes, sizes), axes) for inputs, sizes in pairs]
    return tuple(probe for probe in made if probe is not None)


def _varied(model: nn.Module, inputs: Inputs, axes: DynamicAxes, home: Mapping[str, int]) -> set[str]:
    return {name for name, size in axes.sizes(named_inputs(model, inputs)).items() if home.get(name, size) != size}


def _cuts(inputs: Inputs, home: Mapping[str, int], seen: set[str]) -> list[tuple[Inputs, dict[str, int]]]:
    """Return inputs cut along each dimension that is declared, and of which the data show one size only."""
    sizes = {name: {max(2, int(share * home[name])) for share in _SHARES} - {home[name]} for name in home.keys() - seen}
    return [(inputs, {BATCH: 2, name: size}) for name in sorted(sizes) for size in sorted(sizes[name], reverse=True)]


def _fits(found: Mapping[str, torch.Tensor], example: Mapping[str, torch.Tensor], axes: DynamicAxes) -> bool:
    """Return whether inputs differ from the example only along what may vary."""
    if found.keys() != example.keys():
        return False
    return all(
        t.dim() == example[n].dim()
        and all(a in axes.names.get(n, {}) or size == example[n].shape[a] for a, size in enumerate(t.shape))
        for n, t in found.items()
    )


def _resized(model: nn.Module, inputs: Inputs, axes: DynamicAxes, sizes: Mapping[str, int]) -> Inputs:
    """Return inputs of other sizes: repeated along the batch, cut along the others."""

    def tensors() -> Iterator[torch.Tensor]:
        for name, tensor in named_inputs(model, inputs).items():
            resized = tensor
            for axis, dimension in axes.names.get(name, {}).items():
                if dimension in sizes:
                    rows = torch.arange(sizes[dimension]) % tensor.shape[axis]
                    resized = resized.index_select(axis, rows)
            yield resized

    return with_tensors(inputs, tensors())


def probe_of(model: nn.Module, inputs: Inputs, axes: DynamicAxes) -> Probe | None:
    """Return the probe; ``None`` where PyTorch itself does not run at that size."""
    given = named_inputs(model, inputs)
    try:
        with evaluating(model), torch.no_grad():
            expected = named_outputs(call(model, inputs))
    except (RuntimeError, ValueError, IndexError, AssertionError, TypeError):
        return None
    return Probe(axes.sizes(given), _arrays(expected), inputs)


def _arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(tensor.detach().cpu().numpy()) for name, tensor in tensors.items()}


def single_rows(model: nn.Module, example_input: Inputs, samples: Sequence[Inputs], count: int) -> list[Inputs]:
    """Return up to ``count`` samples of the example's size, each as a batch of 1."""
    shapes = [tuple(t.shape[1:]) for t in named_inputs(model, example_input).values()]
    rows: list[Inputs] = []
    for inputs in samples:
        tensors = list(named_inputs(model, inputs).values())
        if [tuple(t.shape[1:]) for t in tensors] != shapes:
            continue
        for row in range(max((len(t) for t in tensors if t.dim()), default=0)):
            rows.append(with_tensors(inputs, (t[row : row + 1] if t.dim() else t for t in tensors)))
    return rows[:count]
