from __future__ import annotations

import itertools
import json
import time

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend

from espalier.errors import ConstraintError, EvaluationError, InputError
from espalier.evaluators.front import Front
from espalier.evaluators.objectives import Constraint
from espalier.evaluators.pareto import dominates
from espalier.search.dry_run import dry_run_problem
from espalier.search.options import SearchOptions
from espalier.search.progress import PlainProgress
from espalier.search.run_folder import open_run
from espalier.testing.analytic import DENSE_ACCURACY, AnalyticEvaluator, analytic_problem


def keys(run):
    return [t.configuration.policy.key for t in run.trials if t.configuration]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_a_search_evaluates_as_many_distinct_policies_as_asked(search, sampler):
    run = search(trials=25, sampler=sampler)
    assert len(keys(run)) == len(set(keys(run))) == 25
    assert {t.state for t in run.trials} <= {"complete", "duplicate"}


def test_starting_points_come_first_dense_then_from_the_middle(search):
    run = search(trials=10)
    assert [str(t.origin) for t in run.trials[:5]] == [
        "dense",
        "uniform 0.5",
        "uniform 0.25",
        "uniform 0.75",
        "uniform 0.125",
    ]
    assert str(run.trials[9].origin) == "sampler"
    assert run.trials[0].configuration.metrics["accuracy"] == DENSE_ACCURACY


def test_the_front_is_what_no_other_trial_dominates_and_has_weights(search):
    run = search(trials=40)
    signs = [o.sign for o in run.objectives]
    points = {
        t.number: tuple(s * t.configuration.metrics[o.name] for s, o in zip(signs, run.objectives, strict=True))
        for t in run.trials
        if t.configuration
    }
    expected = {n for n, p in points.items() if not any(dominates(q, p) for q in points.values())}
    members = {c.trial for c in run.front.configurations}
    assert members <= expected
    assert {points[m] for m in members} == {points[e] for e in expected}
    assert {int(p.stem) for p in (run.path / "weights").iterdir()} == members
    for c in run.front.configurations:
        assert run.weights_path(c.trial).read_text() == repr(c.policy.key)
        assert c.weights == f"weights/{c.trial}.safetensors"


@pytest.mark.parametrize(
    "objectives", ["accuracy", "accuracy,latency", "accuracy,latency,size", "accuracy,macs,params,memory"]
)
def test_any_number_of_objectives(search, objectives):
    run = search(trials=15, objectives=objectives)
    assert len(run.front.configurations) >= 1
    assert len(run.objectives) == objectives.count(",") + 1
    study = optuna.load_study(study_name=run.info.study_name, storage=storage_of(run))
    assert [d.name.lower() for d in study.directions] == [o.direction for o in run.objectives]


def storage_of(run):
    return optuna.storages.JournalStorage(JournalFileBackend(str(run.path / "study.journal")))


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(search):
    first, again, other = (search(trials=30, seed=seed, folder=name) for seed, name in [(3, "a"), (3, "b"), (4, "c")])
    assert keys(first) == keys(again)
    assert keys(first) != keys(other)


def test_a_resumed_search_does_not_repeat_the_draws_of_the_first(search):
    search(trials=12, sampler="random", channels=(64, 64, 64, 64))
    run = search(trials=24, sampler="random", channels=(64, 64, 64, 64), resume=True)
    assert len(run.trials) == len(set(keys(run))) == 24


def test_a_small_space_ends_when_all_of_it_is_known(search):
    run = search(trials=500, channels=(3, 4))
    assert len(set(keys(run))) == 12
    assert len(keys(run)) == 12


def test_duplicates_are_told_the_known_values_and_marked(search):
    run = search(trials=60, channels=(4, 4, 4), sampler="random")
    duplicates = [t for t in run.trials if t.state == "duplicate"]
    study = optuna.load_study(study_name=run.info.study_name, storage=storage_of(run))
    assert duplicates
    for record in duplicates:
        trial, original = study.trials[record.number], study.trials[record.duplicate_of]
        assert trial.values == original.values
        assert run.trials[record.duplicate_of].state == "complete"
        assert record.configuration is None


