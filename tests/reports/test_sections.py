"""What each section of the report says, hand-computed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espalier.reports.html_report import report_html
from espalier.reports.sections.choice import choice, cost_wish, export_command
from espalier.reports.sections.gain import gain
from espalier.reports.sections.progress import hypervolume_series, progress
from espalier.reports.sections.removed import removed
from espalier.reports.sections.reproduce import reproduce, search_command
from espalier.reports.sections.trust import trust
from espalier.search.run_folder import Audit, AuditedNetwork, open_run


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u2212", "-").replace("\u00d7", "x").replace("\u00b1", "+-")


def test_gain_compares_the_final_numbers(known_run: Any) -> None:
    found = gain(known_run)
    assert [plain(figure["value"]) for figure in found["headline"]] == ["2.00x", "-60 %", "-60 %", "-1.50 points"]
    assert [card["name"] for card in found["cards"]] == ["Dense", "Knee", "Fastest, smallest", "Most accurate"]
    latency = found["cards"][1]["rows"][0]
    assert (plain(latency["text"]), plain(latency["change"]), latency["better"]) == ("0.205 ms", "-50 %", True)
    accuracy = found["cards"][1]["rows"][2]
    assert (plain(accuracy["change"]), accuracy["better"]) == ("-1.50 points", False)


def test_without_final_numbers_the_test_accuracy_is_not_measured(runs: ModuleType, tmp_path: Path) -> None:
    found = gain(runs.write_run(tmp_path / "run", final=None))
    assert not found["has_test"]
    assert [row["text"] for row in found["cards"][1]["rows"]][-1] == "not measured"


def test_choice_tells_front_dominated_and_infeasible_apart(known_run: Any) -> None:
    found = choice(known_run)
    kinds = {point["trial"]: point["kind"] for point in found["points"]}
    assert kinds == dict.fromkeys((0, 1, 2, 3, 8), "front") | {4: "dominated", 5: "infeasible"}
    assert found["lines"] == [{"axis": "y", "value": 0.8, "label": "Validation accuracy \u2265 80.00\u202f%"}]
    assert [row["trial"] for row in found["rows"]] == [3, 8, 2, 1, 0]


def test_the_miss_of_a_constraint_is_told_in_its_unit(known_run: Any) -> None:
    found = choice(known_run)
    text = "validation accuracy is 25.00 points below 80.00 %"
    assert [(row["name"], [plain(t) for t in row["texts"]]) for row in found["misses"]] == [("Trial 5", [text])]
    tooltip = next(point["lines"] for point in found["points"] if point["trial"] == 5)
    assert plain(tooltip[-1]) == text.capitalize()


def test_what_a_device_lacks_is_told(runs: ModuleType, tmp_path: Path) -> None:
    limits = ("peak_memory_bytes<=53248.0", "size_bytes<=204800.0")
    own = ("latency_ms<=0.25",)
    run = runs.write_run(tmp_path / "run", final=None, constraints=own, limits=limits, trials=runs.TRIALS[:2])
    found = {row["name"]: [plain(text) for text in row["texts"]] for row in choice(run)["misses"]}
    # Peak memory is 64 KiB throughout, of 52 KiB; sizes are 300 and 200 KiB, of 200; latencies 0.40 and 0.30 ms.
    ram = "needs 12.0 KiB more RAM than the device has"
    flash = "needs 100 KiB more flash than the device has"
    dense = ["latency is 0.150 ms above 0.250 ms", ram, flash]
    assert found == {"Dense": dense, "Trial 0": dense, "Trial 1": ["latency is 0.0500 ms above 0.250 ms", ram]}


def test_the_finder_reaches_from_less_than_the_least_to_all(known_run: Any) -> None:
    wishes = {wish["name"]: wish for wish in choice(known_run)["wishes"]}
    assert (wishes["drop"]["low"], wishes["drop"]["high"], wishes["drop"]["start"]) == (0, 8, 1)
    assert wishes["latency_ms"]["high"] >= 0.41
    assert wishes["latency_ms"]["low"] < 0.11
    assert wishes["size_bytes"]["high"] >= 300
    assert wishes["size_bytes"]["low"] < 60


@given(nanoseconds=st.integers(min_value=100, max_value=10**10))
def test_the_finder_starts_with_a_limit_that_the_slowest_meets(nanoseconds: int) -> None:
    latency_ms = 1e-9 * nanoseconds * 1e3  # 99,600 ns come to a little more than 0.0996 ms
    for value in (latency_ms, 1e-9 * 99_600 * 1e3):
        high = cost_wish("latency_ms", "ms", 1.0, [value])["high"]
        assert value <= high <= 1.2 * value


def test_trust_compares_the_searchs_latencies_with_the_final_ones(known_run: Any) -> None:
    latency = trust(known_run)["latency"]
    assert {p["trial"]: (p["before"], p["after"]) for p in latency["pairs"]} == {
        0: (0.40, 0.41), 1: (0.30, 0.31), 2: (0.20, 0.205), 3: (0.10, 0.11), 8: (0.18, 0.19),
    }  # fmt: skip
    # Differences in per cent: 2.5, 3.33, 2.5, 10, 5.56.
    assert (plain(latency["median"]), plain(latency["largest"]), latency["rank"]) == ("3.3 %", "10.0 %", "1.00")
    assert plain(latency["final_source"]) == "measured on this device, +-2.0 %"


def test_trust_correlates_recalibrated_with_fine_tuned_accuracy(known_run: Any) -> None:
    rungs = trust(known_run)["rungs"]
    # Ranks after recalibration (dense 0.88): 5 3 8 2 4 0 1 -> after fine-tuning only 8 (3rd) and 4 (3rd), 2 and 1 and 0
    # differ: trials 5 3 8 2 4 0 1 have ranks 1 2 3 4 5 6 7 before and 1 2 4 5 3 7 6 after; 1 - 6 * 8 / (7 * 48).
    assert rungs["count"] == 7
    assert rungs["rank"] == f"{1 - 6 * 8 / (7 * 48):.2f}"
    assert rungs["meaning"].startswith("Before fine-tuning the networks stand in nearly the order")


def test_networks_that_were_not_trained_further_are_no_pairs(runs: ModuleType, tmp_path: Path) -> None:
    twin = runs.Trial(runs.metrics(0.96, 0.18, 130, accuracy_recalibrated=0.96), 0.45, samples=0)
    rungs = trust(runs.write_run(tmp_path / "run", trials=(*runs.TRIALS, twin), final=None))["rungs"]
    assert rungs["count"] == 7
    assert 9 not in {pair["trial"] for pair in rungs["pairs"]}


def test_the_audit_tells_what_was_turned_down_wrongly(runs: ModuleType, tmp_path: Path) -> None:
    run = runs.write_run(tmp_path / "run", final=None)
    assert trust(run)["audit"] is None
    right = AuditedNetwork(20, "predicted 0.5 ms, at least 0.45: breaks latency_ms<=0.4", {"latency_ms": 0.48}, False)
    wrong = AuditedNetwork(23, "predicted 0.45 ms, at least 0.41: breaks latency_ms<=0.4", {"latency_ms": 0.39}, True)
    Audit(31, (right, right, right, wrong)).write(run.path)
    found = trust(open_run(run.path))["audit"]
    assert (found["turned_down"], found["audited"], found["wrongly"], plain(found["share"])) == (31, 4, 1, "25 %")
    assert [(w["trial"], plain(w["latency"])) for w in found["wrong"]] == [(23, "0.390 ms")]
    assert "31 networks were turned down before training. 4 of them" in report_html(open_run(run.path))


def test_generalisation_gaps(known_run: Any) -> None:
    assert [plain(row["gap"]) for row in trust(known_run)["gaps"]] == ["+2.00 points"] * 4


def test_removed_lists_kept_channels_and_layers(known_run: Any) -> None:
    found = removed(known_run)
    knee = next(member for member in found["members"] if member["selected"])
    assert knee["trial"] == 2
    assert knee["kept"] == [8, 8, 16, 32, 64]
    assert plain(knee["summary"]) == "128 of 256 prunable channels kept (50 %)"
    assert knee["layers"][0]["before"] == pytest.approx(0.41 * 0.2)
    assert knee["layers"][0]["after"] == pytest.approx(0.205 * 0.2)
    assert found["frozen"] == [{"name": "fc", "channels": 10, "reason": "these channels are the network's outputs"}]


def test_without_final_numbers_no_layer_latency_is_told(runs: ModuleType, tmp_path: Path) -> None:
    found = removed(runs.write_run(tmp_path / "run", final=None))
    assert all(member["layers"] == [] for member in found["members"])


def test_progress_counts_states_and_reasons(known_run: Any) -> None:
    found = progress(known_run)
    assert found["states"] == [("complete", 7), ("failed", 2)]
    assert found["failures"] == [("the loss became NaN after 640 samples", 2)]
    assert {row["step"]: plain(row["text"]) for row in found["seconds"]}["train"] == "14 s"
    assert plain(found["wall"]) == "1 min 28 s"


def test_hypervolume_never_falls_and_infeasible_trials_add_none(known_run: Any) -> None:
    series = hypervolume_series(known_run)
    values = [point["value"] for point in series]
    assert values == sorted(values)
    assert [point["trial"] for point in series] == [0, 1, 2, 3, 4, 5, 8]
    assert values[4] == values[5]
    assert series[1]["seconds"] == pytest.approx(18.0)


def test_the_search_command_holds_what_differs_from_the_defaults(known_run: Any) -> None:
    command = search_command(known_run)
    assert command.startswith("espalier search digits --device host --trials 9 --constraint 'accuracy>=0.8' --seed 7")
    assert "--sampler" not in command


def test_commands_quote_what_a_shell_would_split(runs: ModuleType, tmp_path: Path) -> None:
    run = runs.write_run(tmp_path / "a run; rm")
    assert f"'{tmp_path}/a run; rm'" in export_command(run, 2)
    titles = [item["title"] for item in reproduce(run)["commands"]]
    assert titles[:3] == ["Search again", "Export the knee", "Check the export"]


def test_the_report_says_who_climbed_the_ladder_and_whether_the_rungs_agree(runs: ModuleType, tmp_path: Path) -> None:
    def on(rung: int, accuracy: float, kept: float, origin: str, samples: int) -> Any:
        return runs.Trial(runs.metrics(accuracy, kept, 100), kept, origin, attributes={"rung": rung}, samples=samples)

    # Of five candidates four climb; the order of two neighbours changes on the way.
    trials = (
        runs.TRIALS[0],
        *(on(0, a, 0.1 * (i + 1), "sampler", 0) for i, a in enumerate((0.5, 0.6, 0.7, 0.8, 0.3))),
        *(on(1, a, 0.1 * (i + 1), f"rung 1, trial {i + 1}", 250) for i, a in enumerate((0.7, 0.8, 0.91, 0.90))),
        on(2, 0.93, 0.3, "rung 2, trial 8", 750),
    )
    found = trust(runs.write_run(tmp_path / "run", trials=trials, final=None, constraints=()))["ladder"]
    assert [(row["rung"], row["samples"], row["candidates"], row["climbed"]) for row in found] == [
        (0, 0, 5, 4), (1, 250, 4, 1), (2, 1000, 1, 0),
    ]  # fmt: skip
    assert [row["rank"] for row in found] == ["0.80", "not measured", "not measured"]


def test_a_run_without_a_ladder_shows_none(known_run: Any) -> None:
    assert trust(known_run)["ladder"] == []
