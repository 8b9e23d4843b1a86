"""What a kernel's time is predicted from: its shape, how it falls on the machine's tiles, and where the layout changes.

The features follow what runtimes do: channels are computed in blocks of 4, 8 or 16, a convolution in a blocked layout
pays for a change of layout where a neighbour has none, and what does not fill its blocks falls out of the fast kernels.
What neighbours are besides is left out: trees would learn one family's structure from it, which others do not have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from .calibration_table import CalibrationRow
from .operations import ACTIVATIONS, CONVOLUTIONS, KINDS

Array = np.ndarray

NUMBERS = (
    *("macs", "in_channels", "width", "groups", "kernel_h", "kernel_w", "stride_h", "stride_w"),
    *("reads", "writes", "weights", "out_h", "out_w"),
)
"""Per kernel: multiply-accumulates, channels, geometry, and elements read, written and held as weights."""
_AT = {name: i for i, name in enumerate(NUMBERS)}
_BLOCKS = (4, 8, 16)
_ACTIVATIONS = {name: 1 + i for i, name in enumerate(sorted(ACTIVATIONS))}
_KIND = {kind: i for i, kind in enumerate(KINDS)}
_NONE = -1


@dataclass(frozen=True)
class KernelShapes:
    """Kernels of one or of many networks, one per row."""

    numbers: Array
    """Of shape (kernels, len(NUMBERS))."""
    kinds: Array
    """Index into ``KINDS``, of shape (kernels,)."""
    fused: Array
    """Of shape (kernels, 4): whether an addition, a padding, a normalisation is fused, and which activation (0: none).
    """
    producers: Array
    """Rows of the first and of the last kernel that an input comes from, -1 for none; of shape (kernels, 2)."""
    consumers: Array
    """Rows of the first and of the last kernel that reads the output, -1 for none; of shape (kernels, 2)."""
    networks: Array
    """Number of the network that each is part of, from 0, of shape (kernels,)."""

    def column(self, name: str) -> Array:
        """Return one of :data:`NUMBERS`, of shape (kernels,)."""
        return self.numbers[:, _AT[name]]

    def repeated(self, numbers: Array) -> KernelShapes:
        """Return networks like this one with other numbers, of shape (networks, kernels, len(NUMBERS)), flat."""
        count, size = numbers.shape[:2]
        shift = (np.arange(count) * size)[:, None, None]

        def tiled(rows: Array) -> Array:
            return np.where(rows[None] < 0, _NONE, rows[None] + shift).reshape(-1, 2)

        return KernelShapes(
            numbers.reshape(-1, len(NUMBERS)),
            np.tile(self.kinds, count),
            np.tile(self.fused, (count, 1)),
            tiled(self.producers),
            tiled(self.consumers),
            np.repeat(np.arange(count), size),
        )


def shapes_of(networks: Sequence[Sequence[CalibrationRow]]) -> KernelShapes:
    """Return the kernels of several networks, one network after the other."""
    producers: list[tuple[int, int]] = []
    consumers: list[tuple[int, int]] = []
    start = 0
    for rows in networks:
        readers: dict[int, list[int]] = {}
        for place, row in enumerate(rows):
            sources = [start + r for r in row.reads_from if r >= 0]
            producers.append((sources[0], sources[-1]) if sources else (_NONE, _NONE))
            for source in sources:
                readers.setdefault(source, []).append(start + place)
        found = (readers.get(start + place) for place in range(len(rows)))
        consumers += [(r[0], r[-1]) if r else (_NONE, _NONE) for r in found]
        start += len(rows)
    flat = list(chain.from_iterable(networks))
    return KernelShapes(
        np.array([numbers_of(row) for row in flat], dtype=float).reshape(-1, len(NUMBERS)),
        np.array([_KIND[row.kind] for row in flat], dtype=int),
        np.array([_fused(row.fused) for row in flat], dtype=int).reshape(-1, 4),
        np.array(producers, dtype=int).reshape(-1, 2),
        np.array(consumers, dtype=int).reshape(-1, 2),
        np.repeat(np.arange(len(networks)), [len(rows) for rows in networks]),
    )


def numbers_of(row: CalibrationRow) -> tuple[float, ...]:
    """Return a kernel's :data:`NUMBERS`."""
    shape = list(row.output_shape) or [1]
    spatial = len(shape) > 3
    width = row.out_channels or (shape[1] if spatial else shape[-1])
    height, breadth = (shape[-2], shape[-1]) if spatial else (math.prod(shape[:-1]), 1)
    return (
        *(row.macs, row.in_channels or width, width, row.groups, *_pair(row.kernel_size), *_pair(row.stride)),
        *(row.read_elements, row.write_elements, row.weight_elements, height, breadth),
    )


def _pair(extents: tuple[int, ...]) -> tuple[int, int]:
    """Return a kernel's or stride's height and width; of one dimension both alike."""
    if not extents:
        return 1, 1
    return extents[max(len(extents) - 2, 0)], extents[len(extents) - 1]


def _fused(operators: Sequence[str]) -> tuple[int, int, int, int]:
    activation = next((_ACTIVATIONS[name] for name in operators if name in _ACTIVATIONS), 0)
    normal = any("norm" in name for name in operators)
    return int("add" in operators[1:]), int("constant_pad_nd" in operators), int(normal), activation


