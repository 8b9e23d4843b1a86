"""A text classifier: a transformer encoder over token ids that are padded batch by batch. To copy; run

    espalier inspect examples/text_classifier.py:task
    espalier search examples/text_classifier.py:task --device host --out runs/text

The sentences are made up here, so that nothing has to be downloaded: reviews of one to three clauses, such as "the food
was not very good but the staff was kind", which are bad, mixed or good by the sum of what their clauses say.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader

from espalier import Task

NOUNS = ["food", "staff", "room", "view", "price", "bed", "garden", "bar"]
GOOD, BAD = ["good", "kind", "clean", "lovely", "fair"], ["bad", "rude", "dirty", "awful", "steep"]
WORDS = ["<pad>", "the", "was", "not", "very", "and", "but", *NOUNS, *GOOD, *BAD]
LONGEST = 32


def sentence(draw: random.Random) -> dict[str, list[int] | int]:
    """Return the token ids of one review, and its label: 0 bad, 1 mixed, 2 good."""
    words, total = [], 0
    for clause in range(draw.randint(1, 3)):
        pleased, negated = draw.random() < 0.5, draw.random() < 0.3
        words += [draw.choice(["and", "but"])] if clause else []
        words += ["the", draw.choice(NOUNS), "was", *["not"] * negated, *["very"] * (draw.random() < 0.3)]
        words += [draw.choice(GOOD if pleased else BAD)]
        total += 1 if pleased != negated else -1
    return {"input_ids": [WORDS.index(word) for word in words], "labels": 1 + (total > 0) - (total < 0)}


def padded(samples: list[dict]) -> dict[str, torch.Tensor]:
    """Collate samples: pad with zeros to the longest of the batch, and mark with ones what is no padding."""
    ids = [torch.tensor(sample["input_ids"]) for sample in samples]
    return {
        "input_ids": nn.utils.rnn.pad_sequence(ids, batch_first=True),
        "attention_mask": nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": torch.tensor([sample["labels"] for sample in samples]),
    }


def loader(count: int, seed: int) -> DataLoader:
    draw = random.Random(seed)
    return DataLoader([sentence(draw) for _ in range(count)], batch_size=64, collate_fn=padded)  # type: ignore[arg-type]


@dataclass
class Output:
    """What the network returns, as those of Hugging Face's transformers do."""

    logits: torch.Tensor
    loss: torch.Tensor | None = None


class Classifier(nn.Module):
    """``input_ids`` and ``attention_mask`` of shape ``(N, L)``, up to 32 tokens, to logits ``(N, 3)``."""

    def __init__(self, width: int = 32, heads: int = 4, neurons: int = 128) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(len(WORDS), width), nn.Embedding(LONGEST, width)
        layer = nn.TransformerEncoderLayer(width, heads, neurons, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 3)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor | None = None
    ) -> Output:
        x = self.words(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
        x = self.norm(self.encoder(x, src_key_padding_mask=attention_mask == 0))
        kept = attention_mask.unsqueeze(-1).to(x.dtype)
        logits = self.head((x * kept).sum(1) / kept.sum(1))
        return Output(logits, None if labels is None else F.cross_entropy(logits, labels))


def trained_network() -> nn.Module:
    """Yours: build the network, then ``network.load_state_dict(load_file("weights.safetensors"))``."""
    network = Classifier()
    network.load_state_dict(trained_weights())
    return network.eval()


@functools.cache
def trained_weights() -> dict[str, torch.Tensor]:
    """Train once; the network is built more often than that."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Classifier()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.005)
    for _ in range(6):
        for batch in train:
            optimizer.zero_grad()
            network(**batch).loss.backward()
            optimizer.step()
    return network.state_dict()


train, validation, test = loader(2000, seed=0), loader(500, seed=1), loader(500, seed=2)
example = padded(train.dataset[:1])  # type: ignore[index]

task = Task(
    name="reviews",
    model=trained_network,
    example_input={name: example[name] for name in ("input_ids", "attention_mask")},
    train=train,
    validation=validation,
    test=test,
    metric="macro-f1",
    batch_size=32,
)
