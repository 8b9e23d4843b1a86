"""What one PyTorch operator does: its kind, its multiply-accumulates and its geometry.

Operators are those that reach ATen below autograd. One that is not known here is ``elementwise``: it costs its bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

CONVOLUTIONS = ("conv", "pointwise_conv", "depthwise_conv", "grouped_conv", "transposed_conv")
COMPUTE = (*CONVOLUTIONS, "linear", "matmul", "attention", "recurrent")
"""Kinds that have multiply-accumulates."""
MEMORY = ("elementwise", "activation", "normalization", "softmax", "pool", "concat", "copy", "embedding")
"""Kinds that cost their bytes only."""
KINDS = (*COMPUTE, *MEMORY)

ACTIVATIONS = frozenset(
    (
        "relu",
        "hardtanh",
        "relu6",
        "clamp",
        "clamp_min",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "silu",
        "mish",
        "gelu",
        "sigmoid",
        "hardsigmoid",
        "hardswish",
        "tanh",
        "softplus",
        "log_sigmoid",
        "_prelu_kernel",
        "threshold",
    )
)
_NORMALIZATIONS = frozenset(
    (
        "native_batch_norm",
        "_native_batch_norm_legit",
        "_native_batch_norm_legit_no_training",
        "cudnn_batch_norm",
        "native_layer_norm",
        "native_group_norm",
        "_fused_rms_norm",
    )
)
BATCH_NORMS = frozenset(n for n in _NORMALIZATIONS if "batch_norm" in n)
_POOLS = frozenset(
    (
        "max_pool1d",
        "max_pool2d",
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "adaptive_max_pool2d",
        "mean",
        "amax",
    )
)
_MEMORY_KINDS = {
    **dict.fromkeys(ACTIVATIONS, "activation"),
    **dict.fromkeys(_NORMALIZATIONS, "normalization"),
    **dict.fromkeys(_POOLS, "pool"),
    **dict.fromkeys(("cat", "stack"), "concat"),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), "softmax"),
    **dict.fromkeys(("clone", "_to_copy", "copy", "contiguous"), "copy"),
    **dict.fromkeys(("embedding", "index_select"), "embedding"),
}


@dataclass(frozen=True)
class Work:
    """What one operator computes."""

    kind: str
    """One of :data:`KINDS`."""
    macs: int = 0
    in_channels: int = 0
    """Input channels or features; 0 where the kind has none."""
    out_channels: int = 0
    groups: int = 1
    kernel_size: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()


def describe_work(name: str, args: Sequence[Any], output: Any) -> Work:
    """Return what the ATen operator ``name`` did with ``args``.

    Args:
        name: the operator without namespace, overload and trailing underscore, such as ``convolution``.
        args: its positional arguments.
        output: what it returned.
    """
    if name in _DESCRIBERS:
        return _DESCRIBERS[name](args, output)
    return Work(_MEMORY_KINDS.get(name, "elementwise"))


def _convolution(args: Sequence[Any], output: torch.Tensor) -> Work:
    inputs, weight, _, stride, _, _, transposed, _, groups = args[:9]
    kernel = tuple(weight.shape[2:])
    if transposed:
        macs = inputs.numel() * weight.shape[1] * math.prod(kernel)
        out_channels = weight.shape[1] * groups
    else:
        macs = output.numel() * weight.shape[1] * math.prod(kernel)
        out_channels = weight.shape[0]
    in_channels = inputs.shape[1]
    kind = _convolution_kind(in_channels, groups, kernel, transposed)
    return Work(kind, macs, in_channels, out_channels, groups, kernel, tuple(stride))


def _convolution_kind(in_channels: int, groups: int, kernel: tuple[int, ...], transposed: bool) -> str:
    if transposed:
        return "transposed_conv"
    if groups > 1:
        return "depthwise_conv" if groups == in_channels else "grouped_conv"
    return "pointwise_conv" if math.prod(kernel) == 1 else "conv"


def _addmm(args: Sequence[Any], output: torch.Tensor) -> Work:
    return _product(args[1], args[2], output)


def _mm(args: Sequence[Any], output: torch.Tensor) -> Work:
    return _product(args[0], args[1], output)


def _product(left: torch.Tensor, right: torch.Tensor, output: torch.Tensor) -> Work:
    """Work of a matrix product; the recorder turns it into ``linear`` where one factor is a weight."""
    inner = left.shape[-1]
    return Work("matmul", output.numel() * inner, inner, right.shape[-1] if right.dim() > 1 else 1)


def _attention(args: Sequence[Any], output: Any) -> Work:
    query, key, value = args[:3]
    pairs = math.prod(query.shape[:-1]) * key.shape[-2]
    return Work("attention", pairs * (query.shape[-1] + value.shape[-1]), query.shape[-1], value.shape[-1])


def _recurrent(args: Sequence[Any], output: Any) -> Work:
    inputs, input_weight, hidden_weight = args[:3]
    steps = math.prod(inputs.shape[:-1])
    macs = steps * (input_weight.numel() + hidden_weight.numel())
    return Work("recurrent", macs, inputs.shape[-1], hidden_weight.shape[-1])


_DESCRIBERS: dict[str, Callable[[Sequence[Any], Any], Work]] = {
    "convolution": _convolution,
    "addmm": _addmm,
    "baddbmm": _addmm,
    "addmv": _addmm,
    "mm": _mm,
    "bmm": _mm,
    "mv": _mm,
    "dot": _mm,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "mkldnn_rnn_layer": _recurrent,
}
