"""What a network is traced, costed and exported with: one sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_map

from ...spaces.inputs import tensors_of


def one_sample(example_input: Any) -> tuple[Any, int]:
    """Return an example input as a batch of 1, and the batch that it was; of a list of several, each.

    Arrays become tensors. Where tensors differ along axis 0, or one has no axis, which of them hold a batch is not
    known: they stay as they are, with a batch of 1.
    """
    if isinstance(example_input, list):
        cut = [one_sample(example) for example in example_input]
        return [example for example, _ in cut], max((batch for _, batch in cut), default=1)
    example = tree_map(lambda leaf: torch.from_numpy(leaf) if isinstance(leaf, np.ndarray) else leaf, example_input)
    sizes = {len(tensor) if tensor.dim() else 0 for tensor in tensors_of(example)}
    if len(sizes) != 1 or (batch := sizes.pop()) < 2:
        return example, 1
    return tree_map(lambda leaf: leaf[:1].clone() if isinstance(leaf, torch.Tensor) else leaf, example), batch