def test_candidates_that_fail_or_diverge_fail_alone_with_their_reason(search):
    run = search(trials=40, channels=(16, 16), problem={"failing": 0.7, "diverging": 0.4}, sampler="random")
    failed = [t for t in run.trials if t.state == "failed"]
    assert {t.reason for t in failed} == {"accuracy is nan"} | {
        f"trial {t.number}: too sparse" for t in failed if t.reason != "accuracy is nan"
    }
    assert any("too sparse" in t.reason for t in failed)
    assert all(t.reason is None for t in run.trials if t.state == "complete")
    assert len(failed) + sum(t.state == "complete" for t in run.trials) == 40
    assert not {int(path.stem) for path in weights(run)} & {t.number for t in failed}


def weights(run):
    return list((run.path / "weights").iterdir())


def test_nothing_but_failures_ends_early(search):
    with pytest.raises(EvaluationError, match=r"all of the first 5 evaluations failed, the last with: .*too sparse"):
        search(trials=50, problem={"failing": -1.0})


def test_constraints_hold_on_the_front_and_the_sampler_is_told(search):
    run = search(trials=40, constraints=["size_bytes<=100"])
    assert all(c.metrics["size_bytes"] <= 100 for c in run.front.configurations)
    study = optuna.load_study(study_name=run.info.study_name, storage=storage_of(run))
    assert study.trials[0].constraints == {"size_bytes<=100": pytest.approx((4 * 40 - 100) / 100)}
    assert all(len(t.constraints) == 1 for t in study.trials)
    assert {int(p.stem) for p in weights(run)} == {c.trial for c in run.front.configurations}


def test_an_accuracy_that_no_candidate_reaches_gives_an_empty_front(search):
    run = search(trials=10, constraints=["accuracy>=0.99"])
    assert run.front.configurations == ()
    with pytest.raises(InputError, match="front is empty"):
        run.pick("knee")


def test_a_constraint_beyond_the_most_pruned_network_says_what_is_attainable(search, tmp_path):
    with pytest.raises(
        ConstraintError, match=r"size_bytes<=8 cannot be met; .*from 12 \(most pruned\) to 160 \(dense\)"
    ):
        search(constraints=["size_bytes<=8"])
    with pytest.raises(ConstraintError, match="energy_mj"):
        search(constraints=["energy_mj<=8"])
    with pytest.raises(InputError, match="objective energy_mj is unknown on device formulas"):
        search(objectives="accuracy,energy")
    assert not (tmp_path / "run").exists()


def test_the_limits_of_the_device_are_constraints(search):
    run = search(trials=30, problem={"limits": (Constraint.parse("size_bytes<=120"),)})
    assert [str(c) for c in run.constraints] == ["size_bytes<=120"]
    assert run.info.options.constraints == ()
    assert all(c.metrics["size_bytes"] <= 120 for c in run.front.configurations)


def test_a_budget_ends_the_search_and_counts_over_resumes(search):
    begin = time.monotonic()
    run = search(trials=10_000, budget=0.5, problem={"seconds": 0.02}, channels=(64, 64, 64))
    assert 0.4 < time.monotonic() - begin < 20
    done = len(run.trials)
    assert 3 < done < 60
    again = search(trials=10_000, budget=0.5, problem={"seconds": 0.02}, channels=(64, 64, 64), resume=True)
    assert len(again.trials) <= done + 2


def test_a_search_whose_front_has_stopped_to_grow_tries_no_more(search):
    run = search(trials=10_000, patience=5, sampler="random", channels=(64, 64, 64))
    tried = [t.configuration for t in run.trials if t.configuration is not None]
    grown = [
        Front.of(tried[:n], objectives=run.objectives, dense=run.dense.metrics).hypervolume
        for n in range(1, len(tried) + 1)
    ]
    assert grown[-6] > grown[-7] * 1.001
    assert all(later <= earlier * 1.001 for earlier, later in itertools.pairwise(grown[-6:]))
    assert [e["event"] for e in run.events].count("stagnated") == 1


