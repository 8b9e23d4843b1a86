"""Cutting channels with Torch-Pruning through its public API, as its users do.

Its ``round_to`` rounds down, and leaves a layer whole where nothing would remain (6 of 16 channels to eights). So the
channels that its pruner would keep are taken without rounding, then rounded to the nearest multiple, at least one, and
removed through its dependency graph: what a user comes to who looks at the widths.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import nn

from .masked_twin import equals_twin, removal, width
from .setting import CHANNEL_MULTIPLE

Widths = Mapping[str, int]
"""Channels kept by the name of a group's first layer."""
_LAYERS = (nn.Conv2d, nn.Linear)


def choices(channels: int, multiple: int = CHANNEL_MULTIPLE) -> tuple[int, ...]:
    """Return the widths worth keeping of so many channels, ascending."""
    return (*range(multiple, channels, multiple), channels)


def rounded(width: float, channels: int, multiple: int = CHANNEL_MULTIPLE) -> int:
    """Return the choice nearest to ``width``; of two equally near ones the smaller."""
    return min(choices(channels, multiple), key=lambda choice: (abs(choice - width), choice))


@dataclass(frozen=True)
class Cutter:
    """What Torch-Pruning can prune of one network."""

    example_input: torch.Tensor
    channels: Mapping[str, int]
    """Of the dense network, by group."""
    scope: str
    """``all`` groups, or ``inner``: those that make up one layer's outputs, where Torch-Pruning gets others wrong."""

    @classmethod
    def of(cls, model: nn.Module, example_input: torch.Tensor) -> Cutter:
        """Find out what can be pruned, by pruning half of it and running what is left, and by masked twins.

        Of zero-padded shortcuts (ResNet-20) Torch-Pruning 1.6.1 removes other channels after the padding than before
        it: shapes fit by chance, and the network computes something else.
        """
        groups = _groups(model, example_input)
        whole = cls(example_input, {name: channels for name, channels, _ in groups}, "all")
        coupled = [name for name, _, alone in groups if not alone]
        if whole._works(model) and all(equals_twin(model, example_input, name) for name in coupled):
            return whole
        inner = {name: channels for name, channels, alone in groups if alone}
        sound = {n: c for n, c in inner.items() if cls(example_input, {n: c}, "inner")._works(model)}
        return cls(example_input, sound, "inner")

    @property
    def dense(self) -> dict[str, int]:
        """The widths of the dense network."""
        return dict(self.channels)

    def widths(self, model: nn.Module) -> dict[str, int]:
        """Return the widths that ``model`` has."""
        return {name: width(model.get_submodule(name)) for name in self.channels}

    def uniform(self, ratio: float) -> dict[str, int]:
        """Return the widths with the same ratio of each group removed."""
        return {name: rounded(channels * (1 - ratio), channels) for name, channels in self.channels.items()}

    def cut(self, model: nn.Module, widths: Widths) -> nn.Module:
        """Return a copy of ``model`` that keeps the channels of largest L2 norm; ``model`` stays as it is."""
        small, importance = copy.deepcopy(model).eval(), tp.importance.GroupMagnitudeImportance(p=2)
        graph = tp.DependencyGraph().build_dependency(small, self.example_input)
        for name, kept in widths.items():
            layer = small.get_submodule(name)
            self._cut(graph, layer, width(layer) - kept, importance)
        return small

    def cut_by(self, model: nn.Module, widths: Widths, importances: Mapping[str, torch.Tensor]) -> nn.Module:
        """Return a copy of the dense ``model`` that keeps the channels of largest given importance."""
        small = copy.deepcopy(model).eval()
        graph = tp.DependencyGraph().build_dependency(small, self.example_input)
        for name, kept in widths.items():
            layer = small.get_submodule(name)
            self._cut(graph, layer, width(layer) - kept, lambda _, n=name: importances[n])
        return small

    def importances(
        self, model: nn.Module, importance: Callable[[Any], Any], prepare: Callable[[nn.Module], None] | None = None
    ) -> dict[str, torch.Tensor]:
        """Return the importance of each channel, by group; ``prepare`` gives a copy its gradients."""
        probe = copy.deepcopy(model).eval()
        if prepare is not None:
            prepare(probe)
        graph = tp.DependencyGraph().build_dependency(probe, self.example_input)
        layers = {name: probe.get_submodule(name) for name in self.channels}
        return {
            name: importance(graph.get_pruning_group(layer, removal(layer), list(range(width(layer)))))
            for name, layer in layers.items()
        }

    def pruner_widths(
        self,
        model: nn.Module,
        ratio: float,
        importance: Callable[[Any], Any],
        *,
        isomorphic: bool = False,
        prepare: Callable[[nn.Module], None] | None = None,
    ) -> dict[str, int]:
        """Return the widths that Torch-Pruning's pruner comes to with ``global_pruning``, rounded."""
        probe = copy.deepcopy(model).eval()
        if prepare is not None:
            prepare(probe)
        pruner = tp.pruner.BasePruner(
            probe,
            self.example_input,
            importance=importance,
            global_pruning=True,
            isomorphic=isomorphic,
            pruning_ratio=ratio,
            max_pruning_ratio=0.9,
            ignored_layers=_ignored(probe, self.channels, self.example_input),
            # Fresh ones, as the defaults are shared by all pruners of a process.
            in_channel_groups={},
            out_channel_groups={},
            num_heads={},
            channel_groups={},
        )
        pruner.step()
        return {name: rounded(kept, self.channels[name]) for name, kept in self.widths(probe).items()}

    def _cut(self, graph: tp.DependencyGraph, layer: nn.Module, count: int, importance: Callable[[Any], Any]) -> None:
        if count <= 0:
            return
        group = graph.get_pruning_group(layer, removal(layer), list(range(width(layer))))
        order = torch.argsort(importance(group))
        graph.get_pruning_group(layer, removal(layer), order[:count].tolist()).prune()

    def _works(self, model: nn.Module) -> bool:
        try:
            small = self.cut(model, self.uniform(0.5))
            with torch.no_grad():
                outputs, wanted = small(self.example_input), model(self.example_input)
        except (RuntimeError, IndexError, ValueError, AttributeError, KeyError):
            return False
        return outputs.shape == wanted.shape and bool(torch.isfinite(outputs).all())


