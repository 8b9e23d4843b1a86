"""Running a network once with a label beside every element, to see which channels meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from ..copying import copied
from ..freeze_reasons import FreezeCode
from ..inputs import Inputs, call, tensors_of
from ..slicing import named_tensors
from .atoms import FIXED
from .places import keep_places, keep_read, keep_told, with_noise
from .rules import rule_for
from .state import Tracker
from .values import Value


def track(model: nn.Module, inputs: Inputs) -> Tracker:
    """Run ``model``, in eval mode, on ``inputs`` and return what was united.

    The network runs twice: what the first run unites helps the second to tell scalars from channels.
    """
    tracker = Tracker()
    for tracker.last in (False, True):
        tracker.values.clear()
        tracker.boxes.clear()
        tracker.splits.clear()
        tracker.padding.clear()
        tracker.indices.clear()
        # What the first run leaves behind (LeViT keeps attention biases) would come from nowhere in the second.
        _run(tracker, model if tracker.last else copied(model), inputs)
        tracker.settle_boxes()
        tracker.kept.clear()
    tracker.values.clear()
    return tracker


def _run(tracker: Tracker, model: nn.Module, inputs: Inputs) -> None:
    for name, tensor in named_tensors(model).items():
        tracker.values.setdefault(id(tensor), Value.parameter(name, tensor))
    for tensor in tensors_of(inputs):
        tracker.set(tensor, Value.uniform(tensor.shape, FIXED))
    with torch.no_grad(), _plain_attention(), _Reading(tracker), _LabelMode(tracker):
        outputs = call(model, inputs)
    for tensor in tensors_of(outputs):
        for labels in tracker.value(tensor).layers:
            tracker.atoms.fix(labels.unique().tolist(), FreezeCode.OUTPUT.because())
        keep_told(tracker, [tensor])


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Let attention run as the matrix products it consists of."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


class _Reading(TorchFunctionMode):
    """Sees where values of tensors become Python's, which the dispatcher does not."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self.tracker = tracker

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.__array__):
            with _disable_current_modes():
                keep_read(self.tracker, args[0], func.__name__)
        return func(*args, **(kwargs or {}))


class _LabelMode(TorchDispatchMode):
    """Applies each operation's rule beside the operation."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self.tracker = tracker

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # A mode is hidden from torch.compile by default, and for that the compiler is imported: three seconds.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        with _disable_current_modes():
            self.tracker.note_read(tensors_of((args, kwargs or {})))
            values = rule_for(func)(self.tracker, func, args, kwargs or {}, out)
            values = with_noise(self.tracker, func, args, kwargs or {}, values)
            keep_places(self.tracker, func, args, kwargs or {}, out, values)
            for tensor, value in zip(tensors_of(out), values, strict=True):
                self.tracker.set(tensor, value)
        return out
