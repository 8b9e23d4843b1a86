"""Single weights: which of them make a group's channels, and the order in which sparse kernels read them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from .groups import Group, Weight
from .slicing import named_tensors


def with_weights(model: nn.Module, groups: Iterable[Group]) -> tuple[Group, ...]:
    """Return ``groups``, each with the weights of ``model`` that make its channels.

    Those are the weights of convolutions and linear layers. Embeddings, parameters outside such layers and weights that
    another parameter computes (weight norm) are left out: a zero in them is none in what runs.
    """
    tensors = named_tensors(model)
    return tuple(dataclasses.replace(group, weights=_weights(model, group, tensors)) for group in groups)


def _weights(model: nn.Module, group: Group, tensors: dict[str, torch.Tensor]) -> tuple[Weight, ...]:
    found: dict[int, Weight] = {}
    for piece in group.slices:
        layer, _, name = piece.tensor.rpartition(".")
        if not piece.produces or name != "weight":
            continue
        if isinstance(model.get_submodule(layer), _ConvNd | nn.Linear):
            tensor = tensors[piece.tensor]
            rows = tuple(sorted(index for positions in piece.positions for index in positions))
            # A weight that two layers share is one weight.
            found.setdefault(id(tensor), Weight(piece.tensor, piece.dim, rows, tuple(tensor.shape)))
    return tuple(found.values())


def as_rows(tensor: torch.Tensor, dim: int) -> torch.Tensor:
    """Return a weight as (outputs, kernel positions, input channels), the order that sparse kernels read.

    The input channels of one kernel position lie side by side, as NVIDIA's sparse tensor cores want them (Mishra et
    al., "Accelerating Sparse Deep Neural Networks", 2021, arXiv:2104.08378; apex's ASP orders a convolution's weight
    as kernel row, kernel column, output, input).

    Args:
        tensor: of a convolution, a transposed one or a linear layer.
        dim: of the outputs, 0 or 1.
    """
    return (
        tensor.movedim(dim, 0).flatten(2).transpose(1, 2) if tensor.dim() > 2 else tensor.movedim(dim, 0).unsqueeze(1)
    )


def from_rows(rows: torch.Tensor, dim: int, shape: torch.Size) -> torch.Tensor:
    """Return what :func:`as_rows` reordered in the weight's own ``shape``."""
    outputs, inputs = shape[dim], shape[1 - dim]
    return rows.transpose(1, 2).reshape(outputs, inputs, *shape[2:]).movedim(0, dim)
