"""What a score is called and in which direction it improves."""

from __future__ import annotations

import dataclasses

import pytest

from espalier.errors import TaskError
from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.evaluators.front import Front
from espalier.evaluators.objectives import objectives
from espalier.evaluators.task.measure import ACCURACY, Measure, measured
from espalier.evaluators.task.metrics import Positions
from espalier.evaluators.task.metrics.accuracy import Accuracy
from espalier.evaluators.task.task_measure import measure_of
from espalier.spaces.policy import Policy

RMSE = Measure("RMSE", "minimize", "mm", share=False)
POLICY = Policy("0", {})


def configuration(trial: int, score: float, latency: float) -> Configuration:
    return Configuration(trial, POLICY, Evaluation({"accuracy": score, "latency_ms": latency}, "measured", 0.05, 100))


def test_an_accuracy_improves_upwards():
    assert ACCURACY.loss(0.7, 0.9) == pytest.approx(0.2)
    assert ACCURACY.best([0.5, None, 0.9]) == 0.9
    assert ACCURACY.worst([0.5, None, 0.9]) == 0.5
    assert ACCURACY.improved(0.9, 0.01) == pytest.approx(0.91)
    assert ACCURACY.reference(0.9) == 0.45


def test_an_error_improves_downwards():
    assert RMSE.loss(7.0, 5.0) == 2.0
    assert RMSE.loss(4.0, 5.0) == -1.0
    assert RMSE.best([5.0, None, 3.0]) == 3.0
    assert RMSE.worst([5.0, None, 3.0]) == 5.0
    assert RMSE.improved(5.0, 0.5) == 4.5
    assert RMSE.reference(5.0) == 10.0
    assert RMSE.room(5.0) == 5.0
    assert RMSE.key(None) > RMSE.key(1e9)


@pytest.mark.parametrize(
    ("measure", "dense", "reference"),
    [
        (Measure("loss", "minimize", share=False), -2.0, 0.0),
        (Measure("loss", "minimize", share=False), 0.0, 1.0),
        (Measure("R\u00b2", "maximize", share=False), -0.4, -0.6),
        (dataclasses.replace(RMSE, usable_from=6.0), 5.0, 6.0),
        (dataclasses.replace(RMSE, usable_from=4.0), 5.0, 10.0),  # the dense network itself is of no use
        (dataclasses.replace(ACCURACY, usable_from=0.8), 0.9, 0.8),
    ],
)
def test_the_reference_is_worse_than_dense(measure, dense, reference):
    assert measure.reference(dense) == pytest.approx(reference)
    assert measure.loss(measure.reference(dense), dense) > 0


def test_it_is_stored_and_read_again():
    assert Measure.from_dict(RMSE.to_dict()) == RMSE
    assert RMSE.to_dict() == {
        "name": "RMSE",
        "direction": "minimize",
        "unit": "mm",
        "higher_is_better": False,
        "share": False,
        "usable_from": None,
    }
    assert Measure.from_dict(None) == ACCURACY


def test_the_front_of_an_error_keeps_low_ones():
    tried = [
        configuration(1, 5.0, 10.0),
        configuration(2, 6.0, 4.0),
        configuration(3, 7.0, 5.0),  # beaten by 2
        configuration(4, 9.0, 2.0),
        configuration(5, 12.0, 1.0),  # beyond twice the dense error
    ]
    names = objectives("accuracy,latency")
    front = Front.of(tried, objectives=names, dense={"accuracy": 5.0, "latency_ms": 10.0}, measure=RMSE)
    assert [c.trial for c in front.configurations] == [5, 4, 2, 1]
    assert {o.name: o.direction for o in front.objectives} == {"accuracy": "minimize", "latency_ms": "minimize"}
    assert front.reference_point == {"accuracy": 10.0, "latency_ms": 10.0}
    assert front.pick("most-accurate").trial == 1
    assert front.pick("fastest").trial == 5
    # Scaled to (error - 5) / 5 and latency / 10, below (1, 1): trial 2 at (0.2, 0.4), trial 4 at (0.8, 0.2).
    assert front.hypervolume == pytest.approx(0.8 * 0.6 + 0.2 * 0.2)


def test_measured_leaves_costs_alone():
    found = measured(objectives("size,metric"), RMSE)
    assert [(o.name, o.direction, o.unit) for o in found] == [
        ("size_bytes", "minimize", "bytes"),
        ("accuracy", "minimize", "mm"),
    ]


def test_a_task_says_what_its_score_is(stripes_task):
    def of(**changes):
        return measure_of(dataclasses.replace(stripes_task, **changes))

    assert of() == ACCURACY
    assert of(metric="rmse", unit="mm") == RMSE
    assert of(metric="rmse", metric_name="error", direction="minimize").name == "error"
    assert of(metric="top5").name == "top-5 accuracy"
    assert of(metric=Accuracy(Positions())) == ACCURACY
    own = of(metric=lambda outputs, targets: 1.0, metric_name="pinball", direction="minimize", unit="s")
    assert own == Measure("pinball", "minimize", "s", share=False)
    assert of(metric=lambda outputs, targets: 1.0).name == "score"
    # What evaluate measures is not known: it is no accuracy until the task says so.
    assert of(evaluate=lambda model, data: 1.0) == Measure("score", share=False)
    assert of(evaluate=lambda model, data: 1.0, direction="minimize", metric_name="EER").direction == "minimize"


def test_torchmetrics_knows_its_direction(stripes_task):
    torchmetrics = pytest.importorskip("torchmetrics")
    found = measure_of(dataclasses.replace(stripes_task, metric=torchmetrics.MeanAbsoluteError()))
    assert (found.name, found.direction) == ("MeanAbsoluteError", "minimize")
    found = measure_of(dataclasses.replace(stripes_task, metric=torchmetrics.R2Score))
    assert found.direction == "maximize"


def test_a_direction_against_a_known_metric_is_refused(stripes_task):
    with pytest.raises(TaskError, match="RMSE is better lower"):
        measure_of(dataclasses.replace(stripes_task, metric="rmse", direction="maximize"))
    with pytest.raises(TaskError, match="maximize or minimize"):
        measure_of(dataclasses.replace(stripes_task, metric=lambda o, t: 1.0, direction="down"))
    with pytest.raises(TaskError, match="usable_from"):
        measure_of(dataclasses.replace(stripes_task, usable_from=float("nan")))


def test_it_is_told_in_words():
    assert RMSE.words == "RMSE in mm, lower is better"
    assert ACCURACY.words == "accuracy, higher is better"
