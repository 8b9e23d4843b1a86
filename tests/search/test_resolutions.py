"""Coarse resolutions of the search space, and the starting points that are told from sensitivities."""

from __future__ import annotations

import optuna
import pytest

from espalier.search.coarse_proposals import COARSE_VALUES, MOST, RESOLUTION, CoarseProposals
from espalier.search.distributions import check_values, distributions
from espalier.search.resolutions import LevelTemperature, Stages, resolutions
from espalier.search.resolutions.bending import bent, droppable
from espalier.search.sensitivity.table import SensitivityTable, Step
from espalier.search.starting_points import Known, starting_points
from espalier.search.starting_points.threshold import threshold_sweep
from espalier.spaces.policy import Choice, Policy
from espalier.spaces.search_space import SearchSpace
from espalier.testing.analytic import analytic_graph

SPACE = SearchSpace(analytic_graph(64, 64, 64))


def step(kept: int, cost: float, loss: float) -> Step:
    return Step(Choice.channel(kept=kept, of=64, criterion="l2"), cost, loss)


TABLE = SensitivityTable(
    {
        "layer0": (step(48, 0.9, 0.02), step(32, 0.8, 0.10), step(16, 0.7, 0.60)),
        "layer1": (step(48, 0.9, 0.20), step(32, 0.8, 1.00), step(16, 0.7, 3.00)),
        "layer2": (),
    }
)
"""The second group is ten times as sensitive as the first; the third saves nothing on the device."""


def kept(policy: Policy) -> tuple[int, ...]:
    return tuple(choice.kept for choice in policy.choices.values())


def test_at_temperature_0_groups_are_pruned_alike_and_those_that_save_nothing_stay_whole():
    assert kept(bent(SPACE, TABLE, 0.5, temperature=0.0)) == (32, 32, 64)


def test_temperature_spares_the_sensitive():
    first, second, _ = kept(bent(SPACE, TABLE, 0.5, temperature=0.5))
    hotter, cooler, _ = kept(bent(SPACE, TABLE, 0.5, temperature=1.0))
    assert hotter < first < 32 < second < cooler


def test_a_level_of_nothing_is_the_dense_network():
    assert kept(bent(SPACE, TABLE, 0.0, temperature=1.0)) == (64, 64, 64)


def test_branches_are_dropped_by_loss_for_what_they_save():
    drop = Choice("block", None, 0, 1)
    table = SensitivityTable({"a": (Step(drop, 0.9, 0.1),), "b": (Step(drop, 0.5, 0.1),), "c": (Step(drop, 0.9, 9.0),)})
    assert list(droppable(table)) == ["b", "a", "c"]


def test_a_resolution_has_fewer_numbers_than_groups():
    assert [r.name for r in resolutions(SPACE, TABLE)] == ["level and temperature"]
    assert resolutions(SPACE, None) == ()
    assert resolutions(SPACE, SensitivityTable({"layer0": ()})) == ()
    assert set(LevelTemperature(SPACE, TABLE).distributions) == {"level", "temperature"}
    assert set(Stages(SPACE, TABLE).distributions) == {"stage 0", "stage 1", "stage 2"}


def test_stages_have_a_sparsity_each():
    policy = Stages(SPACE, TABLE).policy({"stage 0": 0.5, "stage 1": 0.25, "stage 2": 0.9})
    assert kept(policy) == (32, 48, 64)


def proposals(study: optuna.Study, *, trials: int = 600) -> CoarseProposals:
    return CoarseProposals(study, SPACE, (LevelTemperature(SPACE, TABLE), Stages(SPACE, TABLE)), "tpe", 0, trials)


def drawn(study: optuna.Study, count: int, *, trials: int = 600) -> list[tuple[str, dict[str, float]]]:
    """Evaluate as many proposals, the accuracy being best at half the channels, and return what they were."""
    found = []
    for _ in range(count):
        coarse = proposals(study, trials=trials).next()
        if coarse is None:
            break
        study.enqueue_trial(check_values(coarse.values, SPACE), user_attrs=dict(coarse.attributes))
        trial = study.ask(distributions(SPACE))
        widths = kept(SPACE.policy(trial.params))
        study.tell(trial, [1 - abs(sum(widths) / 192 - 0.5), sum(widths)])
        found.append((trial.user_attrs[RESOLUTION], trial.user_attrs[COARSE_VALUES]))
    return found


def new_study() -> optuna.Study:
    return optuna.create_study(directions=["maximize", "minimize"])


def test_each_resolution_has_its_trials_coarsest_first():
    found = drawn(new_study(), 100)
    assert [name for name, _ in found] == ["level and temperature"] * MOST + ["stages"] * MOST
    assert len(drawn(new_study(), 100, trials=18)) == 6


def test_proposals_depend_on_the_trials_alone():
    study, other = new_study(), new_study()
    assert drawn(study, 9) == drawn(other, 5) + drawn(other, 4)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_every_sampler_proposes_at_both_precisions(sampler: str):
    space = SearchSpace(analytic_graph(64, 64, 64), precisions=("fp32", "int8"))
    study = new_study()
    seen = set()
    for _ in range(MOST):
        coarse = CoarseProposals(study, space, (LevelTemperature(space, TABLE),), sampler, 0, 600).next()
        assert coarse is not None
        study.enqueue_trial(check_values(coarse.values, space), user_attrs=dict(coarse.attributes))
        trial = study.ask(distributions(space))
        seen.add(space.policy(trial.params).precision)
        study.tell(trial, [0.5, 1.0])
    assert seen == {"fp32", "int8"}


def points(table: SensitivityTable = TABLE, **known) -> dict[str, tuple[int, ...]]:
    return {str(p.origin): kept(p.policy) for p in starting_points(Known(SPACE, table, **known))}


def test_one_threshold_prunes_each_group_as_far_as_it_loses_no_more():
    swept = {str(point.origin): kept(point.policy) for point in threshold_sweep(Known(SPACE, TABLE))}
    # Costs from 0.49 to 1: a half of that is nearest to 0.72 (a loss of 0.2), a quarter to 0.63 (0.6).
    assert swept == {"threshold 0.2": (32, 48, 64), "threshold 0.02": (48, 64, 64), "threshold 0.6": (16, 48, 64)}


def test_the_least_important_channels_of_the_whole_network_go():
    important = {"layer0": [2.0] * 16 + [0.5] * 48, "layer1": [1.0] * 64, "layer2": [3.0] * 64}
    ranked = {o: w for o, w in points(SensitivityTable({}), importance=important).items() if o.startswith("global")}
    # A quarter and a half of the channels end among the equal ones of the second group; no group loses its best one.
    assert ranked == {"global ranking 0.5": (16, 64, 64), "global ranking 0.75": (1, 1, 64)}


def test_what_nobody_probed_has_no_such_points():
    assert {origin.split()[0] for origin in points(SensitivityTable({}))} == {"dense", "uniform"}


def test_the_walk_and_the_levels_are_among_the_points():
    assert {origin.split()[0] for origin in points()} == {"dense", "knapsack", "sensitivity", "uniform"}
    assert len(set(points().values())) == len(points())
