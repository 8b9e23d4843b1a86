from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from espalier.errors import InputError, UnknownNameError
from espalier.evaluators.hardware.device import FOLDER, Device, device_names, load_device
from espalier.evaluators.hardware.speeds import Quantity

ROOT = Path(__file__).resolve().parents[3]
DATA = Path(os.environ.get("ESPALIER_DATA") or ROOT.parent / "shared" / "data")


def test_the_shipped_devices() -> None:
    designed = "host raspberry-pi-4 raspberry-pi-5 phone-a76 x86-avx2 x86-avx512 cortex-m4 cortex-m7 cortex-m33"
    assert {*designed.split(), "ethos-u55-128", "ethos-u85-256", "jetson-orin-nano", "cuda"} <= set(device_names())


@pytest.mark.parametrize("name", device_names())
def test_a_shipped_device_is_valid_and_named_after_its_file(name: str) -> None:
    device = load_device(name)
    assert device.name == name
    assert Device.from_yaml(device.to_yaml()) == device
    assert device.reachable == (name in ("host", "cuda"))


@pytest.mark.parametrize("name", device_names())
def test_every_number_has_a_source(name: str) -> None:
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    keys = {"version", "threads"}

    def check(node: object, place: str, sourced: bool) -> None:
        if isinstance(node, dict):
            sourced = sourced or "source" in node
            for key, value in node.items():
                check(value, f"{place}.{key}", sourced or f"{key}_source" in node or key in keys)
        elif isinstance(node, (int, float)) and not isinstance(node, bool):
            assert sourced, place

    check(content, name, False)


def test_an_unknown_device_suggests_near_names() -> None:
    with pytest.raises(UnknownNameError, match="raspberry-pi-4"):
        load_device("rasberry-pi-4")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        load_device(tmp_path / "mine.yaml")


def test_a_users_own_file(tmp_path: Path) -> None:
    mine = load_device("cortex-m4").model_copy(update={"name": "my-board"})
    path = tmp_path / "mine.yaml"
    path.write_text(mine.to_yaml(), encoding="utf-8")
    assert load_device(path) == mine


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda d: d.update(runtim="x"), "'runtime'"),
        (lambda d: d.pop("runtime"), "runtime: Field required"),
        (lambda d: d["speeds"]["int8"]["peak_macs_per_s"].pop("source"), "source: Field required"),
        (lambda d: d["speeds"]["int8"]["efficiency"]["values"].update(convv=0.5), "'conv'"),
        (lambda d: d["speeds"]["int8"]["efficiency"]["values"].pop("conv"), "lack conv"),
        (lambda d: d.pop("fit"), "fit lack int8"),
        (lambda d: d.update(threads=0), "threads"),
        (lambda d: d.update(deployed_as={"fp32": "int4"}), "deployed_as"),
        (lambda d: d.update(sparse_kernels={"int8": ["2/4"]}, sparse_kernels_source="made up"), "such as 2:4"),
        (lambda d: d.update(sparse_kernels={"int8": ["2:4"]}), "sparse_kernels_source"),
        (lambda d: d.update(int8_scheme="u9s9"), "one of u8s7, u8s8, u8u8"),
        (lambda d: d.pop("int8_scheme_source"), "int8_scheme_source"),
    ],
)
def test_a_malformed_file_names_its_fault(edit: object, message: str) -> None:
    content = yaml.safe_load((FOLDER / "cortex-m4.yaml").read_text(encoding="utf-8"))
    edit(content)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        Device.from_yaml(yaml.safe_dump(content))


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", ""])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Device.from_yaml(text)


def test_int8_files_are_right_where_they_run() -> None:
    schemes = {name: load_device(name).quantisation_scheme for name in device_names()}
    boards = {"cortex-m33", "cortex-m4", "cortex-m7", "ethos-u55-128", "ethos-u85-256"}
    assert {name for name, scheme in schemes.items() if scheme.name == "u8s8"} == boards
    assert not any(scheme.can_saturate for name, scheme in schemes.items() if name not in boards)
    assert "VNNI" in load_device("x86-avx2").int8_scheme_source
    content = load_device("host").model_dump()
    for field in ("int8_scheme", "int8_scheme_source"):
        del content[field]  # as in a device's file of one's own
    assert not Device.model_validate(content).quantisation_scheme.can_saturate


