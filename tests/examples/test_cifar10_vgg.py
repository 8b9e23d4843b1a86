from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from espalier.evaluators.task.task_checks import check_task
from espalier.evaluators.task.task_loading import load_task
from espalier.examples import cifar10_self_trained
from espalier.examples.cifar10_vgg import NETWORK, VGG
from espalier.spaces.graph.trace import trace


def test_the_network_is_plain_and_every_width_but_the_classes_can_be_cut() -> None:
    network = VGG((4, 6, 8)).eval()
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert [(group.channels, group.branch) for group in trace(network, torch.zeros(1, 3, 32, 32)).groups] == [
        (4, None),
        (6, None),
        (8, None),
    ]


def test_the_task_is_whole_and_is_not_trained_before_its_network_is_asked_for(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10_self_trained, "train", lambda *_: pytest.fail("trained"))
    task = load_task("cifar10-vgg", data=data)
    assert task.name == task.reference == "cifar10-vgg"
    save_file(VGG().state_dict(), data / NETWORK.weights)
    assert not task.model().training
    check_task(task)
