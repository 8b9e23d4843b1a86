"""A regression: numbers in, one number out, judged by its error in the target's unit. Copy it, put yours in, and run

    espalier inspect examples/regression.py:task
    espalier search examples/regression.py:task --device host --out runs/regression

Here a small network tells from ten measurements of a patient how far diabetes has gone a year later (B. Efron et al.,
"Least Angle Regression", Annals of Statistics 32(2), 2004, its 442 patients as scikit-learn ships them).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_diabetes
from torch import nn

from espalier import Task

measurements, progression = load_diabetes(return_X_y=True)
x = torch.tensor(measurements, dtype=torch.float32) * len(measurements) ** 0.5
y = torch.tensor(progression, dtype=torch.float32).unsqueeze(1)  # (N, 1), as the network's output
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
train, validation, test = ((x[part], y[part]) for part in order.split([242, 100, 100]))


class Regressor(nn.Module):
    """Measurements ``(N, 10)`` to ``(N, 1)``; it works on a standard scale and answers in the target's own unit."""

    def __init__(self, mean: float = 0.0, spread: float = 1.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
        self.mean, self.spread = mean, spread

    def forward(self, measurements: torch.Tensor) -> torch.Tensor:
        return self.layers(measurements) * self.spread + self.mean


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the squared error on the standard scale, so that learning rates do not depend on the target's unit."""
    return F.mse_loss(outputs / train[1].std(), targets / train[1].std())


def trained_network() -> nn.Module:
    """Yours: build the network, then ``network.load_state_dict(load_file("weights.safetensors"))``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Regressor(train[1].mean().item(), train[1].std().item())
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003, weight_decay=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        loss(network(train[0]), train[1]).backward()
        optimizer.step()
    return network.eval()


task = Task(
    name="diabetes",
    model=trained_network,
    example_input=x[:1],
    train=train,
    validation=validation,
    test=test,
    loss=loss,
    metric="rmse",
    unit="points",
    optimizer="adamw",
    batch_size=32,
)
