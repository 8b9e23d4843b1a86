from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from espalier import Task

_SPEC = importlib.util.spec_from_file_location("espalier_test_varying", Path(__file__).with_name("varying.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
sys.modules["espalier_test_varying"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(sys.modules["espalier_test_varying"])


def build_network(width: int = 16) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, 2),
        ).eval()


def stripes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noisy images with rows (class 0) or columns (class 1) lit alternately."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, 2, (count,), generator=generator)
    lit = (torch.arange(8) % 2).float()
    rows, columns = lit.view(8, 1).expand(8, 8), lit.view(1, 8).expand(8, 8)
    images = torch.where(targets.view(-1, 1, 1).bool(), columns, rows)
    return (images + 0.8 * torch.randn(count, 8, 8, generator=generator)).unsqueeze(1), targets


@pytest.fixture
def stripes_task() -> Task:
    return Task(
        name="stripes",
        model=build_network,
        example_input=torch.zeros(1, 1, 8, 8),
        train=stripes(512, 0),
        validation=stripes(200, 1),
        test=stripes(200, 2),
        batch_size=32,
        learning_rate=0.05,
    )
