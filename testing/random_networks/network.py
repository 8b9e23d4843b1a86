"""A random network: layers that follow one another and join, then a head and an output of some form."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import torch
from torch import nn

from .layers import Join, Lambda
from .outputs import FORMS
from .steps import Shape, steps_for

_INPUTS: tuple[Shape, ...] = ((3, 8, 8), (1, 16, 16), (5, 6), (7, 8), (12,))


class RandomNetwork(nn.Module):
    """Layers in a row, each of which reads one or two values that came before.

    Args:
        layers: in order.
        sources: for each layer, the numbers of the values that it reads: 0 is the input, ``i + 1`` layer ``i``.
        head: reads the last value.
        form: in which the output is given: a name of :data:`~.outputs.FORMS`.
        auxiliary: a second head, in training mode only, and the number of the value that it reads.
        shape: of the input, without the batch.
    """

    def __init__(
        self,
        layers: Sequence[nn.Module],
        sources: Sequence[tuple[int, ...]],
        head: nn.Module,
        form: str,
        *,
        auxiliary: tuple[int, nn.Module] | None,
        shape: Shape,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.head = head
        self.auxiliary = None if auxiliary is None else auxiliary[1]
        self.read_by_auxiliary = 0 if auxiliary is None else auxiliary[0]
        self.sources = tuple(sources)
        self.form = form
        self.shape = shape

    @property
    def example_input(self) -> torch.Tensor:
        """A batch of one."""
        return torch.zeros(1, *self.shape)

    def forward(self, x: torch.Tensor) -> Any:
        """Return what the head makes of the last value, in the network's form."""
        values = [x]
        for layer, sources in zip(self.layers, self.sources, strict=True):
            values.append(layer(*(values[i] for i in sources)))
        found = FORMS[self.form](self.head(values[-1]), values[-1])
        if self.training and self.auxiliary is not None:
            return found, self.auxiliary(values[self.read_by_auxiliary])
        return found

    def extra_repr(self) -> str:
        """Tell what is not to be seen in the layers."""
        return f"form={self.form}, sources={self.sources}, shape={self.shape}"


def random_network(seed: int, *, depth: int = 8) -> RandomNetwork:
    """Return the network of a seed, in eval mode; the random state of the caller stays as it is.

    Args:
        seed: names the network: the same one gives the same network.
        depth: how many layers come before the head.
    """
    draw = Random(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _drawn(draw, depth).eval()


def _drawn(draw: Random, depth: int) -> RandomNetwork:
    shape = draw.choice(_INPUTS)
    layers: list[nn.Module] = []
    sources: list[tuple[int, ...]] = []
    values = [torch.randn(2, *shape)]
    while len(layers) < depth:
        layer, read = _next(draw, values)
        made = _run(layer, [values[i] for i in read])
        if made is not None:
            layers.append(layer)
            sources.append(read)
            values.append(made)
    auxiliary = None
    if draw.random() < 0.25:
        number = draw.randrange(1, len(values))
        auxiliary = number, _head(draw, values[number])
    head = _head(draw, values[-1])
    form = draw.choice(["tensor", "tensor", *FORMS])
    return RandomNetwork(layers, sources, head, form, auxiliary=auxiliary, shape=shape)


def _next(draw: Random, values: list[torch.Tensor]) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a layer and what it reads: mostly the last value, now and then two."""
    last = len(values) - 1
    here = values[last]
    partners = [i for i, v in enumerate(values[:-1]) if i and v.dim() == here.dim()]
    same = [i for i in partners if values[i].shape == here.shape]
    dim = 1 if here.dim() == 4 else here.dim() - 1
    beside = [i for i in partners if _but(values[i].shape, dim) == _but(here.shape, dim)]
    if same and draw.random() < 0.3:
        return Join(draw.choice(("add", "add", "mul", "max", "sub")), dim), (last, draw.choice(same))
    if beside and draw.random() < 0.2:
        return Join("cat", dim), (last, draw.choice(beside))
    while True:
        layer = draw.choice(steps_for(tuple(here.shape[1:])))(draw, tuple(here.shape[1:]))
        if layer is not None:
            return layer, (last,)


def _but(shape: torch.Size, dim: int) -> tuple[int, ...]:
    return (*shape[:dim], *shape[dim + 1 :])


def _run(layer: nn.Module, inputs: list[torch.Tensor]) -> torch.Tensor | None:
    """Return what a layer makes of values, or ``None`` where it is too large to go on with."""
    with torch.no_grad():
        made = layer(*(t.clone() for t in inputs))
    return made if made[0].numel() <= 2048 and made.isfinite().all() else None


def _head(draw: Random, value: torch.Tensor) -> nn.Module:
    classes = draw.choice((3, 5))
    if value.dim() == 4 and draw.random() < 0.3:
        return nn.Conv2d(value.shape[1], classes, 1)
    if value.dim() == 4:
        return nn.Sequential(Lambda(draw.choice(("mean", "peak"))), nn.Linear(value.shape[1], classes))
    return nn.Linear(value.shape[-1], classes)