def _groups(model: nn.Module, example_input: torch.Tensor) -> list[tuple[str, int, bool]]:
    """Return each group's first layer, its channels, and whether it makes up the outputs of that layer alone."""
    probe = copy.deepcopy(model).eval()
    names = {module: name for name, module in probe.named_modules()}
    graph = tp.DependencyGraph().build_dependency(probe, example_input)
    found = []
    for group in graph.get_all_groups(ignored_layers=_heads(probe, example_input), root_module_types=list(_LAYERS)):
        root = group[0].dep.target.module
        makers = {
            item.dep.target.module
            for item in group
            if graph.is_out_channel_pruning_fn(item.dep.handler) and isinstance(item.dep.target.module, _LAYERS)
        }
        if not makers & set(_heads(probe, example_input)):
            found.append((names[root], width(root), len(makers) == 1))
    return found


def _heads(model: nn.Module, example_input: torch.Tensor) -> list[nn.Module]:
    with torch.no_grad():
        classes = model(example_input).shape[-1]
    return [m for m in model.modules() if isinstance(m, nn.Linear) and m.out_features == classes]


def _ignored(model: nn.Module, kept: Mapping[str, int], example_input: torch.Tensor) -> list[nn.Module]:
    """Return the layers that a pruner must leave alone: the outputs, and all groups that are not in ``kept``."""
    graph = tp.DependencyGraph().build_dependency(model, example_input)
    names = {module: name for name, module in model.named_modules()}
    ignored = _heads(model, example_input)
    for group in graph.get_all_groups(ignored_layers=list(ignored), root_module_types=list(_LAYERS)):
        if names[group[0].dep.target.module] not in kept:
            ignored.append(group[0].dep.target.module)
    return ignored