def tiled_macs(shapes: KernelShapes, inputs: int, outputs: int) -> Array:
    """Return the MACs with the channels of each group rounded up to whole tiles."""
    groups = np.maximum(shapes.column("groups"), 1)
    depthwise = shapes.kinds == _KIND["depthwise_conv"]
    per_input = np.where(depthwise, 1, _rounding(shapes.column("in_channels") / groups, inputs))
    per_output = _rounding(np.where(depthwise, shapes.column("width"), shapes.column("width") / groups), outputs)
    return shapes.column("macs") * per_input * per_output


def blocked_layouts(shapes: KernelShapes, block: int) -> tuple[Array, Array]:
    """Return whether each kernel can run in a layout of blocks of channels, and whether it then wants its input in it.

    Read off profiles of ONNX Runtime 1.31 on AVX-512: a convolution runs blocked where its input channels are a
    multiple of 4, or fewer than a block, which it reads as they are; outputs are padded to whole blocks.
    """
    convolution = np.isin(shapes.kinds, [_KIND[kind] for kind in CONVOLUTIONS])
    depthwise = shapes.kinds == _KIND["depthwise_conv"]
    inputs = shapes.column("in_channels")
    direct = (inputs < block) & ~depthwise
    runs = convolution & (direct | (inputs % 4 == 0))
    return runs, runs & ~direct


def working_set(shapes: KernelShapes, *, element_bytes: int) -> Array:
    """Return, for each kernel, the bytes that its network writes and holds as weights: what competes for the caches."""
    held = shapes.column("writes") + shapes.column("weights")
    return element_bytes * np.bincount(shapes.networks, weights=held)[shapes.networks]


def unfolded(shapes: KernelShapes) -> Array:
    """Return the elements of the matrix that a convolution of this shape multiplies by, 0 for other kernels.

    K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks for document processing",
    2006.
    """
    convolution = np.isin(shapes.kinds, [_KIND[kind] for kind in CONVOLUTIONS])
    extents = (shapes.column(name) for name in ("kernel_h", "kernel_w", "in_channels", "out_h", "out_w"))
    return convolution * np.prod(list(extents), axis=0)


def features(shapes: KernelShapes, *, element_bytes: int) -> tuple[Array, tuple[str, ...]]:
    """Return a row of features per kernel, of shape (kernels, features), and the features' names."""
    found: dict[str, Array] = {}
    _own(shapes, element_bytes, found)
    _blocks(shapes, found)
    _layouts(shapes, found)
    names = tuple(found)
    return np.stack([np.asarray(found[name], dtype=np.float32) for name in names], axis=1), names


def _own(shapes: KernelShapes, element_bytes: int, found: dict[str, Array]) -> None:
    macs = shapes.column("macs")
    moved = element_bytes * (shapes.column("reads") + shapes.column("writes") + shapes.column("weights"))
    found["log_macs"] = np.log1p(macs)
    found["log_bytes"] = np.log1p(moved)
    for name in ("reads", "writes", "weights"):
        found[f"log_{name}"] = np.log1p(element_bytes * shapes.column(name))
    found["intensity"] = macs / np.maximum(moved, 1)
    for name in ("in_channels", "width", "out_h", "out_w", "groups"):
        found[f"log_{name}"] = np.log(np.maximum(shapes.column(name), 1))
    for name in ("kernel_h", "kernel_w", "stride_h", "stride_w"):
        found[name] = shapes.column(name)
    found["log_working_set"] = np.log1p(working_set(shapes, element_bytes=element_bytes))
    found["kind"] = shapes.kinds
    for i, name in enumerate(("added", "padded", "normalised", "activation")):
        found[name] = shapes.fused[:, i]


def _blocks(shapes: KernelShapes, found: dict[str, Array]) -> None:
    inputs = shapes.column("in_channels") / np.maximum(shapes.column("groups"), 1)
    width = shapes.column("width")
    for block in _BLOCKS:
        for name, channels in (("in", inputs), ("out", width)):
            found[f"{name}_fill_{block}"] = 1 / _rounding(channels, block)
            found[f"{name}_whole_{block}"] = channels % block == 0
        found[f"log_macs_{block}"] = np.log1p(tiled_macs(shapes, block, block))
        found[f"log_macs_out_{block}"] = np.log1p(tiled_macs(shapes, 1, block))
        found[f"out_rest_{block}"] = width % block
        found[f"in_rest_{block}"] = inputs % block


def _layouts(shapes: KernelShapes, found: dict[str, Array]) -> None:
    places = {
        "first_before": shapes.producers[:, 0],
        "last_before": shapes.producers[:, 1],
        "first_after": shapes.consumers[:, 0],
        "last_after": shapes.consumers[:, 1],
    }
    width = shapes.column("width")
    layouts = {block: blocked_layouts(shapes, block) for block in (8, 16)}
    for name, rows in places.items():
        there = rows >= 0
        for block, (runs, takes) in layouts.items():
            given, wanted = (runs[rows] & there, takes) if name.endswith("before") else (runs, takes[rows] & there)
            found[f"{name}_changes_{block}"] = given != wanted
    for block, (runs, takes) in layouts.items():
        found[f"blocked_{block}"], found[f"takes_blocks_{block}"] = runs, takes
        found[f"whole_blocks_{block}"] = runs & (width % block == 0)


def _rounding(channels: Array, block: int) -> Array:
    return np.ceil(np.maximum(channels, 1) / block) * block / np.maximum(channels, 1)
