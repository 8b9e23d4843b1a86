"""What a network's outputs depend on: which layers nothing needs any more once some layers' outputs are zero.

One forward pass records the graph of operations that gradients would go back through. A layer is needed where a way
leads from the outputs to its parameters; a way ends at an output that is zero, and at what is multiplied with zero. So
one pass answers for every layer, where running the network again for each would take minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.jit import ScriptModule

from ..architectures.attention import free_heads_
from ..inputs import Inputs, call, tensors_of
from .copying import copied
from .outputs import output_tensors

_Place = tuple[int, int]
"""An operation's number, and which of its outputs."""

_KEEPS_ZEROS = frozenset(
    """Alias AsStrided Clone Dropout Expand Gelu Hardswish Hardtanh Mean NativeDropout Permute Relu Repeat Reshape Roll
    Select Silu Slice Split SplitWithSizes Squeeze Sum T Tanh ToCopy Transpose Unbind UnsafeView Unsqueeze
    View""".split()
)
"""Operations that give zeros where their one input is zeros."""


@dataclass
class Liveness:
    """Which layers ran, in order, on what and to what, and how the operations follow one another."""

    order: list[str] = field(default_factory=list)
    inputs: dict[str, torch.Size] = field(default_factory=dict)
    outputs: dict[str, torch.Size] = field(default_factory=dict)
    repeated: set[str] = field(default_factory=set)
    called: set[str] = field(default_factory=set)
    """Every module that ran, not layers alone: lists of layers do not."""
    returns: dict[str, int] = field(default_factory=dict)
    """How many values a module returned, where that is a tuple; the first one counts as its output."""
    channels_last: set[str] = field(default_factory=set)
    """Layers whose channels are the last dimension of what they make."""
    made: dict[str, _Place] = field(default_factory=dict)
    """Where each layer's output comes from."""
    parameters: dict[str, frozenset[int]] = field(default_factory=dict)
    """Operations that stand for a layer's own parameters."""
    kinds: list[str] = field(default_factory=list)
    """Of each operation."""
    sources: list[tuple[_Place, ...]] = field(default_factory=list)
    """What each operation reads."""
    readers: list[list[int]] = field(default_factory=list)
    """The operations that read each one."""
    roots: tuple[_Place, ...] = ()
    """What the network's outputs come from."""
    shapes: list[torch.Size] = field(default_factory=list)
    """Of the network's outputs."""

    @classmethod
    def of(cls, model: nn.Module, inputs: Inputs, *, training: bool = False) -> Liveness:
        """Run ``model``, in eval mode unless told otherwise, once; it is left as it is."""
        network = copied(model).train(training)
        for module in network.modules():
            free_heads_(module)  # PyTorch's own attention does not call the layer that it ends in
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
        flow = cls()
        with torch.enable_grad(), _watched(network, flow) as seen:
            returned = call(network, inputs)
        outputs = [t for t in output_tensors(returned) if t.grad_fn is not None]
        flow.shapes = [t.shape for t in tensors_of(returned)]
        numbers = flow._number([t.grad_fn for t in outputs])
        flow.roots = tuple((numbers[t.grad_fn], t.output_nr) for t in outputs)
        flow.made = {name: (numbers[node], nr) for name, (node, nr) in seen.items() if node in numbers}
        leaves = {id(node.variable): i for node, i in numbers.items() if hasattr(node, "variable")}
        for name in flow.order:
            own = network.get_submodule(name).parameters(recurse=False)
            flow.parameters[name] = frozenset(leaves[id(p)] for p in own if id(p) in leaves)
        return flow

    def _number(self, roots: list[Any]) -> dict[Any, int]:
        """Number every operation that the outputs come from; the mapping keeps them alive."""
        numbers: dict[Any, int] = {}
        waiting = list(roots)
        while waiting:
            node = waiting.pop()
            if node not in numbers:
                numbers[node] = len(numbers)
                waiting.extend(source for source, _ in node.next_functions if source is not None)
        self.readers = [[] for _ in numbers]
        for node, number in numbers.items():
            self.kinds.append(node.name().partition("Backward")[0])
            places = tuple((numbers[source], nr) for source, nr in node.next_functions if source is not None)
            self.sources.append(places)
            for source, _ in places:
                self.readers[source].append(number)
        return numbers

    def idle(self, silent: Collection[str]) -> frozenset[str]:
        """Return the other layers that nothing needs once the outputs of ``silent`` are zero.

        Layers that no output depends on in the first place are not among them.
        """
        reached = self._reached({self.made[name] for name in silent if name in self.made})
        return frozenset(
            name for name, nodes in self.parameters.items() if nodes and name not in silent and not nodes & reached
        )

    def _reached(self, silent: set[_Place]) -> set[int]:
        zeros = self._zeros(silent)
        reached: set[int] = set()
        waiting = [number for number, nr in self.roots if not self._zero((number, nr), zeros)]
        while waiting:
            node = waiting.pop()
            if node not in reached:
                reached.add(node)
                waiting.extend(number for number, _ in self._needed(node, zeros))
        return reached

    def _needed(self, node: int, zeros: set[_Place]) -> Iterator[_Place]:
        """Yield what an operation reads and what its output varies with."""
        sources = self.sources[node]
        if self.kinds[node] == "Mul" and any(self._zero(s, zeros) for s in sources):
            return
        yield from (s for s in sources if not self._zero(s, zeros))

    def _zeros(self, silent: set[_Place]) -> set[_Place]:
        """Return ``silent`` and the operations (output -1: all of them) whose outputs are zero because of it."""
        zeros = set(silent)
        waiting = [number for number, _ in silent]
        while waiting:
            for reader in self.readers[waiting.pop()]:
                if (reader, -1) not in zeros and self._makes_zeros(reader, zeros):
                    zeros.add((reader, -1))
                    waiting.append(reader)
        return zeros

    def _makes_zeros(self, node: int, zeros: set[_Place]) -> bool:
        found = [self._zero(s, zeros) for s in self.sources[node]]
        return any(found) if self.kinds[node] == "Mul" else self.kinds[node] in _KEEPS_ZEROS and all(found)

    @staticmethod
    def _zero(place: _Place, zeros: set[_Place]) -> bool:
        return place in zeros or (place[0], -1) in zeros


@contextmanager
def _watched(network: nn.Module, flow: Liveness) -> Iterator[dict[str, tuple[Any, int]]]:
    """Note what layers with parameters take and make while a network runs, and where their outputs come from.

    That is asked at once: an activation that overwrites an output becomes what it comes from.
    """
    made: dict[str, tuple[Any, int]] = {}

    def hook(name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            flow.called.add(name)
            if isinstance(output, tuple) and output:
                flow.returns[name], output = len(output), output[0]
            if next(module.parameters(recurse=False), None) is None:
                return
            if name in flow.outputs:
                flow.repeated.add(name)
            elif args and isinstance(args[0], torch.Tensor) and isinstance(output, torch.Tensor):
                flow.order.append(name)
                if isinstance(module, nn.Linear) or type(module) is nn.LayerNorm:
                    flow.channels_last.add(name)
                flow.inputs[name], flow.outputs[name] = args[0].shape, output.shape
                made[name] = output.grad_fn, output.output_nr

        return note

    # Scripted modules take no hooks; what is in them is not looked at.
    named = [
        (name, module) for name, module in network.named_modules() if name and not isinstance(module, ScriptModule)
    ]
    handles = [module.register_forward_hook(hook(name)) for name, module in named]
    try:
        yield made
    finally:
        for handle in handles:
            handle.remove()
