"""The fused kernels of a network: what a runtime executes for one forward pass.

Fusion follows what inference runtimes have in common (ONNX Runtime, TensorFlow Lite, X-CUBE-AI):

1. a BatchNorm with fixed statistics folds into the convolution or linear layer whose output only it reads;
2. an addition joins the later of its two producers where that is a convolution or linear layer whose output only the
   addition reads (a residual connection, or a bias), for runtimes that do so: ONNX Runtime does, TensorFlow Lite not;
3. an activation joins the kernel whose output only it reads, unless that is a pool, a concatenation or a copy;
4. zero padding joins the convolution that alone reads it;
5. views and what depends on weights alone cost nothing; everything else is a kernel of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn

from ..task.task import Inputs
from .operations import COMPUTE, CONVOLUTIONS, Work
from .recording import Operation, Recording, Value, record

_ABSORBS_NORM = (*CONVOLUTIONS, "linear")
_ABSORBS_ADD = (*CONVOLUTIONS, "linear", "matmul")
_ABSORBS_ACTIVATION = (*COMPUTE, "normalization", "elementwise")


@dataclass(frozen=True)
class Kernel:
    """One kernel as a runtime executes it."""

    layer: str
    """Qualified name of the module, or of the operator where the network itself ran it."""
    work: Work
    """Kind, multiply-accumulates and geometry."""
    inputs: tuple[int, ...]
    """Numbers of the values read."""
    outputs: tuple[int, ...]
    reads: tuple[Value, ...]
    writes: tuple[Value, ...]
    weight_elements: int
    output_shape: tuple[int, ...]
    operators: tuple[str, ...]
    """The ATen operators fused into it, in order."""

    @property
    def kind(self) -> str:
        """One of :data:`~espalier.evaluators.hardware.operations.KINDS`."""
        return self.work.kind

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.work.macs

    def bytes_moved(self, element_bytes: int = 4) -> int:
        """Return the bytes of inputs, outputs and weights, each once, where an element takes ``element_bytes``."""
        activations = sum(v.size(element_bytes) for v in (*self.reads, *self.writes))
        return activations + self.weight_elements * element_bytes


@dataclass(frozen=True)
class KernelGraph:
    """Fused kernels in execution order, and the values that flow between them."""

    kernels: tuple[Kernel, ...]
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one forward pass."""
        return sum(k.macs for k in self.kernels)


def record_kernels(
    model: nn.Module, example_input: Inputs, *, fuse_additions: bool = True, fuse_any: bool = True
) -> KernelGraph:
    """Return the fused kernels of one forward pass of ``model`` in eval mode; the model is left as it was.

    Args:
        model: the network.
        example_input: a batch of 1.
        fuse_additions: whether the runtime does rule 2.
        fuse_any: whether the runtime fuses at all; eager execution does not.

    Raises:
        EvaluationError: the network does not run on ``example_input``.
    """
    return fuse(record(model, example_input), fuse_additions=fuse_additions, fuse_any=fuse_any)


def fuse(recording: Recording, *, fuse_additions: bool = True, fuse_any: bool = True) -> KernelGraph:
    """Return the kernels of ``recording`` by the rules in this module's head."""
    readers = Counter(number for o in recording.operations for number in o.inputs)
    readers.update(recording.outputs)
    drafts = _Drafts(recording, readers, fuse_additions, fuse_any)
    for operation in recording.operations:
        drafts.add(operation)
    kernels = tuple(draft.kernel(recording.values) for draft in drafts.ordered)
    return KernelGraph(kernels, tuple(recording.values), recording.inputs, recording.outputs)


@dataclass
class _Draft:
    """A kernel that may still absorb the operation after it."""

    layer: str
    work: Work
    inputs: list[int]
    input_elements: list[int]
    outputs: list[int]
    weight_elements: int
    output_shape: tuple[int, ...]
    operators: list[str]
    position: int
    added: bool = False
    activated: bool = False

    def kernel(self, values: list[Value]) -> Kernel:
        reads = (Value(e, values[n].itemsize) for n, e in zip(self.inputs, self.input_elements, strict=True))
        return Kernel(
            layer=self.layer or self.operators[0],
            work=self.work,
            inputs=tuple(self.inputs),
            outputs=tuple(self.outputs),
            reads=tuple(reads),
            writes=tuple(values[n] for n in self.outputs),
            weight_elements=self.weight_elements,
            output_shape=self.output_shape,
            operators=tuple(self.operators),
        )


