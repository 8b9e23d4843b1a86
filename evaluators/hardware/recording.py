"""One forward pass of a network, recorded as operations on numbered values.

Views (reshape, transpose, slice, flatten) cost nothing and name the value that they look at. What depends on weights
alone is a constant, as an exporter folds it, and is no operation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import EvaluationError, describe
from ...spaces.inputs import call
from ..task.task import Inputs
from .operations import BATCH_NORMS, Work, describe_work


@dataclass(frozen=True)
class Value:
    """An activation: what one operation writes and others read."""

    elements: int
    itemsize: int | None
    """Bytes of one element; ``None`` is a floating-point value, whose width the precision decides."""

    def size(self, element_bytes: int) -> int:
        """Return its bytes where floating-point elements take ``element_bytes``."""
        return self.elements * (element_bytes if self.itemsize is None else self.itemsize)


@dataclass(frozen=True)
class Operation:
    """One operator of a forward pass."""

    name: str
    """The ATen operator, such as ``convolution``."""
    layer: str
    """Qualified name of the module that ran it; empty for the network itself."""
    work: Work
    inputs: tuple[int, ...]
    """Numbers of the values read."""
    input_elements: tuple[int, ...]
    """How much of each is read: a slice reads a part."""
    outputs: tuple[int, ...]
    output_shape: tuple[int, ...]
    weight_elements: int
    folds: bool = False
    """Whether it is a BatchNorm with fixed statistics, or a bias: something a convolution before it can absorb."""


@dataclass
class Recording:
    """Operations in execution order, and the values between them."""

    values: list[Value] = field(default_factory=list)
    operations: list[Operation] = field(default_factory=list)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()


def tensors_in(tree: Any) -> Iterator[torch.Tensor]:
    """Yield every tensor of nested tuples, lists, dicts and output objects, in order."""
    if isinstance(tree, torch.Tensor):
        yield tree
    elif isinstance(tree, Mapping):
        for item in tree.values():
            yield from tensors_in(item)
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors_in(item)


def record(model: nn.Module, example_input: Inputs) -> Recording:
    """Run ``model`` once, in eval mode without gradients, and return what it did. The model is left as it was.

    Raises:
        EvaluationError: the network does not run on ``example_input``.
    """
    recorder = _Recorder(example_input)
    try:
        with evaluating(model), torch.no_grad(), recorder.naming(model), recorder:
            output = call(model, example_input)
    except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AttributeError) as error:
        raise EvaluationError(
            describe(
                f"the network fails on its example input: {error}",
                expected="a forward pass that runs",
                remedy="Check the network and the example input.",
            )
        ) from error
    return recorder.finish(output)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into eval mode and restore each module's own mode afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _value(tensor: torch.Tensor) -> Value:
    itemsize = None if tensor.is_floating_point() else tensor.element_size()
    stored = tensor.untyped_storage().nbytes() // tensor.element_size()
    return Value(min(tensor.numel(), stored) if stored else tensor.numel(), itemsize)


class _Recorder(TorchDispatchMode):
    """Numbers values by the storage that holds them: a view shares it, an in-place operator renews it."""

    def __init__(self, example_input: Inputs) -> None:
        super().__init__()
        self._recording = Recording()
        self._numbers: dict[int, int] = {}
        self._scopes: list[str] = [""]
        self._recording.inputs = tuple(self._new_value(t) for t in tensors_in(example_input))

    def finish(self, output: Any) -> Recording:
        found = (self._numbers.get(_storage(t)) for t in _output_tensors(output))
        self._recording.outputs = tuple(dict.fromkeys(n for n in found if n is not None))
        return self._recording

    @contextmanager
    def naming(self, model: nn.Module) -> Iterator[None]:
        """Follow which module is running, through hooks that are gone afterwards."""
        handles = []
        for name, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(lambda _m, _a, name=name: self._scopes.append(name)))
            handles.append(module.register_forward_hook(lambda _m, _a, _o: self._leave(), always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self) -> None:
        self._scopes.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        self._note(func, args, kwargs, output)
        return output

    def _note(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        read = list(tensors_in((args, kwargs)))
        written = [t for t in tensors_in(output) if t.numel()]
        mutates = func._schema.is_mutable
        storages = {_storage(t) for t in read}
        if "lift_fresh" in func._schema.name:  # a new constant, perhaps at the address of an activation freed before
            for tensor in tensors_in(output):  # an empty one, too: caches of keys and values begin as such
                self._numbers.pop(_storage(tensor), None)
        if not written or (not mutates and all(_storage(t) in storages for t in written)):
            return
        active = [t for t in read if _storage(t) in self._numbers]
        if not active:
            for tensor in written:
                self._numbers.pop(_storage(tensor), None)
            return
        self._append(func, args, read, active, written, output)

    def _append(self, func: Any, args: Any, read: Any, active: Any, written: Any, output: Any) -> None:
        name = func._schema.name.split("::")[-1].rstrip("_")
        activations = _unique(active)
        weights = _unique([t for t in read if _storage(t) not in self._numbers])
        work = describe_work(name, args, output)
        if work.kind == "matmul" and weights:
            work = replace(work, kind="linear")
        operation = Operation(
            name=name,
            layer=self._scopes[-1],
            work=work,
            inputs=tuple(self._numbers[_storage(t)] for t in activations),
            input_elements=tuple(_value(t).elements for t in activations),
            outputs=tuple(self._new_value(t) for t in written),
            output_shape=tuple(written[0].shape),
            weight_elements=_weights_read(work, weights, written[0]),
            folds=name in BATCH_NORMS and not (len(args) > 5 and args[5] is True),
        )
        self._recording.operations.append(operation)

    def _new_value(self, tensor: torch.Tensor) -> int:
        self._recording.values.append(_value(tensor))
        number = len(self._recording.values) - 1
        self._numbers[_storage(tensor)] = number
        return number


def _weights_read(work: Work, weights: list[torch.Tensor], output: torch.Tensor) -> int:
    """Return how many weights are read; an embedding reads the rows that it returns, not its table."""
    return output.numel() if work.kind == "embedding" else sum(t.numel() for t in weights)


def _unique(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return one tensor per storage, the largest view of it, in order."""
    best: dict[int, torch.Tensor] = {}
    for tensor in tensors:
        key = _storage(tensor)
        if key not in best or tensor.numel() > best[key].numel():
            best[key] = tensor
    return list(best.values())


def _output_tensors(output: Any) -> Iterator[torch.Tensor]:
    if hasattr(output, "__dict__") and not isinstance(output, (torch.Tensor, Mapping, tuple, list)):
        yield from tensors_in(dict(vars(output)))
    else:
        yield from tensors_in(output)
