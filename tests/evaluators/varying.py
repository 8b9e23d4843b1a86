"""Small networks whose inputs vary in size, and data of several sizes for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

WORDS = 20


@dataclass
class Classified:
    """What a text network returns, as Hugging Face's do."""

    logits: torch.Tensor
    hidden: tuple[torch.Tensor, ...]
    loss: torch.Tensor | None = None


class Text(nn.Module):
    """An encoder over padded words; it takes a dict and returns an object with keys."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 16), nn.Embedding(32, 16)
        self.encoder = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> Classified:
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1]))
        x = self.encoder(x, src_key_padding_mask=attention_mask == 0)
        kept = attention_mask[..., None].float()
        return Classified(self.head((x * kept).sum(1) / kept.sum(1)), (x * kept,))


class Tagger(nn.Module):
    """A recurrent network with an output for each word."""

    def __init__(self, kind: type[nn.Module] = nn.GRU) -> None:
        super().__init__()
        self.words, self.rnn = nn.Embedding(WORDS, 8), kind(8, 12, batch_first=True, bidirectional=True)
        self.head = nn.Linear(24, 4)

    def forward(self, words: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.words(words))[0])


class Gpt(nn.Module):
    """One block of a GPT, its causal mask cut from a buffer."""

    def __init__(self, width: int = 16, heads: int = 4) -> None:
        super().__init__()
        self.heads, self.words, self.places = heads, nn.Embedding(WORDS, width), nn.Embedding(32, width)
        self.attend, self.mixed, self.norm = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width)
        self.head = nn.Linear(width, WORDS)
        self.register_buffer("mask", torch.tril(torch.ones(32, 32)).bool())

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        batch, length = ids.shape
        x = self.words(ids) + self.places(torch.arange(length))
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.attend(self.norm(x)).chunk(3, -1)
        )
        scores = (q @ k.transpose(-1, -2)).masked_fill(~self.mask[:length, :length], -1e4)
        return self.head(x + self.mixed((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, length, -1)))


class Detector(nn.Module):
    """Two scales, joined by an upsampling, each with boxes and scores; one output for each place."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.scores, self.boxes = nn.Conv2d(8, 3, 1), nn.Conv2d(8, 4, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        fine = F.relu(self.first(images))
        coarse = F.relu(self.second(fine))
        fine = fine + F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
        count = images.shape[0]

        def by_place(head: nn.Module, width: int) -> torch.Tensor:
            return torch.cat([head(x).permute(0, 2, 3, 1).reshape(count, -1, width) for x in (fine, coarse)], 1)

        return {"scores": by_place(self.scores, 3), "boxes": by_place(self.boxes, 4)}


class Pair(nn.Module):
    """Two sequences of one length, in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 8), nn.Linear(6, 8)

    def forward(self, audio: torch.Tensor, video: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = self.left(audio) * self.right(video)
        return x, x.mean(1)


class FixedView(nn.Module):
    """A batch written into the forward pass, which no exporter can make any other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return y * float(len(y.tolist()))


class Branches(nn.Module):
    """One of two heads, by the values of the input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.near, self.far = nn.Linear(8, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return self.near(y) if x.sum() > 0 else self.far(y)


class Eigenvalues(nn.Module):
    """An operator without an ONNX form."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(x.view(-1, 4, 4)).real


class NumPy(nn.Module):
    """Computes past PyTorch, so that a trace holds the result as a constant."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(x.detach().numpy() ** 2)


def made(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network with weights that are the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def words(batch: int, length: int) -> torch.Tensor:
    """Return word numbers, shape ``(batch, length)``."""
    return torch.randint(0, WORDS, (batch, length), generator=torch.Generator().manual_seed(batch + 31 * length))


def padded(batch: int, length: int) -> dict[str, torch.Tensor]:
    """Return words with their mask: each row is one word longer than the one before."""
    lengths = torch.arange(batch) % length + 1
    return {"input_ids": words(batch, length), "attention_mask": (torch.arange(length) < lengths[:, None]).long()}


def normal(*shape: int) -> torch.Tensor:
    """Return normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


class Batched(DataLoader[Any]):
    """Batches of different sizes, as a collate function that pads makes them."""

    def __init__(self, inputs: Sequence[Any], rows: int) -> None:
        super().__init__(range(rows * len(inputs)), batch_size=rows)  # pyright: ignore[reportArgumentType]
        self._made = [(each, torch.arange(rows) % 3) for each in inputs]

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return iter(self._made)
