"""Parity proves something or fails: what compares nothing, or the same constant throughout, is no proof."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from espalier.reports.parity import parity, torch_forward

INPUTS = [torch.ones(1, 4), 2 * torch.ones(1, 4)]


class Giving(nn.Module):
    def __init__(self, form) -> None:
        super().__init__()
        self.form = form

    def forward(self, x):
        return self.form(x)


@dataclass
class Held:
    values: torch.Tensor


@pytest.mark.parametrize(
    ("form", "fault"),
    [
        (lambda x: None, "no output"),
        (lambda x: x[:, :0], "no output"),
        (lambda x: torch.zeros(1, 3), "the same on 4 different inputs"),
        (lambda x: x + torch.randn_like(x), "no output"),
    ],
)
def test_what_compares_nothing_does_not_pass(form, fault):
    network = Giving(form)
    found = parity(network, torch_forward(network), random_inputs=INPUTS, real_inputs=INPUTS)
    assert not found.passed
    assert fault in found.fault


def test_random_outputs_are_left_out_and_others_compared():
    network = Giving(lambda x: (x + torch.randn_like(x), x * 2))
    assert parity(network, torch_forward(network, seed=7), random_inputs=INPUTS, real_inputs=INPUTS).passed
    other = torch_forward(Giving(lambda x: (x, x * 2.1)))
    assert not parity(network, other, random_inputs=INPUTS, real_inputs=INPUTS).passed


def test_outputs_in_an_object_are_compared():
    network = Giving(Held)
    assert parity(network, torch_forward(network), random_inputs=INPUTS, real_inputs=[]).passed
    assert not parity(network, lambda x: [x.numpy() + 1], random_inputs=INPUTS, real_inputs=[]).passed


def test_other_shapes_are_told():
    network = Giving(lambda x: x)
    found = parity(network, lambda x: [x.numpy()[:, :2]], random_inputs=INPUTS, real_inputs=[])
    assert found.fault == "outputs of shapes (1, 2), of PyTorch (1, 4)"
