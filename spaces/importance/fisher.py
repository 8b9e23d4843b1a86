"""Gradients of single samples, and the diagonal of the empirical Fisher information: their mean square.

The square of a batch's gradient will not do: gradients of single samples cancel in it, and at a minimum it is near zero
where the Fisher information is not.

``torch.func`` computes the gradients of several samples together where it can: 2.2 s for 256 samples of a ResNet-20 on
a busy core. Networks that it cannot handle, such as those that look at a value to decide what to run, get one backward
pass for each sample: 3.9 s in the same minute.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.utils._pytree import tree_map

from ..graph.copying import copied
from ..inputs import call, map_tensors, tensors_of
from .samples import Loss, Samples, batch_size, take

_TOGETHER = 16  # more is slower on a CPU: the gradients no longer fit its caches
_MOST_VALUES = 2**25  # gradients held at once: 128 MiB at fp32

Gradients = dict[str, torch.Tensor]


def mean_squared_gradients(model: nn.Module, samples: Samples) -> Gradients:
    """Return the mean over all samples of the squared gradient of each floating-point parameter.

    Args:
        model: left as it is; a copy runs, in eval mode.
        samples: batches whose tensors hold samples along dimension 0, and a loss that takes a batch of one. Batches
            whose tensors disagree in that, such as lists of boxes for images, count as one sample each.

    Returns:
        Non-negative tensors of the parameters' shapes, by name.
    """
    total: Gradients = {}
    count = 0
    for gradients in sample_gradients(model, samples):
        for name, gradient in gradients.items():
            total[name] = total.get(name, torch.zeros(())) + gradient.square().sum(0)
        count += len(next(iter(gradients.values()), ()))
    return {name: square / count for name, square in total.items()}


def sample_changes(model: nn.Module, samples: Samples) -> dict[tuple[str, int], torch.Tensor]:
    """Return by how much each slice of each weight changes each sample's loss, to first order.

    Args:
        model: as for :func:`mean_squared_gradients`.
        samples: likewise.

    Returns:
        For (name, dimension), of weights of two dimensions or more and their first two: gradient times weight, summed
        over all other dimensions, shape ``(samples, size along the dimension)``.
    """
    weights = {n: p.detach() for n, p in model.named_parameters() if p.dim() >= 2}
    found: dict[tuple[str, int], list[torch.Tensor]] = {}
    for gradients in sample_gradients(model, samples):
        for name in weights.keys() & gradients.keys():
            product = gradients[name] * weights[name]
            for dim in (0, 1):
                found.setdefault((name, dim), []).append(product.movedim(dim + 1, 1).flatten(2).sum(2))
    return {key: torch.cat(changes) for key, changes in found.items()}


def sample_gradients(model: nn.Module, samples: Samples) -> Iterator[Gradients]:
    """Yield the gradients of a few samples at a time, shape ``(samples, *parameter.shape)``, until all were seen."""
    network = copied(model).eval()
    parameters = {n: p.requires_grad_() for n, p in network.named_parameters() if p.is_floating_point()}
    together = min(_TOGETHER, _MOST_VALUES // max(1, sum(p.numel() for p in parameters.values())))
    for part, size in _parts(samples, max(1, together)):
        gradients = _vectorised(network, parameters, samples.loss, part) if size > 1 and together > 1 else None
        if gradients is not None:
            yield gradients
            continue
        together = together if size == 1 else 1
        for i in range(size):
            one = take(part, i, i + 1) if size > 1 else part
            yield _of_one(network, parameters, samples.loss, one)


def _parts(samples: Samples, size: int) -> Iterator[tuple[Any, int]]:
    for batch in samples.batches:
        count = batch_size(batch)
        if count is None:
            yield batch, 1
            continue
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield take(batch, start, stop), stop - start


def _vectorised(network: nn.Module, parameters: Mapping[str, torch.Tensor], loss: Loss, part: Any) -> Gradients | None:
    """Return the gradients of a part's samples, or ``None`` where ``torch.func`` cannot."""
    values = {name: parameter.detach() for name, parameter in parameters.items()}
    if any(t.dim() == 0 for t in tensors_of(part)):  # inside vmap it could not be told from a sample's
        return None
    dims = tree_map(lambda leaf: 0 if isinstance(leaf, torch.Tensor) else None, part)
    try:
        with warnings.catch_warnings():
            # Operators without a rule, such as attention on a CPU, are looped over inside.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            gradients = vmap(grad(_loss_of_one(network, loss)), in_dims=(None, dims))(values, part)
    except (RuntimeError, ValueError, TypeError):  # what torch.func raises for what it has no rule for
        return None
    return {name: gradient.float() for name, gradient in gradients.items()}


def _loss_of_one(network: nn.Module, loss: Loss) -> Callable[[Gradients, Any], torch.Tensor]:
    def of_one(values: Gradients, sample: Any) -> torch.Tensor:
        inputs, targets = map_tensors(lambda t: t.unsqueeze(0), sample)
        keywords = dict(inputs) if isinstance(inputs, Mapping) else {}
        arguments = () if keywords else tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
        return loss(functional_call(network, values, arguments, keywords), targets)

    return of_one


def _of_one(network: nn.Module, parameters: Mapping[str, torch.Tensor], loss: Loss, sample: Any) -> Gradients:
    inputs, targets = sample
    outcome = loss(call(network, inputs), targets)
    gradients = torch.autograd.grad(outcome, list(parameters.values()), allow_unused=True)
    found = zip(parameters.items(), gradients, strict=True)
    return {n: (torch.zeros_like(p) if g is None else g).detach().float()[None] for (n, p), g in found}
