"""Why runs for different devices come to different fronts: by hand, and on two small searches."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from espalier.reports.comparison import compare
from espalier.reports.device_differences import DeviceDifferences, GroupDifference
from espalier.search.run_search import run_search


@pytest.fixture(scope="module")
def board_run(runs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Any:
    trials = (runs.TRIALS[0], runs.TRIALS[3])
    return runs.write_run(
        tmp_path_factory.mktemp("board") / "board", trials=trials, final=None, device="cortex-m4", constraints=()
    )


def test_runs_for_one_device_are_not_explained(known_run: Any) -> None:
    found = compare([known_run, known_run])
    assert found.devices is None
    assert found.to_dict()["device_differences"] is None


def test_steps_and_kept_channels_by_hand(known_run: Any, board_run: Any) -> None:
    found = compare([known_run, board_run]).devices
    assert found is not None
    steps = dict(found.steps)
    assert steps["Channels are kept in multiples of"] == ("8", "4")
    assert steps["Costs are told at"] == ("fp32", "int8")
    assert steps["Flash is limited to"][0] == "nothing"
    assert "Precisions searched are" not in steps
    kept = {g.group: g.kept for g in found.groups}
    # The front of the first: dense, 0.75, 0.5, 0.25 and 0.45 of 128 channels, which is 57; dense is left out.
    assert kept["head.hidden"] == pytest.approx(((0.75 + 0.5 + 0.25 + 57 / 128) / 4, 0.25))
    share = {g.group: g.share for g in found.groups}
    assert share["stage1.0.conv1"] == (pytest.approx(0.35), None)
    # The second front is the dense network and 0.25, which the first front holds too.
    assert (found.policies, found.common) == ((5, 2), 2)
    assert "Of 5 policies in run, 2 policies in board, 2 are on all fronts." in found.sentences()


def test_a_difference_is_told_from_noise() -> None:
    # Standard errors of the difference: 0.05 and 0.1.
    assert GroupDifference("g", (0.5, 0.61), (None, None), (0.03, 0.04)).beyond_noise
    assert not GroupDifference("g", (0.5, 0.61), (None, None), (0.06, 0.08)).beyond_noise
    assert not GroupDifference("g", (0.5, 0.9), (None, None), (0.01, None)).beyond_noise


def test_groups_that_only_weigh_differently_are_told() -> None:
    groups = (GroupDifference("a", (0.5, 0.5), (0.2, 0.3)), GroupDifference("b", (0.5, 0.5), (0.4, 0.4)))
    found = DeviceDifferences(("one", "two"), (), groups, (3, 3), 3).sentences()
    assert [text.replace("\u202f", " ") for text in found] == [
        "Of 3 policies in one, 3 policies in two, 3 are on all fronts. They keep the same of every group.",
        "a takes 20 % in one, 30 % in two of the dense latency.",
    ]


def test_the_explanation_is_told_everywhere(known_run: Any, board_run: Any, tmp_path: Path) -> None:
    found = compare([known_run, board_run])
    assert "Channels are kept in multiples of 8 in run, 4 in board." in str(found)
    html = found.write_html(tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "Why the fronts differ" in html
    assert "stage2.0.conv1" in html
    groups = found.to_dict()["device_differences"]["groups"]
    assert {"group", "kept", "share_of_dense_latency", "standard_error", "beyond_noise"} == set(groups[0])


@pytest.mark.slow
def test_two_small_searches_for_two_devices(tmp_path: Path) -> None:
    devices = ("cortex-m4", "raspberry-pi-4")
    done = [run_search("digits", device=d, out=tmp_path / d, trials=3, samples=32, seed=0) for d in devices]
    found = compare(done).devices
    assert found is not None
    shares = [g.share for g in found.groups]
    assert all(value is not None for share in shares for value in share)
    # A microcontroller at int8 and a processor at fp32 spend their time differently, if by little on this network.
    assert any(abs((a or 0) - (b or 0)) > 1e-3 for a, b in shares)
    assert any("Flash is limited to" in sentence for sentence in found.sentences())
