"""Training in bfloat16."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from espalier.evaluators.training import mixed_precision
from espalier.evaluators.training.mixed_precision import MixedPrecision, trains_in_bfloat16


class Doubled(nn.Module):
    """Refuses bfloat16 as operators without such a kernel do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.linear(x)
        if x.dtype == torch.bfloat16:
            raise RuntimeError("\"doubled\" not implemented for 'BFloat16'")
        return 2 * x


@pytest.fixture
def enabled(monkeypatch):
    # PyTorch emulates bfloat16 where the processor lacks it: slow, and right.
    monkeypatch.setattr(mixed_precision, "trains_in_bfloat16", lambda: True)


def test_outputs_and_gradients_are_fp32_and_near_those_of_fp32(enabled):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4))
    x = torch.randn(8, 16)
    out = MixedPrecision(model)(x)
    assert out.dtype == torch.float32
    assert not torch.equal(out, model(x))  # else nothing ran in bfloat16
    torch.testing.assert_close(out, model(x), rtol=0.05, atol=0.02)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


def test_a_network_that_knows_no_bfloat16_trains_in_fp32_with_a_warning(enabled):
    model = Doubled()
    forward = MixedPrecision(model)
    x = torch.randn(3, 4)
    with pytest.warns(UserWarning, match="does not run in bfloat16"):
        first = forward(x)
    assert torch.equal(first, model(x))
    assert torch.equal(forward(x), first)


def test_an_error_that_is_the_networks_own_is_raised(enabled):
    with pytest.raises(RuntimeError, match="shapes"):
        MixedPrecision(nn.Linear(4, 2))(torch.randn(3, 5))


@pytest.mark.skipif(trains_in_bfloat16(), reason="this processor has tile instructions for bfloat16")
def test_without_tile_instructions_training_is_fp32():
    model, x = nn.Linear(4, 2), torch.randn(3, 4)
    assert torch.equal(MixedPrecision(model)(x), model(x))
