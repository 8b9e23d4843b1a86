"""Gathering what criteria look at: once for a network, and from training samples only what they ask for."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import InputError, describe
from ..graph.copying import copied
from ..graph.slicing import named_tensors
from ..inputs import call
from .activations import mean_activations
from .criteria import Activations, Need, Statistics
from .fisher import mean_squared_gradients, sample_changes
from .samples import Samples


def gather(
    model: nn.Module, needs: Collection[Need] = (), samples: Samples | None = None, *, seed: int = 0
) -> Statistics:
    """Return the statistics that criteria with these ``needs`` look at.

    Costs, for each need: ``gradients`` a forward and a backward pass over the samples; ``squared_gradients``
    and ``sample_changes`` about twice that each (see :mod:`.fisher`); ``activations`` a forward pass.

    Args:
        model: the dense network; left as it is, as everything runs on copies.
        needs: of all criteria that will be asked.
        samples: where there are any needs.
        seed: of the generator.

    Raises:
        InputError: there are needs and no samples.
    """
    if needs and samples is None:
        raise InputError(
            describe(
                f"no samples to take {', '.join(sorted(needs))} from",
                expected="training samples",
                remedy="Pass samples=.",
            )
        )
    given = samples or Samples((), lambda outputs, targets: torch.zeros(()))
    return Statistics(
        tensors=named_tensors(model),
        gradients=_gradients(model, given) if "gradients" in needs else {},
        norm_layers=frozenset(n for n, m in model.named_modules() if isinstance(m, _BatchNorm)),
        generator=torch.Generator().manual_seed(seed),
        squared_gradients=mean_squared_gradients(model, given) if "squared_gradients" in needs else {},
        sample_changes=sample_changes(model, given) if "sample_changes" in needs else {},
        activations=mean_activations(model, given) if "activations" in needs else Activations(),
    )


def _gradients(model: nn.Module, samples: Samples) -> dict[str, torch.Tensor]:
    network = copied(model).eval()
    parameters = {n: p.requires_grad_() for n, p in network.named_parameters() if p.is_floating_point()}
    total = {n: torch.zeros_like(p) for n, p in parameters.items()}
    for inputs, targets in samples.batches:
        loss = samples.loss(call(network, inputs), targets)
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                total[name] += gradient
    return total
