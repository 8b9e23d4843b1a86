"""Running a network once with a label beside every element, to see which channels meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from ...inputs import Inputs, call, separate_attention, tensors_of
from ..copying import copied
from ..freeze_reasons import FreezeCode
from ..output_shapes import OutputShapes
from ..outputs import output_tensors
from ..passes import ForwardPass, is_decision
from ..random_numbers import seeded
from ..slicing import named_tensors
from .atoms import FIXED
from .decisions import Decision, Decisions, Leaving, overwrite
from .footprint import Footprint
from .places import keep_places, keep_told, with_noise
from .rules import rule_for
from .state import Tracker
from .values import Value


@dataclass(frozen=True)
class Seen:
    """What a network did in one pass, beside what its labels united."""

    touched: tuple[tuple[str, tuple[str, ...]], ...]
    """Operations on parameters and buffers, in order, with the names of these."""
    decisions: tuple[Decision, ...]
    """What it decided by that depends on the inputs."""
    unfollowed: bool
    """Whether values left PyTorch in a way in which no other ones can be tried."""
    shapes: OutputShapes

    @property
    def tensors(self) -> frozenset[str]:
        """Names of the parameters and buffers that were touched."""
        return frozenset(name for _, names in self.touched for name in names)


def track(model: nn.Module, inputs: Inputs) -> Tracker:
    """Run ``model``, in eval mode, on ``inputs`` and return what was united.

    The network runs twice: what the first run unites helps the second to tell scalars from channels.
    """
    tracker = Tracker()
    for tracker.last in (False, True):
        # What the first run leaves behind (LeViT keeps attention biases) would come from nowhere in the second.
        follow(tracker, model if tracker.last else copied(model), ForwardPass(inputs))
    return tracker


def follow(tracker: Tracker, model: nn.Module, forward: ForwardPass) -> Seen:
    """Run ``model`` once and unite what meets; nothing that was united before is parted.

    Args:
        tracker: of all passes; its ``last`` says whether doubts are settled.
        model: takes the pass's mode, and changes its state if that is training.
        forward: how it runs.
    """
    tracker.forget_pass()
    model.train(forward.training)
    seen = _run(tracker, model, forward)
    tracker.settle_boxes()
    tracker.kept.clear()
    tracker.values.clear()
    return seen


def _run(tracker: Tracker, model: nn.Module, forward: ForwardPass) -> Seen:
    named = named_tensors(model)
    for name, tensor in named.items():
        tracker.values.setdefault(id(tensor), Value.parameter(name, tensor))
    for tensor in tensors_of(forward.inputs):
        tracker.set(tensor, Value.uniform(tensor.shape, FIXED))
    decisions, footprint = Decisions(tracker), Footprint.of(named)
    mode = _LabelMode(tracker, decisions, footprint, dict(forward.forced))
    with seeded(), torch.no_grad(), plain_attention(), Leaving(decisions), mode:
        outputs = call(model, forward.inputs)
    if tracker.last:
        tracker.fix_decided()
    for tensor in output_tensors(outputs):
        for labels in tracker.value(tensor).layers:
            tracker.atoms.fix(labels.unique().tolist(), FreezeCode.OUTPUT.because())
        keep_told(tracker, [tensor])
    touched, shapes = tuple(footprint.touched), OutputShapes.of(outputs)
    return Seen(touched, tuple(decisions.taken), decisions.unfollowed, shapes)


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let attention run as the matrix products it consists of."""
    with separate_attention(), sdpa_kernel(SDPBackend.MATH):
        yield


class _LabelMode(TorchDispatchMode):
    """Applies each operation's rule beside the operation."""

    def __init__(
        self, tracker: Tracker, decisions: Decisions, footprint: Footprint, forced: Mapping[int, float]
    ) -> None:
        super().__init__()
        self.tracker = tracker
        self.decisions = decisions
        self.footprint = footprint
        self.forced = forced

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # A mode is hidden from torch.compile by default, and for that the compiler is imported: three seconds.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        with _disable_current_modes():
            given = tensors_of((args, kwargs))
            self.tracker.note_read(given)
            self.footprint.note(func, given)
            if is_decision(func):
                out = type(out)(self.forced.get(self.decisions.count, out))
                keep_told(self.tracker, given)
                self.decisions.decide(given, out)
            elif func.overloadpacket.__name__.startswith("_foreach") and out is None:
                self._write_all(args)
            else:
                self._apply(func, args, kwargs, out)
                self.decisions.note(func, args, given, tensors_of(out))
        return out

    def _apply(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        target = args[0] if args and out is args[0] and isinstance(out, torch.Tensor) else None
        own = None if target is None else self.tracker.value(target)
        check = self.decisions.is_check(func, tensors_of(args))
        values = [Value.constant(out.shape)] if check else rule_for(func)(self.tracker, func, args, kwargs, out)
        values = with_noise(self.tracker, func, args, kwargs, values)
        keep_places(self.tracker, func, args, kwargs, out, values)
        for tensor, value in zip(tensors_of(out), values, strict=True):
            self.tracker.set(tensor, value)
        if target is not None and own is not None and own.labels is None and own.sources:
            written = self.tracker.value(target)
            if written.labels is None:
                # A parameter or buffer stays one, and follows what is written into it.
                self.tracker.set(target, own)
                overwrite(self.tracker, target, written)

    def _write_all(self, args: Any) -> None:
        """Write lists of tensors into lists of parameters, as averages of weights are taken."""
        for others in (a for a in args[1:] if isinstance(a, tuple | list)):
            for target, other in zip(args[0], others, strict=False):
                if isinstance(other, torch.Tensor):
                    overwrite(self.tracker, target, self.tracker.value(other))
