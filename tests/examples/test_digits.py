from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import pytest
import torch

from espalier.examples import cache, digits
from espalier.examples.digits_network import DigitsNet

SHORT = digits.Recipe(epochs=1)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def accuracy(network: torch.nn.Module, part: tuple[torch.Tensor, torch.Tensor]) -> float:
    with torch.no_grad():
        return (network(part[0]).argmax(1) == part[1]).float().mean().item()


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


def test_the_trained_network_reads_digits() -> None:
    task = digits.task()
    network = task.model()
    assert not network.training
    assert accuracy(network, task.validation) >= 0.96
    assert accuracy(network, task.test) >= 0.96


def test_the_parts_are_disjoint_and_complete() -> None:
    parts = digits.split()
    assert [len(y) for _, y in parts] == [1000, 397, 400]
    images = torch.cat([x for x, _ in parts]).flatten(1)
    assert len(torch.unique(images, dim=0)) == len(images) == 1797
    assert all(set(y.tolist()) == set(range(10)) for _, y in parts)
    assert images.min() == 0
    assert images.max() == 1


def test_the_network_has_the_couplings_it_promises() -> None:
    network = DigitsNet()
    assert network.down.depthwise.groups == network.down.depthwise.in_channels == 48
    assert network.down.merge.in_channels == network.down.conv.out_channels + network.down.pointwise.out_channels
    assert sum(p.numel() for p in network.parameters()) == 450_442
    assert network.eval()(torch.zeros(3, 1, 8, 8)).shape == (3, 10)


def test_the_same_seed_trains_the_same_network_and_leaves_the_global_generator_alone() -> None:
    state = torch.random.get_rng_state()
    first, again = digits.train(SHORT), digits.train(SHORT)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(first, again)
    assert not same(first, digits.train(dataclasses.replace(SHORT, seed=1)))


def test_the_weights_are_cached_and_read_back(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = digits.trained_network(SHORT)
    (file,) = empty_cache.iterdir()
    assert file.name.startswith("digits-")
    assert file.suffix == ".safetensors"
    monkeypatch.setattr(digits, "train", lambda recipe: pytest.fail("trained again"))
    assert same(digits.trained_network(SHORT), trained)


def test_another_recipe_has_another_file(empty_cache: Path) -> None:
    digits.trained_network(SHORT)
    digits.trained_network(dataclasses.replace(SHORT, seed=1))
    assert len(list(empty_cache.iterdir())) == 2


@pytest.mark.parametrize("damage", ["torn", "empty", "other shapes"])
def test_a_damaged_cache_file_is_made_anew(empty_cache: Path, damage: str) -> None:
    trained = digits.trained_network(SHORT)
    (file,) = empty_cache.iterdir()
    whole = file.read_bytes()
    if damage == "other shapes":
        cache.cached_weights("other", lambda: {"a": torch.ones(2)}, like={})
        (empty_cache / "other").replace(file)
    else:
        file.write_bytes(whole[: len(whole) // 2] if damage == "torn" else b"")
    assert same(digits.trained_network(SHORT), trained)
    assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="ESPALIER_CACHE"):
        made = cache.cached_weights("a.safetensors", lambda: {"a": torch.ones(2)}, like={"a": torch.ones(2)})
    assert torch.equal(made["a"], torch.ones(2))


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.delenv("ESPALIER_CACHE", raising=False)
    assert cache.cache_folder() == Path("/somewhere/espalier")
    monkeypatch.setenv("ESPALIER_CACHE", "/elsewhere")
    assert cache.cache_folder() == Path("/elsewhere")
    monkeypatch.delenv("ESPALIER_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache" / "espalier"


def test_arrays_are_cached_and_a_torn_one_is_made_anew(empty_cache: Path) -> None:
    array = torch.arange(1000).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.from_numpy(cache.cached_array("a.npy", lambda: array))  # writable, or torch would warn
    file = empty_cache / "a.npy"
    file.write_bytes(file.read_bytes()[:500])
    assert (cache.cached_array("a.npy", lambda: array) == array).all()
    stored = cache.cached_array("a.npy", lambda: pytest.fail("made again"))
    stored[0] = 99
    assert cache.cached_array("a.npy", lambda: pytest.fail("made again"))[0] == 0
