"""Which parameters a network uses at all, and which of them some group can remove."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..inputs import Inputs, call, tensors_of
from .copying import copied
from .groups import Graph, layer_of
from .random_numbers import seeded
from .slicing import named_tensors


def unused_layers(model: nn.Module, *example_inputs: Inputs) -> tuple[str, ...]:
    """Return the layers whose parameters no forward pass in eval mode touches.

    Of a layer that uses some of its parameters, the names of the others.
    """
    network = copied(model).eval()
    watch = _Watch()
    _mark_built_in_layers(network, watch.seen)
    for example_input in example_inputs:
        with seeded(), torch.no_grad(), watch:
            call(network, example_input)
    parameters = dict(network.named_parameters(remove_duplicate=False))
    unused = [name for name, parameter in parameters.items() if id(parameter) not in watch.seen]
    used_layers = {layer_of(name) for name, parameter in parameters.items() if id(parameter) in watch.seen}
    return tuple(dict.fromkeys(n if layer_of(n) in used_layers else layer_of(n) or n for n in unused))


def removable_params(model: nn.Module, graph: Graph) -> int:
    """Return how many single parameters lie in a channel of some group, shared ones once; no policy reaches the others.

    All of them can never go together, as each group keeps some channels.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    covered: dict[int, dict[int, set[int]]] = {}
    for piece in (piece for group in graph for piece in group.slices if piece.tensor in parameters):
        dims = covered.setdefault(id(parameters[piece.tensor]), {})
        dims.setdefault(piece.dim, set()).update(i for positions in piece.positions for i in positions)
    return sum(p.numel() - _outside(p, covered.get(id(p), {})) for p in model.parameters())


def params_of(model: nn.Module, layers: tuple[str, ...]) -> int:
    """Return how many single parameters the named layers hold directly, or the named parameters are."""
    tensors = named_tensors(model)
    found = {id(t): t for name, t in tensors.items() if name in layers or layer_of(name) in layers}
    return sum(t.numel() for t in found.values() if isinstance(t, nn.Parameter))


class _Watch(TorchFunctionMode):
    """Notes every tensor that is handed to a function of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.update(id(t) for t in tensors_of((args, kwargs or {})))
        return func(*args, **(kwargs or {}))


def _mark_built_in_layers(model: nn.Module, seen: set[int]) -> None:
    """Note all parameters of PyTorch's own layers that run: recurrent ones hand theirs over unseen."""

    def hook(module: nn.Module, _inputs: Any) -> None:
        seen.update(id(p) for p in module.parameters())

    for module in _built_in(model):
        module.register_forward_pre_hook(hook)


def _built_in(model: nn.Module) -> Iterator[nn.Module]:
    for module in model.modules():
        home = type(module).__module__
        if home.startswith("torch.nn.modules") and not home.endswith(".container"):
            yield module


def _outside(parameter: nn.Parameter, covered: dict[int, set[int]]) -> int:
    """Return how many elements lie outside the covered positions of every dimension."""
    left = 1
    for dim, size in enumerate(parameter.shape):
        left *= size - len(covered.get(dim, ()))
    return left
