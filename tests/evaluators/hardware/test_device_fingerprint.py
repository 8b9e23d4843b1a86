from __future__ import annotations

from pathlib import Path

import pytest

from espalier.evaluators.hardware.device import Device, load_device
from espalier.evaluators.hardware.device_fingerprint import device_fingerprint, earlier_fingerprints
from espalier.evaluators.hardware.speeds import Quantity

BEFORE_SCHEMES = {
    "host": "be4b4ad62a03bdf6",
    "cuda": "e106d078fcef27a1",
    "cortex-m4": "7ecc11e7c964ca0c",
    "ethos-u55-128": "36755a17592e21f5",
    "raspberry-pi-4": "936c58285e78794c",
    "x86-avx2": "3ce66cdafb3e457a",
}
"""As commit 6311535, the last that knew no int8 schemes, computed them; so they stand in the runs of that time."""
WITH_SCHEMES = {"host": "be54882cba0a4ac6", "cortex-m4": "8cfe6403953f5fc7", "x86-avx2": "85f89a1d0ad1abb2"}
"""As commit 5e63c37 computed them."""


def with_scheme(device: Device, name: str) -> Device:
    return device.model_copy(update={"int8_scheme": name, "int8_scheme_source": "as measured by hand"})


@pytest.mark.parametrize("name", BEFORE_SCHEMES)
def test_what_earlier_versions_wrote_is_known(name: str) -> None:
    known = earlier_fingerprints(load_device(name), ["fp32"])
    assert BEFORE_SCHEMES[name] in known
    assert WITH_SCHEMES.get(name, known[0]) == known[0]


def test_what_earlier_versions_wrote_of_a_device_without_scheme_is_known_at_fp32_under_any_scheme() -> None:
    host = load_device("host")
    without = host.model_copy(update={"int8_scheme": "u8s7", "int8_scheme_source": ""})
    assert earlier_fingerprints(without, ["fp32"])[0] in earlier_fingerprints(with_scheme(host, "u8s8"), ["fp32"])
    assert earlier_fingerprints(without, ["int8"])[0] not in earlier_fingerprints(with_scheme(host, "u8s8"), ["int8"])


def test_boards_that_cost_fp32_at_int8_depend_on_the_scheme() -> None:
    board = load_device("cortex-m4")
    assert BEFORE_SCHEMES["cortex-m4"] not in earlier_fingerprints(with_scheme(board, "u8s7"), ["fp32"])
    changed = with_scheme(board, "u8s7")
    assert device_fingerprint(changed, ["fp32"]) != device_fingerprint(board, ["fp32"])


def test_a_search_at_fp32_depends_on_nothing_of_int8() -> None:
    host, pi = load_device("host"), load_device("raspberry-pi-4")
    for scheme in ("u8s8", "u8u8"):
        changed = with_scheme(host, scheme)
        assert device_fingerprint(changed, ["fp32"]) == device_fingerprint(host, ["fp32"])
        assert device_fingerprint(changed, ["fp32", "int8"]) != device_fingerprint(host, ["fp32", "int8"])
    both = pi.model_copy(
        update={
            "precisions": ("fp32", "int8"),
            "speeds": {**pi.speeds, "int8": pi.speeds["fp32"]},
            "fit": {**pi.fit, "int8": pi.fit["fp32"]},
            "channel_multiple": {**pi.channel_multiple, "int8": 16},
            "in_place": (*pi.in_place, "int8"),
        }
    )
    assert device_fingerprint(both, ["fp32"]) == device_fingerprint(pi, ["fp32"])
    assert device_fingerprint(both, ["int8"]) != device_fingerprint(pi, ["int8"])


def test_words_and_sources_are_no_part_of_it() -> None:
    pi = load_device("raspberry-pi-4")
    reworded = {"description": "Another text.", "channel_multiple_source": "measured again", "int8_scheme_source": "so"}
    assert device_fingerprint(pi.model_copy(update=reworded), ["fp32"]) == device_fingerprint(pi, ["fp32"])


@pytest.mark.parametrize(
    "change",
    [
        {"threads": 7},
        {"runtime_version": "0.0"},
        {"channel_multiple": {"fp32": 5}},
        {"fuses": False},
        {"limits": {"flash_bytes": {"value": 10, "source": "measured by hand"}}},
        {"cost_model": "measured"},
        {"power_w": Quantity(value=3.5, source="by hand, once")},
    ],
)
def test_what_decides_costs_is_part_of_it(change: dict[str, object]) -> None:
    pi = load_device("raspberry-pi-4")
    changed = Device.model_validate({**pi.model_dump(), **change})
    assert device_fingerprint(changed, ["fp32"]) != device_fingerprint(pi, ["fp32"])


def test_a_field_that_a_later_version_adds_changes_nothing_until_it_is_set() -> None:
    class Later(Device):
        cache_bytes: int = 0

    pi = load_device("raspberry-pi-4")
    plain, added = Later(**pi.model_dump()), Later(**pi.model_dump(), cache_bytes=1024)
    assert device_fingerprint(plain, ["fp32"]) == device_fingerprint(pi, ["fp32"])
    assert device_fingerprint(added, ["fp32"]) != device_fingerprint(pi, ["fp32"])


def test_a_calibration_is_told_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    def at(folder: str, content: str) -> str:
        path = tmp_path / folder / "mine.csv"
        path.parent.mkdir()
        path.write_text(content)
        device = load_device("host").model_copy(update={"cost_model": "learned", "calibration": str(path)})
        return device_fingerprint(device, ["fp32"])

    assert at("here", "a,b\n1,2\n") == at("there", "a,b\n1,2\n") != at("elsewhere", "a,b\n1,3\n")