def test_final_numbers_are_taken_once_for_each_configuration(search, monkeypatch):
    asked = []
    finish = AnalyticEvaluator.finish
    monkeypatch.setattr(
        AnalyticEvaluator, "finish", lambda self, m: asked.extend(r.trial for r in m) or finish(self, m)
    )
    run = search(trials=15)
    assert sorted(asked) == sorted(c.trial for c in run.front.configurations)
    search(trials=15, resume=True)
    later = search(trials=40, resume=True)
    assert len(asked) == len(set(asked))
    assert {c.trial for c in later.front.configurations} <= set(asked)
    assert later.dense.metrics["test_accuracy"] == pytest.approx(DENSE_ACCURACY - 0.01)


def test_the_front_document_has_the_fields_of_the_contract(search):
    run = search(trials=15)
    document = json.loads((run.path / "front.json").read_text())
    assert document == json.loads(json.dumps(run.front_document()))
    assert document["version"] == 1
    assert document["objectives"] == {"accuracy": "maximize", "latency_ms": "minimize", "size_bytes": "minimize"}
    assert document["fidelity"] == {"samples": 100}
    assert document["dense"]["size_bytes"] == 160
    assert document["reference_point"] == {
        "accuracy": DENSE_ACCURACY / 2,
        "latency_ms": document["dense"]["latency_ms"],
        "size_bytes": 160,
    }
    entry = document["configurations"][0]
    policy = json.loads((run.path / entry["policy"]).read_text())
    assert policy["model_fingerprint"] == run.info.model_fingerprint
    assert (run.path / entry["weights"]).exists()
    assert entry["metrics"]["test_accuracy"] == pytest.approx(entry["metrics"]["accuracy"] - 0.01)
    assert {"latency_source", "latency_error", "tags", "trial"} <= set(entry)
    assert {tag for e in document["configurations"] for tag in e["tags"]} == {
        "knee",
        "fastest",
        "smallest",
        "most-accurate",
    }


def test_picks_take_names_trials_and_further_constraints(search):
    run = search(trials=30)
    fastest = run.pick("fastest")
    assert run.pick(fastest.trial) == fastest
    accurate = run.pick("most-accurate", ["size_bytes<=100"])
    assert accurate.metrics["size_bytes"] <= 100
    with pytest.raises(InputError, match="front is empty"):
        run.pick("knee", ["size_bytes<=1"])


def test_two_workers_search_as_one_would(search):
    run = search(trials=20, workers=2, threads=1)
    assert len(set(keys(run))) == 20
    assert {int(p.stem) for p in weights(run)} == {c.trial for c in run.front.configurations}


def test_a_database_holds_the_study_as_well(search, tmp_path):
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    search(trials=6, storage=url)
    run = search(trials=12, storage=url, resume=True)
    assert len(run.trials) == 12
    assert not (run.path / "study.journal").exists()
    assert len(open_run(run.path).front.configurations) == len(run.front.configurations)
    with pytest.raises(InputError, match="cannot be opened"):
        search(folder="other", storage="nosuchdb://x/y")
    with pytest.raises(InputError, match="storage is None"):
        search(trials=12, resume=True)


def test_progress_is_shown_as_lines(search, capsys):
    search(trials=12, progress=PlainProgress(every_seconds=0.0))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("0/12 done, 0 failed, front 0")
    assert lines[-1].startswith("12/12 done, 0 failed, front ")
    assert "best accuracy 0.9500" in lines[-1]


def test_the_log_tells_what_happened(search):
    run = search(trials=6, problem={"failing": 0.7})
    search(trials=7, problem={"failing": 0.7}, resume=True)
    names = [event["event"] for event in open_run(run.path).events]
    assert names[0] == "started"
    assert names.count("trial finished") + names.count("trial failed") == 7
    assert names[-1] == "finished"
    assert "resumed" in names
    assert all(event["reason"] for event in run.events if event["event"] == "trial failed")


def test_a_dry_run_tells_groups_size_and_time_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = dry_run_problem(analytic_problem(4, 8, seconds=0.01), SearchOptions(task="analytic", trials=20, workers=2))
    assert [g.channels for g in found.groups] == [4, 8]
    assert found.size == 32
    assert found.evaluation_seconds >= 0.01
    assert found.seconds == pytest.approx(found.evaluation_seconds * 10)
    assert found.to_dict()["groups"][0] == {"name": "layer0", "channels": 4, "verification": "exact"}
    assert list(tmp_path.iterdir()) == []
