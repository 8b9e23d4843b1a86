"""Searching from a policy of one's own."""

from __future__ import annotations

import dataclasses
import json

import pytest

from espalier.errors import InputError, RunFolderError
from espalier.reports.sections.reproduce import reproduce
from espalier.search.given_policies import given_policies
from espalier.search.options import SearchOptions
from espalier.search.run_folder import open_run
from espalier.search.run_search import run_search, search_problem
from espalier.search.starting_points import Known, starting_points
from espalier.spaces import SearchSpace
from espalier.spaces.graph.groups import Weight
from espalier.spaces.policy import Choice, Policy
from espalier.testing.analytic import analytic_graph, analytic_problem

GRAPH = analytic_graph(16, 16)
OWN = Policy.from_kept(GRAPH, {"layer0": 3, "layer1": 9})


def space(**options) -> SearchSpace:
    return SearchSpace(GRAPH, **options)


def search(tmp_path, *given, trials=6, resume=False, folder="run"):
    options = SearchOptions(task="analytic", trials=trials, start=given)
    problem = dataclasses.replace(analytic_problem(16, 16), given=given_policies(options.start, space()))
    return search_problem(problem, options, tmp_path / folder, resume=resume)


def test_a_policy_comes_from_a_file_its_content_or_itself(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(OWN.to_json())
    for given in (path, str(path), OWN.to_dict(), OWN, [OWN, path]):
        options = SearchOptions(task="analytic", start=given)
        assert given_policies(options.start, space()) == (OWN,)
        assert SearchOptions(**json.loads(json.dumps(options.to_dict()))) == options


def test_given_policies_are_tried_first_and_say_so(tmp_path):
    other = Policy.from_kept(GRAPH, {"layer0": 16, "layer1": 5})
    run = search(tmp_path, OWN, other)
    assert [str(t.origin) for t in run.trials[:3]] == ["given 1", "given 2", "dense"]
    assert run.trials[0].configuration.policy == OWN
    # What was not named is whole.
    assert run.trials[1].configuration.policy.choices["layer0"] == Choice.keep_all(16)
    assert Policy.from_dict(json.loads(run.policy_path(1).read_text())) == other


def test_a_given_policy_that_is_a_starting_point_already_is_tried_once(tmp_path):
    half = Policy.uniform(GRAPH, 0.5)
    points = starting_points(Known(space()), (half, OWN, half))
    assert [str(p.origin) for p in points][:3] == ["given 1", "given 2", "dense"]
    assert len({p.policy for p in points}) == len(points)


def test_groups_left_out_are_kept_whole():
    data = OWN.to_dict()
    del data["choices"]["layer1"]
    (found,) = given_policies([data], space())
    assert found == Policy.from_kept(GRAPH, {"layer0": 3})


def test_the_command_to_search_again_names_the_files(tmp_path):
    run = search(tmp_path, OWN)
    shown = reproduce(run)
    command = next(c["command"] for c in shown["commands"] if c["title"] == "Search again")
    assert f"--start {run.path / 'policies' / '0.json'}" in command
    assert {"name": "start", "value": "policies given: 1"} in shown["options"]


def test_a_resumed_run_keeps_its_policies_and_takes_further_ones(tmp_path):
    stored = SearchOptions(task="analytic", start=OWN)
    other = Policy.from_kept(GRAPH, {"layer0": 5})
    assert SearchOptions(task="analytic").going_on_from(stored).start == stored.start
    more = SearchOptions(task="analytic", start=[other, OWN]).going_on_from(stored)
    assert more.start == (OWN.to_dict(), other.to_dict())
    with pytest.raises(RunFolderError):
        SearchOptions(task="analytic", seed=3).going_on_from(stored)
    search(tmp_path, OWN, trials=3)
    run = search(tmp_path, OWN, other, trials=5, resume=True)
    assert [str(t.origin) for t in run.trials].count("given 1") == 1
    assert next(t for t in run.trials if str(t.origin) == "given 2").configuration.policy == other


def test_a_search_of_a_task_goes_on_from_another_runs_policy(tmp_path):
    options = {"trials": 2, "samples": 0, "objectives": "macs", "threads": 1}
    first = run_search("digits", out=tmp_path / "first", **options)
    half = first.trials[1]
    assert str(half.origin) == "uniform 0.5"
    second = run_search("digits", out=tmp_path / "second", start=[first.policy_path(half.number)], **options)
    assert str(second.trials[0].origin) == "given 1"
    assert second.trials[0].configuration.policy == half.configuration.policy
    again = run_search("digits", out=tmp_path / "second", resume=True, **{**options, "trials": 3})
    assert open_run(again.path).info.options.start == (half.configuration.policy.to_dict(),)


@pytest.mark.parametrize(
    ("policy", "options", "words"),
    [
        (dataclasses.replace(OWN, model_fingerprint="other"), {}, ["other", GRAPH.fingerprint]),
        (dataclasses.replace(OWN, precision="int8"), {}, ["int8", "--precision fp32,int8"]),
        (OWN, {"channel_multiple": 8}, ["channel 3 of 16", "layer0", "8 of 16"]),
        (OWN, {"types": ("nm",)}, ["channel 3 of 16", "--types"]),
        (Policy.from_kept(GRAPH, {"layer0": 8}, criterion="l1"), {}, ["by l1", "criterion l2", "--criteria"]),
        (Policy.from_kept(analytic_graph(16, 16, 4), {"layer2": 2}), {}, ["expected"]),
    ],
)
def test_what_the_search_may_not_try_is_refused(policy, options, words):
    with pytest.raises(InputError) as raised:
        given_policies([policy.to_dict()], space(**options))
    assert all(word in str(raised.value) for word in words), raised.value


def test_an_unknown_group_is_refused():
    data = OWN.to_dict()
    data["choices"]["layer7"] = data["choices"]["layer0"]
    with pytest.raises(InputError, match="layer7"):
        given_policies([data], space())


def test_several_types_and_a_precision_lie_within_a_space_that_offers_them():
    groups = [dataclasses.replace(g, weights=(Weight(f"{g.name}.w", 0, tuple(range(16)), (16, 8)),)) for g in GRAPH]
    graph = dataclasses.replace(GRAPH, groups=tuple(groups))
    mixed = Policy.of(
        graph, {"layer0": Choice("nm", "l1", 2, 4), "layer1": Choice("channel", "l2", 8, 16)}, precision="int8"
    )
    wide = SearchSpace(graph, types=("channel", "nm"), precisions=("fp32", "int8"), channel_multiple=8)
    (found,) = given_policies([mixed.to_dict()], wide)
    assert {n: c.type for n, c in found.choices.items()} == {"layer0": "nm", "layer1": "channel"}
    assert found.precision == "int8"


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"version": 2}', '{"version": 1, "choices": 3}'])
def test_a_file_that_is_no_policy_is_refused(content, tmp_path):
    path = tmp_path / "own.json"
    path.write_text(content)
    with pytest.raises(InputError):
        SearchOptions(task="analytic", start=path)
    with pytest.raises(InputError, match="absent"):
        SearchOptions(task="analytic", start=tmp_path / "absent.json")
