"""The forms in which random networks give what they computed."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

Two = namedtuple("Two", ("first", "second"))


@dataclass
class Prediction:
    """A dataclass as networks return them."""

    logits: torch.Tensor
    features: torch.Tensor | None = None


class Holder:
    """A plain object, its tensors in attributes."""

    def __init__(self, scores: torch.Tensor, others: list[torch.Tensor]) -> None:
        self.scores = scores
        self.others = others


Form = Callable[[torch.Tensor, torch.Tensor], Any]
"""From what a head gave, and what it was given, to what the network returns."""

FORMS: dict[str, Form] = {
    "tensor": lambda y, _: y,
    "tuple": lambda y, x: (y, x),
    "list": lambda y, x: [y, x.mean(-1)],
    "dict": lambda y, x: {"logits": y, "hidden": x},
    "nested": lambda y, x: {"scores": (y, [y.softmax(-1)]), "sum": x.sum(-1)},
    "namedtuple": lambda y, x: Two(y, x),
    "dataclass": lambda y, _: Prediction(y),
    "object": lambda y, x: Holder(y, [x]),
    "numbers": lambda y, _: y.argmax(-1),
    "numbers_too": lambda y, _: (y, y.argmax(-1)),
    "best": lambda y, _: y.max(-1),
    "leading": lambda y, _: y.topk(2, -1),
    "expected": lambda y, _: (y.softmax(-1) * torch.arange(y.shape[-1])).sum(-1),
    "one_hot": lambda y, _: torch.nn.functional.one_hot(y.argmax(-1), y.shape[-1]),
    "probabilities": lambda y, _: y.sigmoid(),
}
