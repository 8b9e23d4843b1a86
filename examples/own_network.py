"""A task of one's own in one file: copy it, put your network and data in it, and run

    espalier inspect examples/own_network.py:task
    espalier search examples/own_network.py:task --device host --out runs/own

Here a small network tells malignant from benign tumours (W. Wolberg et al., "Breast Cancer Wisconsin (Diagnostic)",
1993, https://doi.org/10.24432/C5DW2B, CC BY 4.0, as scikit-learn ships it). It trains in a second; a real task would
load its weights instead.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from torch import nn

from espalier import Task

measurements, diagnosis = load_breast_cancer(return_X_y=True)
x = F.normalize(torch.tensor(measurements, dtype=torch.float32), dim=0) * len(measurements) ** 0.5
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
train, validation, test = ((x[part], torch.tensor(diagnosis)[part]) for part in order.split([300, 135, 134]))


def trained_network() -> nn.Module:
    """Yours: build the network, then ``network.load_state_dict(load_file("weights.safetensors"))``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(network(train[0]), train[1]).backward()
        optimizer.step()
    return network.eval()


task = Task(
    name="tumours",
    model=trained_network,
    example_input=x[:1],
    train=train,
    validation=validation,
    test=test,
    metric="accuracy",
    batch_size=32,
    learning_rate=0.01,
)
