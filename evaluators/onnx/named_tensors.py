"""What a network's inputs and outputs are called: by the arguments of its forward pass, and by the keys it returns."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from ...spaces.graph.outputs import found_in
from ...spaces.inputs import Inputs, call

Named = list[tuple[str, Any]]


def named_inputs(model: nn.Module | None, inputs: Inputs) -> dict[str, torch.Tensor]:
    """Return the tensors that a network is called with, by name, in order.

    A tensor is named after the argument of ``forward`` that takes it, one inside a tuple or a dict after that and its
    place or key: ``state_0``. What is no tensor (``None``, a flag) has no name. A dict needs no network for that.
    """
    return _unique(leaf for name, value in _arguments(model, inputs) for leaf in _leaves(name, value))


def named_outputs(outputs: Any) -> dict[str, torch.Tensor]:
    """Return the tensors that a network returned, by name, in order.

    The names are the keys of a dict or the fields of an object, else ``output``, or ``output_0``, ``output_1``, ...
    """
    found = found_in(outputs).tensors
    if all(not place or place.partition(".")[0].isdigit() for place, _ in found):
        return {"output" if len(found) == 1 else f"output_{i}": tensor for i, (_, tensor) in enumerate(found)}
    return _unique((place.replace(".", "_"), tensor) for place, tensor in found)


class FlatNetwork(nn.Module):
    """A network that takes and returns nothing but tensors, as exporters want it.

    Args:
        network: what computes.
        example_input: whose structure, flags and absent arguments it is called with.
    """

    def __init__(self, network: nn.Module, example_input: Inputs) -> None:
        super().__init__()
        self.network = network
        self.training = network.training
        self._example = example_input

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs in the order of :func:`named_outputs` for inputs in that of :func:`named_inputs`."""
        inputs = with_tensors(self._example, iter(tensors))
        return tuple(named_outputs(call(self.network, inputs)).values())


def with_tensors(inputs: Any, tensors: Iterator[torch.Tensor]) -> Any:
    """Return a structure of inputs with its tensors replaced, in order."""
    if isinstance(inputs, torch.Tensor):
        return next(tensors)
    if isinstance(inputs, Mapping):
        return {key: with_tensors(value, tensors) for key, value in inputs.items()}
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):
        return type(inputs)(*(with_tensors(value, tensors) for value in inputs))
    if isinstance(inputs, tuple | list):
        return type(inputs)(with_tensors(value, tensors) for value in inputs)
    return inputs


def _arguments(model: nn.Module | None, inputs: Inputs) -> Named:
    if isinstance(inputs, Mapping):
        return [(str(name), value) for name, value in inputs.items()]
    values = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    names = _parameters(model)
    if len(names) < len(values):  # *args, or a forward pass that cannot be looked at
        names += ["input"] if len(values) == 1 else [f"input_{i}" for i in range(len(names), len(values))]
    return list(zip(names, values, strict=False))


def _parameters(model: nn.Module | None) -> list[str]:
    """Return the names of the positional arguments of a network's forward pass."""
    if model is None or isinstance(model, nn.Sequential):  # PyTorch's own word for it, "input", is as good as any
        return ["input"]
    try:
        found = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _leaves(name: str, value: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, value
        return
    fields = _fields(value)
    if fields is None:
        fields = [(str(i), item) for i, item in enumerate(value)] if isinstance(value, tuple | list) else []
    for key, item in fields:
        yield from _leaves(f"{name}_{key}", item)


def _fields(value: Any) -> Named | None:
    """Return what a value holds by name; ``None`` for a tensor, a sequence or something without names."""
    if isinstance(value, torch.Tensor | nn.Module | type):
        return None
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(value, tuple | list):
        return None
    if dataclasses.is_dataclass(value):
        return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return list(vars(value).items()) if hasattr(value, "__dict__") else None


def _unique(found: Iterable[tuple[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    named: dict[str, torch.Tensor] = {}
    for name, tensor in found:
        free, count = name, 2
        while free in named:
            free, count = f"{name}_{count}", count + 1
        named[free] = tensor
    return named
