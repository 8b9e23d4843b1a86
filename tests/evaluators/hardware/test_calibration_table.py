from __future__ import annotations

from pathlib import Path

import pytest
import torch

from espalier.errors import InputError
from espalier.evaluators.hardware.calibration_table import Calibration, NetworkTiming, merged, rows_of
from espalier.evaluators.hardware.kernels import record_kernels
from espalier.testing.cost_models import chain

IMAGE = torch.zeros(1, 3, 32, 32)


def calibration(width: int = 16) -> Calibration:
    graph = record_kernels(chain(width), IMAGE)
    count = len(graph.kernels)
    rows = rows_of(0, graph, [0.1 * (i + 1) for i in range(count)], ["Conv+ReorderOutput"] * (count - 1) + [""])
    timing = NetworkTiming(0, "fp32", sum(r.latency_ms for r in rows), 0.05, "dense")
    return Calibration("onnxruntime", "1.2.3", 1, "a processor, named", "chains of tests", (timing,), rows)


def test_csv_holds_everything(tmp_path: Path) -> None:
    one = calibration()
    assert Calibration.from_csv(one.to_csv()) == one
    one.write(tmp_path / "c.csv")
    assert Calibration.read(tmp_path / "c.csv") == one


def test_a_row_says_what_its_kernel_is_and_where_its_inputs_come_from() -> None:
    rows = calibration(16).rows
    assert [r.kind for r in rows] == ["conv", "conv", "pool", "linear"]
    assert [r.reads_from for r in rows] == [(-1,), (0,), (1,), (2,)]
    second = rows[1]
    assert (second.in_channels, second.out_channels, second.stride, second.kernel_size) == (16, 16, (2, 2), (3, 3))
    assert second.macs == 16 * 16 * 9 * 16 * 16
    assert (second.read_elements, second.write_elements) == (16 * 32 * 32, 16 * 16 * 16)


def test_calibrations_join_with_networks_numbered_on() -> None:
    both = merged([calibration(8), calibration(16)])
    assert [t.network for t in both.timings] == [0, 1]
    assert [len(rows) for rows in both.by_network().values()] == [4, 4]
    assert both.of("fp32") == both
    assert both.of("int8").timings == ()
    assert both.precisions == ("fp32",)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a table at all",
        calibration().to_csv().replace("calibration,1,", "calibration,2,", 1),
        calibration().to_csv().replace(";3,", ";three,", 1),
        "\n".join(line for line in calibration().to_csv().splitlines() if not line.startswith("network")),
    ],
)
def test_what_is_no_calibration_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        Calibration.from_csv(text)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.csv"):
        Calibration.read(tmp_path / "nothing.csv")
