"""What pruning reaches at most and where it has no effect, with a cost model whose numbers are known."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from espalier.evaluators.counting import count_macs, count_params
from espalier.evaluators.hardware import cost_model_for, load_device
from espalier.evaluators.hardware.roofline import RooflineModel
from espalier.reports.diagnosis import diagnose, untraceable
from espalier.reports.pruning_potential import NOISE, pruning_potential
from espalier.spaces import trace
from espalier.spaces.graph.freeze_reasons import FreezeCode
from espalier.spaces.graph.groups import FrozenGroup, Graph


class Dawdling(RooflineModel):
    """A machine that is slow whatever it runs, by a clock that is late by 1 % at each second look."""

    source = "measured"

    def __init__(self, device, waiting_ms):
        super().__init__(device)
        self.waiting_ms, self.looks = waiting_ms, 0

    def estimate(self, model, example_input, *, precision="fp32", onnx=None):
        cost = super().estimate(model, example_input, precision=precision, onnx=onnx)
        self.looks += 1
        late = 1.01 if self.looks % 2 else 1.0
        return dataclasses.replace(cost, latency_ms=late * (cost.latency_ms + self.waiting_ms), source=self.source)


@pytest.fixture(scope="module")
def network():
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


@pytest.fixture(scope="module")
def image():
    return torch.zeros(1, 3, 12, 12)


def test_the_most_pruned_network_is_the_one_with_every_group_at_one_multiple(network, image):
    costs = cost_model_for(load_device("cortex-m4"))
    graph = trace(network, image)
    found = pruning_potential(network, graph, image, costs)
    most = found.reached[0]
    small = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    assert (most.macs, most.params) == (count_macs(small, image), count_params(small))
    assert most.latency_ms == pytest.approx(costs.estimate(small, image).latency_ms)
    assert [(e.group, e.kept, e.has_effect) for e in found.effects] == [("0", 4, True), ("2", 4, False)]
    assert diagnose(graph, found.effects).effective


def test_what_hides_in_the_noise_has_no_effect(network, image):
    graph = trace(network, image)
    quick = pruning_potential(network, graph, image, Dawdling(load_device("cortex-m4"), 0.0)).effects[0]
    assert quick.has_effect
    assert quick.latency_change is not None
    assert quick.latency_change < -NOISE
    lost = pruning_potential(network, graph, image, Dawdling(load_device("cortex-m4"), 1e5)).effects
    assert not lost[0].has_effect
    assert "cannot be told from noise" in lost[0].why
    assert lost[0].macs_removed == quick.macs_removed > 0
    diagnosis = diagnose(graph, lost)
    assert (diagnosis.prunable, diagnosis.effective) == (True, False)


def test_the_given_network_stays_as_it_was(network, image):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    pruning_potential(network, trace(network, image), image, cost_model_for(load_device("cortex-m4")))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_the_reason_that_holds_most_channels_is_told():
    frozen = (
        FrozenGroup.because(FreezeCode.OUTPUT.because(), "head", ("head",), 1000),
        FrozenGroup.because(FreezeCode.TASK.because(layers="a"), "a", ("a",), 8),
        FrozenGroup.because(FreezeCode.DOES_NOT_RUN.because(fault="shape '[1, 64]' is invalid"), "b", ("b",), 64),
    )
    found = diagnose(Graph((), frozen, ""), ())
    assert found.why.startswith("64 channels may not go because the pruned network does not run")
    assert "x.shape" in found.remedy
    assert "convolution" in diagnose(Graph((), (), ""), ()).why


def test_a_network_that_is_not_traced_is_told_with_the_first_line_of_the_error():
    assert "ValueError: no" in untraceable(ValueError("no\nreally")).why
