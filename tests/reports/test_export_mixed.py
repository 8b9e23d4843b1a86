"""A policy of several pruning types at int8, from the search to a verified export."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from espalier import Policy, Task, load, load_task, run_search, trace, verify
from espalier.reports.export import export
from espalier.spaces.architectures.branches import Absent
from espalier.spaces.policy import Choice


class Blocks(nn.Module):
    """Two residual blocks of 16 channels on images of 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.first1, self.first2 = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.second1, self.second2 = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)
        self.head = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem_bn(self.stem(x)))
        x = F.relu(x + self.first2(F.relu(self.first1(x))))
        x = F.relu(x + self.second2(F.relu(self.second1(x))))
        return self.head(x.mean((2, 3)))


def _network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Blocks().eval()


def _data(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(128) % 2
    images = torch.randn(128, 1, 8, 8, generator=generator)
    images[targets == 1, :, ::2] += 1.5
    return images, targets


@pytest.fixture(scope="module")
def task() -> Task:
    return Task(
        name="blocks",
        model=_network,
        example_input=torch.zeros(1, 1, 8, 8),
        train=_data(0),
        validation=_data(1),
        test=_data(2),
        batch_size=32,
        learning_rate=0.02,
    )


@pytest.mark.slow
def test_channels_patterns_and_a_dropped_block_at_int8_are_searched_exported_and_verified(task, tmp_path):
    run = run_search(
        task,
        out=tmp_path / "run",
        trials=25,
        types=("channel", "block", "nm"),
        precision=("int8",),
        objectives=("accuracy", "macs"),
        sampler="random",
        samples=64,
        seed=1,
    )
    kinds = {c.trial: {choice.type for choice in c.policy.choices.values()} for c in run.configurations}
    assert any({"block", "nm"} <= found for found in kinds.values())
    assert any({"block", "channel"} <= found for found in kinds.values())
    dropped = [c for c in run.front.configurations if "block" in kinds[c.trial]]
    assert dropped, "a network without a branch has the fewest MACs of its width, so the front must hold one"
    member = dropped[0]
    export(run, member.trial, tmp_path / "export", task=task)
    found = verify(tmp_path / "export", task=task)
    # A network of 0.02 ms beside other tests: its timing is judged by tests of their own.
    failed = [check for check in found.checks if not check.passed and check.name != "latency_ms"]
    assert not failed
    small = load(tmp_path / "export", task=task)
    gone = [name for name, module in small.named_modules() if isinstance(module, Absent)]
    assert gone == [f"{name[:-1]}2" for name, choice in member.policy.choices.items() if choice.type == "block"]
    assert (tmp_path / "export" / "model.int8.onnx").exists()


@pytest.mark.slow
@pytest.mark.data
def test_a_policy_of_ones_own_of_all_kinds_is_searched_exported_and_verified_on_cifar10(data_folder, tmp_path):
    task = load_task("cifar10-resnet8", data=data_folder)
    graph = trace(task.model().eval(), task.example_input)
    own = Policy.of(
        graph,
        {
            "b1.conv1": Choice("block", None, 0, 1),
            "b2.conv1": Choice.channel(kept=16, of=32, criterion="l2"),
            "b3.conv2": Choice("nm", "l1", 2, 4),
        },
        precision="int8",
    )
    run = run_search(
        task,
        out=tmp_path / "run",
        trials=2,
        threads=1,
        samples=256,
        types=("channel", "block", "nm"),
        precision=("fp32", "int8"),
        start=[own],
    )
    assert [str(t.origin) for t in run.trials] == ["given 1", "dense"]
    member = next(c for c in run.front.configurations if c.trial == 0)
    assert member.policy == own
    assert member.metrics["size_bytes"] < member.metrics["dense_size_bytes"]
    export(run, 0, tmp_path / "export", task=task)
    found = verify(tmp_path / "export", task=task)
    # How fast a network runs beside other tests is judged by tests of their own.
    assert not [check for check in found.checks if not check.passed and check.name != "latency_ms"]
    small = load(tmp_path / "export", task=task)
    assert isinstance(small.get_submodule("b1.bn2"), Absent)
    assert small.get_submodule("b2.conv1").out_channels == 16
    columns = small.get_submodule("b3.conv2").weight.detach().permute(0, 2, 3, 1).flatten(1)
    blocks = columns.reshape(len(columns), -1, 4)
    assert bool(((blocks != 0).sum(-1) <= 2).all())