class _Drafts:
    def __init__(self, recording: Recording, readers: Counter[int], fuse_additions: bool, fuse_any: bool) -> None:
        self._recording = recording
        self._readers = readers
        self._fuse_additions = fuse_additions
        self._fuse_any = fuse_any
        self._producer: dict[int, _Draft] = {}
        self._opened = 0
        self.ordered: list[_Draft] = []

    def add(self, operation: Operation) -> None:
        """Let a kernel absorb ``operation``, or open a new one for it."""
        host = self._host(operation) if self._fuse_any else None
        if host is None:
            self._open(operation)
        else:
            self._absorb(host, operation)

    def _host(self, operation: Operation) -> _Draft | None:
        if not operation.inputs:
            return None
        producers = [self._producer.get(number) for number in operation.inputs]
        known = [p for p in producers if p is not None]
        if not known or not all(self._whole(operation, i) for i in range(len(operation.inputs))):
            return None
        latest = max(known, key=lambda draft: draft.position)
        number = operation.inputs[producers.index(latest)]
        if self._readers[number] != 1 or latest.outputs != [number] or latest.activated:
            return None
        if operation.name == "add" and len(operation.inputs) > 1 and not self._fuse_additions:
            return None
        return latest if _absorbs(latest, operation) else None

    def _whole(self, operation: Operation, index: int) -> bool:
        """Whether all of an input is read, not a slice of it."""
        return operation.input_elements[index] == self._recording.values[operation.inputs[index]].elements

    def _absorb(self, host: _Draft, operation: Operation) -> None:
        known = {*host.outputs, *host.inputs}
        kept = [(n, e) for n, e in zip(operation.inputs, operation.input_elements, strict=True) if n not in known]
        host.inputs += [n for n, _ in kept]
        host.input_elements += [e for _, e in kept]
        host.outputs = list(self._live(operation.outputs))
        host.operators.append(operation.name)
        if operation.folds:
            host.weight_elements += 0 if _has_bias(host) else host.work.out_channels
        else:
            host.weight_elements += operation.weight_elements
        host.added = host.added or operation.name == "add"
        host.activated = operation.work.kind == "activation"
        self._register(host)

    def _open(self, operation: Operation) -> None:
        padding = self._padding_before(operation) if self._fuse_any else None
        source = padding or operation
        draft = _Draft(
            layer=operation.layer,
            work=operation.work,
            inputs=list(source.inputs),
            input_elements=list(source.input_elements),
            outputs=list(self._live(operation.outputs)),
            weight_elements=operation.weight_elements,
            output_shape=operation.output_shape,
            operators=[*(padding.operators if padding else ()), operation.name],
            position=self._opened,
        )
        self._opened += 1
        self.ordered.append(draft)
        self._register(draft)

    def _padding_before(self, operation: Operation) -> _Draft | None:
        """Take back and return the padding that only this convolution reads."""
        padding = self._producer.get(operation.inputs[0]) if operation.work.kind in CONVOLUTIONS else None
        if padding is None or padding.operators != ["constant_pad_nd"] or self._readers[operation.inputs[0]] != 1:
            return None
        self.ordered.remove(padding)
        return padding

    def _register(self, draft: _Draft) -> None:
        self._producer.update(dict.fromkeys(draft.outputs, draft))

    def _live(self, outputs: Iterable[int]) -> list[int]:
        """Return the outputs that are read, and the first; a pool's indices are seldom wanted, nor then computed."""
        return [n for i, n in enumerate(outputs) if i == 0 or self._readers[n]]


def _absorbs(draft: _Draft, operation: Operation) -> bool:
    if operation.folds:
        return draft.work.kind in _ABSORBS_NORM and not draft.added
    if operation.name == "add":
        return draft.work.kind in _ABSORBS_ADD and not draft.added
    return operation.work.kind == "activation" and draft.work.kind in _ABSORBS_ACTIVATION


def _has_bias(draft: _Draft) -> bool:
    return draft.weight_elements > _kernel_weights(draft.work)


def _kernel_weights(work: Work) -> int:
    """Weights without bias."""
    size = work.in_channels * work.out_channels // work.groups
    for extent in work.kernel_size:
        size *= extent
    return size
