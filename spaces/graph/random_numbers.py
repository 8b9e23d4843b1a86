"""Random numbers that a network draws while it runs: the same for two networks that are compared.

Each draw is seeded by its number in the run, so that one of another size shifts no other. Where a pruned network draws
fewer, because the size follows a width, the numbers are made alike along that dimension in both networks: what is
compared are then the channels that stay, with the same noise on both sides.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

_SEED = 20260411
_LAWS = {
    "uniform": ("from", "to"),
    "exponential": ("lambd",),
    "log_normal": ("mean", "std"),
    "cauchy": ("median", "sigma"),
    "geometric": ("p",),
}
"""In-place draws and their arguments."""
Shape = tuple[int, ...]


@contextmanager
def seeded(seed: int = _SEED) -> Iterator[None]:
    """Seed PyTorch's, NumPy's and Python's own generators, and give all of them back as they were."""
    before, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 - a network's forward may use it
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numbers)  # noqa: NPY002


@dataclass
class Draws:
    """The shapes of what a network draws in one run, in order."""

    shapes: list[Shape] = field(default_factory=list)
    unaligned: bool = False
    """Whether numbers were drawn whose count differs between the networks in a way that cannot be made alike."""


class SeededDraws(TorchDispatchMode):
    """Seeds every draw by its number.

    Args:
        like: what the other network draws; where its shapes differ the numbers are alike along those dimensions.
    """

    def __init__(self, like: Draws | None = None) -> None:
        super().__init__()
        self.draws = Draws()
        self._like = like

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # see coupling.track

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        if not self._own():
            # The network seeds its own numbers: they are constants, which stand each at its place.
            return func(*args, **kwargs)
        number = len(self.draws.shapes)
        torch.default_generator.manual_seed(_SEED + number)
        out = func(*args, **kwargs)
        first = out if isinstance(out, torch.Tensor) else out[0]
        self.draws.shapes.append(tuple(first.shape))
        if isinstance(out, torch.Tensor):
            return self._aligned(number, func, args, kwargs, out)
        self.draws.unaligned |= self._other(number, first) != tuple(first.shape)
        return out

    def _own(self) -> bool:
        return _SEED <= torch.default_generator.initial_seed() <= _SEED + len(self.draws.shapes)

    def _other(self, number: int, out: torch.Tensor) -> Shape:
        """Return the shape of the other network's draw."""
        shapes = [] if self._like is None else self._like.shapes
        return shapes[number] if number < len(shapes) else tuple(out.shape)

    def _aligned(self, number: int, func: Any, args: Any, kwargs: Any, out: torch.Tensor) -> torch.Tensor:
        """Return the numbers drawn anew, in the order of the places: PyTorch goes by where they lie in memory, which
        need not be the same in both networks."""
        other = self._other(number, out)
        given = _arguments(func, args, kwargs)
        drawn = self._redrawn(number, func, given, out, other) if len(other) == out.dim() else None
        if drawn is None:
            self.draws.unaligned |= other != tuple(out.shape)
            return out
        return out.copy_(drawn)

    def _redrawn(self, number: int, func: Any, given: dict[str, Any], out: torch.Tensor, other: Shape) -> Any:
        """Return numbers of the same kind, alike along the dimensions in which the sizes differ, if that is known."""
        name = func.overloadpacket.__name__.rstrip("_")
        base = [size if size == wanted else 1 for size, wanted in zip(out.shape, other, strict=True)]
        small = torch.empty(base, dtype=out.dtype if out.is_floating_point() else torch.float32, device=out.device)
        generator = torch.Generator(out.device).manual_seed(_SEED + number)
        if name in _LAWS:
            law = [given[part] for part in _LAWS[name] if part in given]
            return getattr(small, f"{name}_")(*law, generator=generator).expand(out.shape)
        if name in ("randn", "randn_like", "normal"):
            noise = small.normal_(generator=generator).expand(out.shape)
            return noise * given.get("std", 1.0) + given.get("mean", 0.0)
        share = small.uniform_(generator=generator).expand(out.shape)
        if name == "bernoulli":
            return share < given.get("p", given["self"])
        if name in ("rand", "rand_like"):
            return share
        if name in ("randint", "randint_like") and "high" in given:
            low = given.get("low", 0)
            return (low + share * (given["high"] - low)).floor()
        return None


def _arguments(func: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the arguments of an operation by their names, those left out by their defaults."""
    found = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()}
    return {**found, **dict(zip((a.name for a in func._schema.arguments), args, strict=False)), **kwargs}