def test_a_device_that_runs_int8_says_what_fp32_means() -> None:
    device = load_device("cortex-m4")
    assert device.deployed_precision("fp32") == "int8"
    assert device.deployed_precision("fp16") is None
    assert "accuracy is measured at fp32" in device.note("fp32")
    assert load_device("raspberry-pi-4").note("fp32") == ""


@pytest.mark.parametrize("name", device_names())
def test_only_the_compiler_that_encodes_weights_claims_kernels_for_zeros(name: str) -> None:
    device = load_device(name)
    claimed = ("2:4 at int8",) if name.startswith("ethos") else ()
    assert device.kernels_for("nm") == claimed
    assert bool(device.kernels_for("weight")) == bool(claimed)
    assert not claimed or "Vela" in device.sparse_kernels_source


def test_kernels_for_zeros_are_those_of_the_type() -> None:
    kernels = {"int8": ("2:4", "weight"), "fp32": ("4:8",)}
    device = load_device("cortex-m4").model_copy(update={"sparse_kernels": kernels})
    assert device.kernels_for("nm") == ("2:4 at int8", "4:8 at fp32")
    assert device.kernels_for("weight") == ("weight at int8",)
    assert device.kernels_for("channel") == ()


def test_limits() -> None:
    board = load_device("cortex-m4")
    assert board.fits(size_bytes=2 * 2**20, peak_memory_bytes=640 * 2**10)
    assert not board.fits(size_bytes=2 * 2**20 + 1, peak_memory_bytes=1)
    assert not board.fits(size_bytes=1, peak_memory_bytes=640 * 2**10 + 1)
    assert load_device("host").fits(size_bytes=10**12, peak_memory_bytes=10**12)


def test_what_the_fitted_devices_reach() -> None:
    pi, xeon, titan = (load_device(name).fit["fp32"] for name in ("raspberry-pi-4", "x86-avx512", "titan-rtx"))
    assert pi.share_within_10_percent >= 0.65
    assert (pi.spearman or 0) >= 0.95
    assert min(xeon.share_within_10_percent, titan.share_within_10_percent) >= 0.92
    boards = [load_device(name).fit["int8"] for name in ("cortex-m4", "cortex-m7", "cortex-m33")]
    assert all(fit.method == "leave-network-out" and fit.interval_90 < 0.2 for fit in boards)
    assert all((fit.known_network_error or 1) <= 0.15 for fit in boards)


@pytest.mark.parametrize("name", device_names())
def test_a_device_that_was_not_measured_says_so(name: str) -> None:
    device = load_device(name)
    for fit in device.fit.values():
        assert (fit.method == "nominal") == ("was not measured" in device.description) == (fit.fitted == 0)


def test_the_runtime_takes_its_part_of_the_limits() -> None:
    board = load_device("cortex-m4")
    own = Quantity(value=40 * 1024, source="assumed for this test")
    with_runtime = board.model_copy(update={"runtime_flash_bytes": own, "runtime_ram_bytes": own})
    size, memory = 2 * 2**20 - 40 * 1024, 600 * 1024
    assert with_runtime.fits(size_bytes=size, peak_memory_bytes=memory)
    assert with_runtime.excess(size_bytes=size + 7, peak_memory_bytes=memory + 1) == {"flash": 7, "RAM": 1}
    assert board.excess(size_bytes=size + 7, peak_memory_bytes=memory + 1) == {}


def test_a_runtime_that_leaves_nothing_is_refused() -> None:
    content = yaml.safe_load((FOLDER / "cortex-m4.yaml").read_text(encoding="utf-8"))
    content["runtime_ram_bytes"] = {"value": 10**9, "source": "assumed for this test"}
    with pytest.raises(InputError, match="the runtime takes"):
        Device.from_yaml(yaml.safe_dump(content))


def test_the_calibration_lies_beside_the_file(tmp_path: Path) -> None:
    content = yaml.safe_load((FOLDER / "cortex-m4.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content | {"calibration": "mine.csv"}), encoding="utf-8")
    assert load_device(path).calibration == str((tmp_path / "mine.csv").resolve())


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    [
        "cortex-m4",
        "cortex-m7",
        "cortex-m33",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("raspberry-pi-4", "titan-rtx", "phone-a76")),
    ],
)
def test_the_stored_fit_is_what_the_fitting_command_gives(name: str) -> None:
    if not (DATA / "nasbench201_latency.csv").is_file():
        pytest.skip(f"no data folder at {DATA}: set ESPALIER_DATA")
    command = [sys.executable, "benchmarks/fit_devices.py", "--check", "--device", name, "--data", str(DATA)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
