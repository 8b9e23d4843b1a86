"""Torch-Pruning's dependency graph, mended where it is wrong, and read as couplings of tensor dimensions.

DepGraph: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900. What differs from
torch-pruning 1.6.1:

* ``F.pad`` along the channels shifts them; the original takes it for an element-wise operation, so that a zero-padded
  shortcut couples channel ``i`` with channel ``i`` instead of ``i + pad``.
* A coupling is followed until nothing new is reached, each (index, root) pair once. The original drops the second root
  of an index that two root channels reach, and compares whole index lists, which is slow on deep networks.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch_pruning as tp
from torch import nn
from torch_pruning import ops
from torch_pruning._helpers import _HybridIndex
from torch_pruning.dependency import index_mapping, shape_infer

from .inputs import Inputs, call

_ROOTS = (nn.modules.conv._ConvNd, nn.Linear)


@dataclass(frozen=True)
class Side:
    """One side of one layer: the channels it produces or the channels it consumes."""

    layer: str
    module: nn.Module | nn.Parameter
    produces: bool


@dataclass
class Coupling:
    """Everything that the channels of a root layer reach."""

    root: str
    channels: int
    pairs: dict[Side, list[tuple[int, int]]] = field(default_factory=dict)
    """For each side: (index along the side, channel of the root)."""
    is_output: bool = False
    is_padded: bool = False
    """Whether a padding along the channels stands between some of its layers."""


@dataclass(frozen=True)
class _ShiftedChannels:
    """Index mapping of a constant padding along the channels."""

    shift: int
    size: int
    """Channels on the far side; indices beyond it were cropped or are padding."""

    def __call__(self, indices: list[Any]) -> list[Any]:
        moved = ((i.idx + self.shift, i.root_idx) for i in indices)
        return [_HybridIndex(idx=idx, root_idx=root) for idx, root in moved if 0 <= idx < self.size]


class PaddingAwareGraph(tp.DependencyGraph):
    """A dependency graph of a copy of a network, with ``F.pad`` along the channels understood."""

    @classmethod
    def of(cls, model: nn.Module, example_input: Inputs) -> PaddingAwareGraph:
        """Trace a copy of ``model``; the given network is left as it is."""
        network = copy.deepcopy(model).eval()
        for parameter in network.parameters():
            parameter.requires_grad_(parameter.is_floating_point())
        graph = cls()
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Fresh containers for every argument: the defaults of 1.6.1 are mutable and leak into the next graph.
            fresh: dict[str, Any] = {"customized_pruners": {}, "ignored_layers": [], "ignored_params": []}
            fresh |= {"unwrapped_parameters": [], "example_inputs": example_input, "forward_fn": call}
            graph.build_dependency(network, verbose=False, **fresh)
        graph._map_channel_padding()
        index_mapping.update_index_mapping(graph)
        return graph

    def couplings(self) -> Iterator[Coupling]:
        """Yield, in execution order, what the channels of every root layer reach that no earlier root has reached."""
        claimed: set[tuple[str, int]] = set()
        for name, module in self._roots():
            free = [c for c in range(self.get_out_channels(module) or 0) if (name, c) not in claimed]
            if not free:
                continue
            coupling = self._follow(name, module, free)
            for side, pairs in coupling.pairs.items():
                if side.produces:
                    claimed.update((side.layer, index) for index, _ in pairs)
            yield coupling

    def _roots(self) -> Iterator[tuple[str, nn.Module]]:
        # module2node is filled from the outputs backwards; named_modules is close to execution order and stable.
        for name, module in self.model.named_modules():
            if isinstance(module, _ROOTS) and module in self.module2node:
                yield name, module

    def _follow(self, name: str, module: nn.Module, channels: list[int]) -> Coupling:
        coupling = Coupling(root=name, channels=len(channels))
        node = self.module2node[module]
        pruner: Any = self.get_pruner_of_module(module)
        start = pruner.prune_out_channels
        seen: dict[tuple[int, Any], set[tuple[int, int]]] = {}
        stack = [(node, start, [(c, i) for i, c in enumerate(channels)])]
        while stack:
            node, function, pairs = stack.pop()
            known = seen.setdefault((id(node), function), set())
            new = [pair for pair in pairs if pair not in known]
            if not new:
                continue
            known.update(new)
            self._note(coupling, node, function, new)
            for dependency in node.dependencies:
                if dependency.is_triggered_by(function):
                    coupling.is_padded |= isinstance(dependency.index_mapping[0], _ShiftedChannels)
                    stack.append((dependency.target, dependency.handler, _mapped(dependency, new)))
        return coupling

    def _note(self, coupling: Coupling, node: Any, function: Any, pairs: list[tuple[int, int]]) -> None:
        if isinstance(node.module, ops._OutputOp):
            coupling.is_output = True
        name = self._param_to_name.get(node.module) if isinstance(node.module, nn.Parameter) else None
        name = self._module2name.get(node.module) if name is None else name
        if name is None or not _has_tensors(node.module):
            return
        side = Side(name, node.module, produces=bool(self.is_out_channel_pruning_fn(function)))
        coupling.pairs.setdefault(side, []).extend(pairs)

    def _map_channel_padding(self) -> None:
        for node in self.module2node.values():
            pad = getattr(node.grad_fn, "_saved_pad", None)
            if pad is None or len(pad) < 6 or not any(pad[4:6]):
                continue
            before, after = pad[4], pad[5]
            for source in node.inputs:
                size = shape_infer.infer_out_channels_recursively(self, source, [0])
                if size is None:
                    continue
                _set_mapping(source, node, _ShiftedChannels(before, size + before + after))
                _set_mapping(node, source, _ShiftedChannels(-before, size))


def _set_mapping(source: Any, target: Any, mapping: _ShiftedChannels) -> None:
    for dependency in source.dependencies:
        if dependency.target is target:
            dependency.index_mapping[0] = mapping


def _mapped(dependency: Any, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    indices = [_HybridIndex(idx=index, root_idx=root) for index, root in pairs]
    for mapping in dependency.index_mapping:
        if mapping is not None and indices:
            indices = mapping(indices)
    return [(i.idx, i.root_idx) for i in indices]


def _has_tensors(module: nn.Module | nn.Parameter) -> bool:
    return isinstance(module, nn.Parameter) or next(module.parameters(recurse=False), None) is not None
