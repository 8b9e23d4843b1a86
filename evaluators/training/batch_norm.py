"""BatchNorm recalibration: running statistics taken anew, as pruning changes what each layer sees.

Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020, arXiv:2007.02491.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...spaces.inputs import call


def recalibrate(model: nn.Module, inputs: Iterable[Any], *, forward: Callable[[Any], Any] | None = None) -> None:
    """Replace every BatchNorm's running mean and variance by their average over ``inputs``, in place.

    Networks without BatchNorm are left as they are, and no input is read.

    Args:
        model: the network.
        inputs: batches.
        forward: runs ``model`` on a batch, if not as it is.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    training = model.training
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over all batches instead of an exponential one
        norm.train()
    with torch.no_grad():
        for batch in inputs:
            call(model, batch) if forward is None else forward(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.train(training)
