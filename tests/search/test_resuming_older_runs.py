"""Runs that an earlier version began, and devices of which something changed that a run does not use."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from espalier.errors import RunFolderError
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.onnx.quantisation import Recipe
from espalier.evaluators.onnx.quantisation_scheme import SCHEMES
from espalier.search.run_folder import Run
from espalier.search.run_folder.run_info import RunInfo
from espalier.search.run_search import run_search

BEFORE_SCHEMES = {"host": "be4b4ad62a03bdf6", "cortex-m4": "7ecc11e7c964ca0c", "x86-avx2": "3ce66cdafb3e457a"}
"""The devices' fingerprints as commit 6311535, the last that knew no int8 schemes, computed them."""
OPTIONS = {"samples": 64, "threads": 1, "objectives": "accuracy,size"}


@pytest.fixture
def resumed(tiny_task: str, tmp_path: Path) -> Callable[..., Run]:
    """Begin a run, change what stands in its ``run.json``, and go on with it."""

    def run(device: str, precision: str, change: Callable[[dict], object], **later: Callable[[], object]) -> Run:
        said = {**OPTIONS, "device": device, "precision": precision}
        begun = run_search(tiny_task, out=tmp_path / "run", trials=2, **said)
        content = json.loads((begun.path / "run.json").read_text())
        change(content)
        (begun.path / "run.json").write_text(json.dumps(content))
        for action in later.values():
            action()
        return run_search(tiny_task, out=begun.path, trials=3, resume=True, **said)

    return run


def as_of_old(device: str) -> Callable[[dict], object]:
    """Return what makes a ``run.json`` one of commit 6311535."""

    def change(content: dict) -> None:
        content["fingerprints"]["device"] = BEFORE_SCHEMES[device]
        for name in ("processor", "metric", "training"):
            del content[name]
        for frozen in content["graph"]["frozen"]:
            frozen.pop("code")
        if content["quantisation"] is not None:
            del content["quantisation"]["scheme"], content["quantisation"]["right_on"]
            content["quantisation"]["weights"] = "int8 per output channel, symmetric"

    return change


@pytest.mark.parametrize(("device", "precision"), [("host", "fp32"), ("cortex-m4", "fp32"), ("cortex-m4", "int8")])
def test_a_run_of_before_int8_schemes_goes_on(resumed, device: str, precision: str) -> None:
    run = resumed(device, precision, as_of_old(device))
    assert len(run.trials) == 3
    assert run.info.fingerprints["device"] not in BEFORE_SCHEMES.values()  # from now on known by what it uses


def test_an_older_run_whose_int8_files_would_be_others_is_refused_by_what_differs(resumed) -> None:
    with pytest.raises(RunFolderError, match=r"the way to int8 is .*'u8s7'.*, in the run .*'u8s8'") as caught:
        resumed("host", "int8", as_of_old("host"))
    assert "fingerprint" not in str(caught.value)
    assert "'samples'" not in str(caught.value)


def test_a_run_of_another_device_is_refused(resumed) -> None:
    def other(content: dict) -> None:
        content["fingerprints"]["device"] = BEFORE_SCHEMES["x86-avx2"]

    with pytest.raises(RunFolderError, match="the device's fingerprint"):
        resumed("host", "fp32", other)


def _edited(path: Path, **change: object) -> Callable[[], object]:
    return lambda: path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))


def test_a_scheme_changed_under_a_run_at_fp32_is_no_difference(resumed, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(load_device("host").to_yaml())
    edit = _edited(mine, int8_scheme="u8s8", int8_scheme_source="a processor with VNNI")
    assert len(resumed(str(mine), "fp32", lambda content: None, edit=edit).trials) == 3


def test_a_width_changed_under_a_run_is_refused(resumed, tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(load_device("host").to_yaml())
    edit = _edited(mine, channel_multiple={"fp32": 4, "int8": 8})
    with pytest.raises(RunFolderError, match="the device's fingerprint"):
        resumed(str(mine), "fp32", lambda content: None, edit=edit)


def test_a_recipe_of_before_schemes_says_the_same_in_full(tiny_run: Path) -> None:
    whole = Recipe.of(SCHEMES.get("u8s8")).to_dict()
    old = {name: value for name, value in whole.items() if name not in ("scheme", "right_on")}
    info = RunInfo.read(tiny_run)
    assert info.quantisation_in_full is None
    stored = dataclasses.replace(info, quantisation={**old, "weights": "int8 per output channel, symmetric"})
    assert stored.quantisation_in_full == whole
    unknown = {**whole, "scheme": "u4s4"}
    assert dataclasses.replace(info, quantisation=unknown).quantisation_in_full == unknown
