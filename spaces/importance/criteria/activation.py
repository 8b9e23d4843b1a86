"""Mean activation: a channel that is hardly ever active says little to the layers that read it.

Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017, arXiv:1611.06440,
section 2.2, "activation". Akin to counting zeros (APoZ: Hu et al., "Network Trimming", 2016, arXiv:1607.03250), which
tells channels apart only behind a ReLU; the mean of absolute values also does behind a GELU or none.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...graph.groups import Group, Slice
from .base import Need, Statistics, mean_of_normalised, per_channel


class MeanActivation:
    """The mean absolute activation of a channel, averaged over the layers that look at it.

    It is taken where convolution and linear layers *read* the channel, behind normalisation and non-linearity: a
    channel whose ReLU is dead may be large before it. Channels that no such layer reads, such as an attention's queries
    and keys, are taken where they are written.
    """

    needs: frozenset[Need] = frozenset({"activations"})

    def applies(self, group: Group, statistics: Statistics) -> bool:
        """Return whether a convolution or linear layer that ran reads or writes the group's channels."""
        return bool(self._means(group, statistics))

    def scores(self, group: Group, statistics: Statistics) -> torch.Tensor:
        """Return the mean absolute activation of each channel, shape ``(channels,)``."""
        return mean_of_normalised([per_channel(piece, mean) for piece, mean in self._means(group, statistics)])

    def _means(self, group: Group, statistics: Statistics) -> list[tuple[Slice, torch.Tensor]]:
        read = _of_slices([s for s in group.slices if not s.produces], statistics.activations.read, statistics)
        return read or _of_slices([s for s in group.slices if s.produces], statistics.activations.written, statistics)


def _of_slices(
    slices: list[Slice], means: Mapping[str, torch.Tensor], statistics: Statistics
) -> list[tuple[Slice, torch.Tensor]]:
    # A convolution in groups has fewer input columns than input channels: its positions are not channels then.
    weights = [s for s in slices if s.layer in means and statistics.tensors[s.tensor].dim() >= 2]
    return [(s, means[s.layer]) for s in weights if len(means[s.layer]) == statistics.tensors[s.tensor].shape[s.dim]]
