"""What stands in for the parts of a dropped branch, so that the code around them runs on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from ..graph.groups import Branch
from .attention import without_attention_

_PLAIN = (int, float, str, bool, type(None), torch.dtype, torch.device, torch.Size)
_HOOKS = ("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")


class Absent(nn.Module):
    """Stands where a branch ended: zeros in the shape of what it would have added.

    Args:
        channels: of the output.
        strides: output size is input size divided by this, for each spatial dimension; empty where the channels are the
            last dimension.
        rounds_up: which way that is rounded.
        returns: of how many values a tuple is returned, the zeros first and ``None`` else; 0 for the zeros alone.
    """

    def __init__(self, channels: int, strides: tuple[int, ...], *, rounds_up: bool = True, returns: int = 0) -> None:
        super().__init__()
        # Names of its own: the plain ones are those of the module that it stands for.
        self._absent_channels = channels
        self._absent_strides = strides
        self._absent_rounds_up = rounds_up
        self._absent_returns = returns

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> Any:
        """Return zeros, shape ``(N, channels, ...)`` or ``(N, ..., channels)``."""
        return _among(self._zeros(x), self._absent_returns)

    def _zeros(self, x: torch.Tensor) -> torch.Tensor:
        if not self._absent_strides:
            return x.new_zeros((*x.shape[:-1], self._absent_channels))
        pairs = zip(x.shape[2:], self._absent_strides, strict=True)
        spatial = [(size + (stride - 1) * self._absent_rounds_up) // stride for size, stride in pairs]
        if len(spatial) == 2 and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
            # Else what they are added to is copied into another layout, again and again.
            return x.new_zeros((x.shape[0], *spatial, self._absent_channels)).permute(0, 3, 1, 2)
        return x.new_zeros((x.shape[0], self._absent_channels, *spatial))


class Skipped(nn.Identity):
    """Stands for a layer, or a module of several, that only a dropped branch needed: its input passes.

    Args:
        returns: of how many values a tuple is returned, as in :class:`Absent`.
    """

    def __init__(self, *, returns: int = 0) -> None:
        super().__init__()
        self._skipped_returns = returns

    def forward(self, x: torch.Tensor, *_: Any, **__: Any) -> Any:
        """Return ``x``."""
        return _among(x, self._skipped_returns)


def drop_(model: nn.Module, branches: Iterable[Branch]) -> None:
    """Drop ``branches`` from ``model``, in place. One may lie in another, or have parts in common with it."""
    widths = [(branch, _width(model.get_submodule(branch.width_of))) for branch in branches]
    for branch, width in widths:
        returns = dict(branch.returns)
        absent = Absent(width, branch.strides, rounds_up=branch.rounds_up, returns=returns.get(branch.end, 0))
        _put(model, branch.end, absent)
        for name in branch.skipped:
            _put(model, name, Skipped(returns=returns.get(name, 0)))


def _put(model: nn.Module, name: str, stand_in: nn.Module) -> None:
    """Replace a module, unless it went with a larger one, or is where another branch ended."""
    path, child = name.rpartition(".")[::2]
    around = model
    for part in path.split(".") if path else ():
        around = around._modules.get(part)
        if around is None:
            return
    replaced = around._modules.get(child)
    if replaced is None or isinstance(replaced, Absent):
        return
    if isinstance(replaced, nn.MultiheadAttention):
        without_attention_(model, name, replaced, stand_in)
    _inherit(stand_in, replaced)
    setattr(around, child, stand_in)
    if isinstance(stand_in, Skipped):
        _keep_inputs(around)


def _inherit(stand_in: nn.Module, replaced: nn.Module) -> None:
    """Keep what the code around a module may read of it, such as its stride, and who listens to its outputs."""
    for name, value in vars(replaced).items():
        if name not in vars(stand_in) and not name.startswith("_") and _is_plain(value):
            vars(stand_in)[name] = value
    for name in _HOOKS:
        vars(stand_in)[name] = vars(replaced)[name].copy()
    stand_in.training = replaced.training


def _is_plain(value: object) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, tuple | list) and all(map(_is_plain, value)))


def _keep_inputs(module: nn.Module) -> None:
    """Let no activation overwrite what it is given: after a skipped layer that is the shortcut itself."""
    for part in module.modules():
        if getattr(part, "inplace", None) is True:
            vars(part)["inplace"] = False


def _width(layer: nn.Module) -> int:
    if isinstance(layer, nn.RNNBase):
        return (layer.proj_size or layer.hidden_size) * (1 + layer.bidirectional)
    if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return layer.out_channels  # its weight has the inputs first
    return next(layer.parameters(recurse=False)).shape[0]


def _among(first: torch.Tensor, count: int) -> Any:
    return (first, *[None] * (count - 1)) if count else first
