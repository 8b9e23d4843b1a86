"""Training in bfloat16 where the processor multiplies matrices of it: about twice as many samples in the same time.

Micikevicius et al., "Mixed Precision Training", ICLR 2018, arXiv:1710.03740; bfloat16 has fp32's range, so that no loss
scaling is needed (Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv:1905.12322). Weights,
gradients of weights and BatchNorm statistics stay fp32; accuracies are always taken at the precision deployed.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from ...spaces.inputs import call, map_tensors


def trains_in_bfloat16() -> bool:
    """Return whether this processor has tile instructions for bfloat16 (AMX), so that training gains from it.

    Without them bfloat16 is emulated or no faster: training stays fp32.
    """
    capability = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(capability is not None and capability())


class MixedPrecision:
    """Runs a network's forward passes in bfloat16 where something is gained, in fp32 elsewhere; returns fp32 outputs.

    A network with an operator that knows no bfloat16 runs in fp32 from its first pass on, with a warning.

    Args:
        model: the network.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._enabled = trains_in_bfloat16()

    def __call__(self, inputs: Any) -> Any:
        """Return the network's outputs on ``inputs``."""
        if not self._enabled:
            return call(self._model, inputs)
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                outputs = call(self._model, inputs)
        except (RuntimeError, TypeError) as error:
            outputs = call(self._model, inputs)  # an error that has nothing to do with bfloat16 is raised again here
            self._enabled = False
            first = str(error).splitlines()[0]
            warnings.warn(
                f"training in fp32, which takes about twice as long: the network does not run in bfloat16 ({first}). "
                "Cast to fp32 in its forward pass where that is needed.",
                stacklevel=2,
            )
        return map_tensors(_single, outputs)


def _single(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
