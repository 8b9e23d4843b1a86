"""The last step before network and loss: values of the types and shapes that they take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ....spaces.inputs import map_tensors, tensors_of

Loss = Callable[[Any, Any], Any]


def one_example(example_input: Any) -> Any:
    """Return an example input, the first one where a list of several is given."""
    return example_input[0] if isinstance(example_input, list) and example_input else example_input


def as_network_input(inputs: Any, example_input: Any) -> Any:
    """Return ``inputs`` with the types of the example input, as far as nothing is lost by that.

    Integers become floating where the example is, so that images can be kept as bytes; double precision becomes the
    example's; integers take the example's width. Floating values stay so where the example is an integer.
    """
    example = one_example(example_input)
    if isinstance(inputs, torch.Tensor) and isinstance(example, torch.Tensor):
        return _typed(inputs, example.dtype)
    if isinstance(inputs, Mapping) and isinstance(example, Mapping) and inputs.keys() <= example.keys():
        flags = {key: value for key, value in example.items() if key not in inputs and not tensors_of(value)}
        return flags | {key: as_network_input(value, example[key]) for key, value in inputs.items()}
    if isinstance(inputs, tuple | list) and isinstance(example, tuple) and len(inputs) == len(example):
        return tuple(as_network_input(one, other) for one, other in zip(inputs, example, strict=True))
    wanted = tensors_of(example)
    if wanted and all(t.is_floating_point() for t in wanted):
        return map_tensors(lambda t: _typed(t, wanted[0].dtype), inputs)
    return inputs


def _typed(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    loses = tensor.is_complex() or (tensor.is_floating_point() and not dtype.is_floating_point)
    return tensor if loses else tensor.to(dtype)


def as_targets(targets: Any, loss: Loss) -> Any:
    """Return ``targets`` as losses take them: whole numbers as int64, double precision as float32.

    For cross-entropy class indices of shape ``(samples, 1)`` lose their second axis, and masks of bool become indices.
    """
    return map_tensors(lambda t: _target(t, is_cross_entropy(loss)), targets)


def is_cross_entropy(loss: Loss) -> bool:
    """Return whether targets are class indices, or shares of classes, by the loss that is taken."""
    function = getattr(loss, "func", loss)  # of a functools.partial
    return function is F.cross_entropy or isinstance(function, nn.CrossEntropyLoss)


def _target(tensor: torch.Tensor, classes: bool) -> torch.Tensor:
    if tensor.dtype == torch.float64:
        return tensor.float()
    if tensor.is_floating_point() or tensor.is_complex() or (tensor.dtype == torch.bool and not classes):
        return tensor
    if classes and tensor.dim() == 2 and tensor.shape[1] == 1:
        tensor = tensor.squeeze(1)
    return tensor.long()
