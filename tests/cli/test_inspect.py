"""``inspect`` as the doctor: what it says of networks that are well, and of those that are not."""

from __future__ import annotations

import json

import pytest

TASKS = '''
"""Networks with something the matter."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from espalier.evaluators.task.task import Task

x, y = torch.randn(64, 8, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3


class Locked(nn.Linear):
    def __deepcopy__(self, memo):
        raise RuntimeError("this network holds a lock")


class Leftovers(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.narrow, self.head = nn.Linear(8, 512), nn.Linear(512, 4), nn.Linear(4, 3)
        self.auxiliary, self.unused = nn.Linear(8, 5), nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.head(F.relu(self.narrow(F.relu(self.wide(x)))))


def mlp():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))


def task_of(network, **more):
    return Task(name="odd", model=lambda: network().eval(), example_input=torch.zeros(1, 8), train=(x, y),
                validation=(x, y), test=None, **more)


only_outputs = task_of(lambda: nn.Linear(8, 3))
all_frozen = task_of(mlp, freeze=("0",))
locked = task_of(lambda: Locked(8, 3))
leftovers = task_of(Leftovers)
scripted = task_of(lambda: torch.jit.script(mlp()))
compiled = task_of(lambda: torch.compile(mlp()))
'''


@pytest.fixture(scope="session")
def odd_tasks(tmp_path_factory):
    path = tmp_path_factory.mktemp("odd") / "odd.py"
    path.write_text(TASKS)
    return path


def test_a_network_that_is_well(espalier, tiny_task):
    result = espalier("inspect", tiny_task, "--device", "cortex-m4")
    assert result.code == 0
    out = result.out.replace("\u202f", " ")
    assert "clouds on cortex-m4: traced, 2 groups can be pruned.\n" in out
    assert "What pruning channels reaches" in out
    assert "faster (roofline)" in out
    assert "Never used" not in out


def test_what_can_be_reached_at_most_is_counted_by_hand(espalier, tiny_task):
    found = json.loads(espalier("inspect", tiny_task, "--json", "--device", "cortex-m4").out)
    assert found["diagnosis"] == {"traceable": True, "prunable": True, "effective": True, "why": "", "remedy": ""}
    most, half = found["reachable"]
    assert (most["name"], half["name"]) == ("most pruned", "uniform 0.5")
    # Widths 8-n-n-3, each n a multiple of 4 on this device: weights, biases, and the first layer's BatchNorm.
    for reached, n in ((most, 4), (half, 16)):
        assert reached["params"] == 8 * n + n + 2 * n + n * n + n + 3 * n + 3
        assert reached["macs"] == 8 * n + n * n + 3 * n
        assert reached["times_less"]["params"] == found["dense"]["params"] / reached["params"]
        assert reached["times_less"]["latency_ms"] == found["dense"]["latency_ms"] / reached["latency_ms"] > 1
        assert reached["source"] == "roofline"
        assert reached["latency_low"] < reached["latency_ms"] < reached["latency_high"]
    first, second = (group["effect"] for group in found["groups"])
    assert (first["kept"], first["macs_removed"]) == (4, 28 * 8 + 28 * 32)
    assert (second["kept"], second["macs_removed"]) == (4, 28 * 32 + 28 * 3)
    assert first["has_effect"]
    assert first["latency_change"] < 0
    assert found["fixed_params"] == 3  # the output layer's bias
    assert (found["unused_layers"], found["unused_params"]) == ([], 0)


def test_where_outputs_are_all_there_is_nothing_can_be_pruned(espalier, odd_tasks):
    result = espalier("inspect", f"{odd_tasks}:only_outputs", "--device", "cortex-m4")
    assert result.code == 1
    assert "nothing in it can be pruned: all its channels are outputs" in result.out
    again = espalier("inspect", f"{odd_tasks}:only_outputs", "--json")
    found = json.loads(again.out)
    assert again.code == 1
    assert (found["diagnosis"]["traceable"], found["diagnosis"]["prunable"]) == (True, False)
    assert (found["groups"], found["reachable"], found["fixed_params"]) == ([], [], 27)
    assert found["dense"]["latency_ms"] > 0


def test_what_stands_in_the_way_is_named_with_what_to_do(espalier, odd_tasks):
    result = espalier("inspect", f"{odd_tasks}:all_frozen", "--json", "--device", "cortex-m4")
    found = json.loads(result.out)
    assert result.code == 1
    assert found["diagnosis"]["why"].endswith("because the task freezes 0")
    assert "freeze=" in found["diagnosis"]["remedy"]
    assert "freeze=" in found["frozen"][0]["remedy"]


def test_a_network_that_cannot_be_traced_says_why(espalier, odd_tasks):
    result = espalier("inspect", f"{odd_tasks}:locked", "--device", "cortex-m4")
    assert result.code == 2
    assert "the network cannot be copied" in result.err
    assert "this network holds a lock" in result.err


def test_narrow_groups_and_unused_layers_are_told(espalier, odd_tasks):
    result = espalier("inspect", f"{odd_tasks}:leftovers", "--device", "cortex-m4")
    assert result.code == 0
    assert "Never used in the forward pass" in result.out
    found = json.loads(espalier("inspect", f"{odd_tasks}:leftovers", "--json", "--device", "cortex-m4").out)
    assert found["channel_multiple"] == 4
    wide, narrow = found["groups"]
    assert wide["effect"]["has_effect"]
    assert not narrow["effect"]["has_effect"]
    assert (narrow["widths"], narrow["effect"]["kept"], narrow["effect"]["macs_removed"]) == ([4], 4, 0)
    assert "multiples of 4" in narrow["effect"]["why"]
    assert sorted(found["unused_layers"]) == ["auxiliary", "unused"]
    assert found["unused_params"] == 8 * 5 + 5 + 4
    assert found["fixed_params"] == 8 * 5 + 5 + 4 + 3


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize("name", ["scripted", "compiled"])
def test_scripted_and_compiled_networks_are_refused(espalier, odd_tasks, name):
    result = espalier("inspect", f"{odd_tasks}:{name}")
    assert result.code == 2
    assert f"is {name}" in result.err
    assert "plain nn.Module" in result.err
