from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from torch import nn

from espalier.errors import InputError
from espalier.evaluators.hardware.remote.kit import pack_kit, read_kit
from espalier.spaces.policy import Policy

from .conftest import IMAGE


def test_a_kit_says_what_to_do_with_it(kit):
    text = (kit.path / "README.md").read_text()
    assert "python agent.py . --threads 1" in text
    assert "12 networks" in text
    assert {p.name for p in kit.path.iterdir()} == {*kit.files, "manifest.json", "README.md"}


def test_widths_are_arbitrary_and_multiples(kit):
    policies = [Policy.from_dict(n.policy) for n in kit.networks]
    assert len(set(policies)) == len(policies)
    assert kit.networks[0].origin == "dense"
    assert {n.origin for n in kit.networks} == {"dense", "step 1", "step 8", "step 16"}
    for network, policy in zip(kit.networks, policies, strict=True):
        step = int(network.origin.removeprefix("step ")) if network.origin != "dense" else 1
        assert all(c.kept % step == 0 or c.kept == c.of for c in policy.choices.values())


def test_the_same_seed_gives_the_same_kit_as_folder_or_zip(network, kit, tmp_path):
    zipped = pack_kit(network, IMAGE, tmp_path / "kit.zip", subject="a chain", networks=12)
    assert zipped.identity == kit.identity
    assert zipped.onnx(zipped.networks[4]) == kit.onnx(kit.networks[4])
    assert [p.name for p in tmp_path.iterdir()] == ["kit.zip"]
    with zipfile.ZipFile(tmp_path / "kit.zip") as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"kit"}
    other = pack_kit(network, IMAGE, tmp_path / "other", subject="a chain", networks=12, seed=1)
    assert other.identity != kit.identity


def test_int8_networks_are_packed_beside_fp32_ones(network, tmp_path):
    seen = []
    kit = pack_kit(
        network, IMAGE, tmp_path / "kit", networks=2, precisions=("fp32", "int8"), progress=lambda *n: seen.append(n)
    )
    assert [n.precision for n in kit.networks] == ["fp32", "int8", "fp32", "int8"]
    assert b"QuantizeLinear" in kit.onnx(kit.networks[1])
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_changed_file_is_noticed(kit, tmp_path):
    copy = read_kit(shutil.copytree(kit.path, tmp_path / "kit"))
    (copy.path / copy.networks[0].file).write_bytes(b"other")
    with pytest.raises(InputError, match="not the file that was packed"):
        copy.onnx(copy.networks[0])


@pytest.mark.parametrize("options", [{"networks": 0}, {"threads": 0}, {"precisions": ("int4",)}, {"precisions": ()}])
def test_bad_numbers(network, tmp_path, options):
    with pytest.raises(InputError):
        pack_kit(network, IMAGE, tmp_path / "kit", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_packing_leaves_nothing(tmp_path):
    with pytest.raises(Exception, match="expand"):
        pack_kit(nn.Linear(4, 4), IMAGE.expand(2, 3, 32), tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["kit", "kit.zip"])
def test_nothing_is_overwritten(network, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        pack_kit(network, IMAGE, tmp_path / name)
    assert (tmp_path / name).read_text() == "mine"


def test_what_is_no_kit(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "manifest.json").write_text(json.dumps({"version": 0, "kind": "espalier-kit"}))
    for path in ("a.zip", "empty", "old", "absent"):
        with pytest.raises(InputError):
            read_kit(Path(tmp_path) / path)
