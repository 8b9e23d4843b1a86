"""Data sets of the kinds that people bring, all of the same 40 samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset, IterableDataset

COUNT, CLASSES = 40, 5
X = torch.randn(COUNT, 6, generator=torch.Generator().manual_seed(0))
Z = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(1))
Y = torch.arange(COUNT) % CLASSES
IDS = torch.randint(0, 50, (COUNT, 7), generator=torch.Generator().manual_seed(2))
MASK = torch.ones(COUNT, 7, dtype=torch.long)


class Mapped(Dataset):
    """A map-style data set made of a function of the place; counts its readings."""

    def __init__(self, function, count: int = COUNT) -> None:
        self.function, self.count, self.reads = function, count, []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, row: int):
        if not 0 <= row < self.count:
            raise IndexError(row)
        self.reads.append(row)
        return self.function(row)


class Streamed(IterableDataset):
    """An iterable data set without a length."""

    def __init__(self, function, count: int = COUNT) -> None:
        self.function, self.count = function, count

    def __iter__(self):
        return (self.function(row) for row in range(self.count))


class Column:
    """What a pandas Series or DataFrame is to us: something with ``to_numpy``."""

    def __init__(self, values) -> None:
        self.values = np.asarray(values)

    def to_numpy(self):
        return self.values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, key):
        return self.values[key]


class Table:
    """What a Hugging Face ``datasets.Dataset`` is to us: rows as dicts of plain Python values."""

    def __init__(self, columns) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, key):
        return {name: values[key] for name, values in self.columns.items()}


TABLE = Table(
    {"text": ["words"] * COUNT, "input_ids": IDS.tolist(), "attention_mask": MASK.tolist(), "label": Y.tolist()}
)


def plain_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, CLASSES)).eval()


class TwoInputs(nn.Module):
    """Takes two inputs, told apart by their widths."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 16), nn.Linear(3, 16), nn.Linear(16, CLASSES)

    def forward(self, left, right):
        return self.head(torch.relu(self.first(left) + self.second(right)))


class Bag(nn.Module):
    """A text classifier as those of transformers are called; takes its targets too, as these do."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.hidden, self.head = nn.Embedding(50, 8), nn.Linear(8, 16), nn.Linear(16, CLASSES)

    def forward(self, input_ids, attention_mask, labels=None):
        mask = attention_mask.unsqueeze(-1).float()
        mean = (self.embedding(input_ids) * mask).sum(1) / mask.sum(1)
        return self.head(torch.relu(self.hidden(mean)))


def padded(samples) -> dict[str, torch.Tensor]:
    """Collate rows of ``TABLE``, cut to differing lengths, as a tokenizer's padding does."""
    lengths = [3 + sample["label"] % 4 for sample in samples]
    ids = [torch.tensor(sample.pop("input_ids")[:length]) for sample, length in zip(samples, lengths, strict=True)]
    return {
        "input_ids": nn.utils.rnn.pad_sequence(ids, batch_first=True),
        "attention_mask": nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": torch.tensor([sample["label"] for sample in samples]),
    }
