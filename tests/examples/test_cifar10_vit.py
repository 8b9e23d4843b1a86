from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from espalier.errors import TaskError
from espalier.evaluators.task.task_checks import check_task
from espalier.evaluators.task.task_loading import load_task
from espalier.evaluators.training.fine_tune import fine_tune
from espalier.examples import cifar10_data, cifar10_self_trained, cifar10_training
from espalier.examples.cifar10_training import Recipe
from espalier.examples.cifar10_training import train as train_network
from espalier.examples.cifar10_vit import VIT
from espalier.examples.cifar10_vit_network import Attention, VisionTransformer
from espalier.spaces.graph.trace import trace

SHORT = Recipe(epochs=2, batch_size=16)
train = functools.partial(train_network, VisionTransformer)


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def stop_after(epochs: int) -> Callable[[str], None]:
    """Return what takes a line for each epoch and is interrupted at one of them."""

    def report(line: str) -> None:
        if line.startswith(f"epoch {epochs} "):
            raise KeyboardInterrupt

    return report


def test_the_network_has_the_size_it_promises() -> None:
    network = VisionTransformer().eval()
    assert sum(p.numel() for p in network.parameters()) == 577_610
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_attention_is_pytorchs() -> None:
    own, reference = Attention(12, 3), torch.nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(own.qkv.weight)
        reference.in_proj_bias.copy_(own.qkv.bias)
    reference.out_proj.load_state_dict(own.proj.state_dict())
    x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(own(x), reference(x, x, x)[0], atol=1e-6)


def test_heads_neurons_stem_and_stream_can_be_cut() -> None:
    network = VisionTransformer(width=16, depth=2, heads=4, neurons=12, stem=6).eval()
    channels = {group.name: group.channels for group in trace(network, torch.zeros(1, 3, 32, 32)).groups}
    assert channels == {
        "conv1": 6,  # the stem
        "conv2": 16,  # the stream
        "blocks.0.attention.qkv": 4,  # heads
        "blocks.0.fc1": 12,  # neurons
        "blocks.1.attention.qkv": 4,
        "blocks.1.fc1": 12,
    }


def test_the_task_is_whole_and_is_not_trained_before_its_network_is_asked_for(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cifar10_self_trained, "train", lambda *_: pytest.fail("trained"))
    task = load_task("cifar10-vit", data=data)
    assert task.test is not None
    assert task.name == task.reference == "cifar10-vit"
    assert task.train[0].shape == (40, 3, 32, 32)
    assert task.train[0].dtype == torch.uint8
    save_file(VisionTransformer().state_dict(), data / VIT.weights)
    network = task.model()
    assert not network.training
    check_task(task)
    tuned = fine_tune(network, task, 32, torch.Generator().manual_seed(0))
    assert all(torch.isfinite(tensor).all() for tensor in tuned.state_dict().values())


def test_weights_that_were_handed_on_are_taken(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar10_self_trained, "train", lambda *_: pytest.fail("trained"))
    given = VisionTransformer()
    save_file(given.state_dict(), data / VIT.weights)
    assert same(VIT.network(data, SHORT), given)


def test_weights_that_were_handed_on_torn_are_named(data: Path) -> None:
    (data / VIT.weights).write_bytes(b"torn")
    with pytest.raises(TaskError, match=VIT.weights):
        VIT.network(data, SHORT)


def test_the_weights_are_cached_and_read_back(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = VIT.network(data, SHORT)
    (file,) = (tmp_path / "cache").iterdir()  # nothing is left of training
    assert file.name.startswith("cifar10-vit-")
    said = capsys.readouterr()
    assert not said.out
    assert "22 minutes" in said.err
    assert "epoch 2 of 2" in said.err
    monkeypatch.setattr(cifar10_self_trained, "train", lambda *_: pytest.fail("trained again"))
    assert same(VIT.network(data, SHORT), trained)
    assert not capsys.readouterr().err


def test_other_recipes_and_other_images_have_other_weights(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = dataclasses.replace(SHORT, epochs=1)
    VIT.network(data, once)
    VIT.network(data, dataclasses.replace(once, seed=1))
    assert len(list((tmp_path / "cache").iterdir())) == 2
    batch = data / "cifar-10-batches-bin" / "data_batch_1.bin"
    batch.write_bytes(bytes(255 - byte if i % 3073 else byte for i, byte in enumerate(batch.read_bytes())))
    VIT.network(data, once)
    assert len(list((tmp_path / "cache").iterdir())) == 3


def test_training_that_was_killed_goes_on_as_if_it_had_not_been(data: Path, tmp_path: Path) -> None:
    images = cifar10_data.load(data, "train")
    state = torch.random.get_rng_state()
    whole = train(SHORT, images, tmp_path / "whole", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        train(SHORT, images, tmp_path / "part", stop_after(1))
    lines: list[str] = []
    assert same(train(SHORT, images, tmp_path / "part", lines.append), whole)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert [line.split(":")[0] for line in lines] == ["epoch 2 of 2"]


def test_training_that_was_killed_between_its_end_and_the_cache_trains_no_more(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = cifar10_data.load(data, "train")
    whole = train(SHORT, images, tmp_path / "part", lambda _: None)
    monkeypatch.setattr(cifar10_training, "_train_epoch", lambda *_: pytest.fail("trained again"))
    assert same(train(SHORT, images, tmp_path / "part", lambda _: None), whole)


def test_a_torn_checkpoint_begins_anew(data: Path, tmp_path: Path) -> None:
    images = cifar10_data.load(data, "train")
    whole = train(SHORT, images, tmp_path / "part", lambda _: None)
    (tmp_path / "part").write_bytes((tmp_path / "part").read_bytes()[:1000])
    lines: list[str] = []
    assert same(train(SHORT, images, tmp_path / "part", lines.append), whole)
    assert len(lines) == 2
