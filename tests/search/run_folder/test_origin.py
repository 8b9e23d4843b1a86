from __future__ import annotations

import json

import pytest

from espalier.search.run_folder.origin import Origin, OriginKind

EACH = {
    "dense": Origin(OriginKind.DENSE),
    "dense int8": Origin(OriginKind.DENSE, precision="int8"),
    "given 2": Origin(OriginKind.GIVEN, detail="2"),
    "path 3": Origin(OriginKind.PATH, detail="3"),
    "path 3 int8": Origin(OriginKind.PATH, detail="3", precision="int8"),
    "uniform 0.5": Origin(OriginKind.METHOD, "uniform", "0.5"),
    "uniform 0.125 int8": Origin(OriginKind.METHOD, "uniform", "0.125", precision="int8"),
    "uniform 1:4 weights": Origin(OriginKind.METHOD, "uniform", "1:4 weights"),
    "global ranking 0.25": Origin(OriginKind.METHOD, "global ranking", "0.25"),
    "threshold 1e-05": Origin(OriginKind.METHOD, "threshold", "1e-05"),
    "rung 1, trial 12": Origin(OriginKind.RUNG, detail="1", trial=12),
    "refinement, trial 4": Origin(OriginKind.REFINEMENT, trial=4),
    "level and temperature": Origin(OriginKind.COARSE, "level and temperature"),
    "stages": Origin(OriginKind.COARSE, "stages"),
    "random": Origin(OriginKind.RANDOM),
    "sampler": Origin(OriginKind.SAMPLER),
}


@pytest.mark.parametrize("text", EACH)
def test_an_origin_reads_as_it_did_and_the_text_of_earlier_runs_is_understood(text):
    assert str(EACH[text]) == text
    assert Origin.from_stored(text) == EACH[text]


@pytest.mark.parametrize("origin", EACH.values(), ids=str)
def test_what_is_stored_is_plain_and_comes_back(origin):
    stored = json.loads(json.dumps(origin.to_dict()))
    assert Origin.from_stored(stored) == origin


def test_what_refinement_was_called_before_is_understood():
    assert Origin.from_stored("last step, trial 4") == EACH["refinement, trial 4"]


def test_nothing_stored_is_the_sampler():
    assert Origin.from_stored(None) == Origin(OriginKind.SAMPLER)


def test_a_text_that_nobody_knows_is_kept_as_it_is():
    assert str(Origin.from_stored("my own: half of all")) == "my own: half of all"


def test_families_leave_levels_and_numbers_out():
    assert {str(origin): origin.family for origin in EACH.values() if origin.kind is OriginKind.METHOD} == {
        "uniform 0.5": "uniform",
        "uniform 0.125 int8": "uniform",
        "uniform 1:4 weights": "uniform",
        "global ranking 0.25": "global ranking",
        "threshold 1e-05": "threshold",
    }
    assert EACH["rung 1, trial 12"].family == "rung"
    assert EACH["dense int8"].family == "dense"


def test_only_the_dense_network_the_users_and_the_paths_come_first():
    first = {str(origin) for origin in EACH.values() if origin.comes_first}
    assert first == {"dense", "dense int8", "given 2", "path 3", "path 3 int8"}
