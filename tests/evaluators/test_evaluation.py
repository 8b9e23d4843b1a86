from __future__ import annotations

import json

import numpy as np

from espalier.evaluators.configuration import Configuration
from espalier.evaluators.evaluation import Evaluation
from espalier.spaces.policy import Policy

FOUND = Evaluation(
    {"accuracy": np.float32(0.5), "macs": 7, "energy_mj": None},
    "measured",
    np.float64(0.25),
    10,
    {"train": 1.23456789},
    inherited_samples=5,
    ancestor=3,
)


def test_what_is_stored_is_plain_and_comes_back():
    stored = json.loads(json.dumps(FOUND.to_dict()))
    again = Evaluation(**stored)
    assert again.metrics == {"accuracy": 0.5, "macs": 7, "energy_mj": None}
    assert type(again.metrics["macs"]) is int
    assert (again.samples, again.inherited_samples, again.ancestor, again.seconds) == (10, 5, 3, {"train": 1.234568})
    assert FOUND.numbers() == {"metrics": again.metrics, "latency_source": "measured", "latency_error": 0.25}


def test_final_numbers_replace_those_of_the_search_and_leave_the_training():
    final = FOUND.with_final(Evaluation({"accuracy": 0.6, "test_accuracy": 0.55}, "learned", 0.1))
    assert final.metrics == {"accuracy": 0.6, "macs": 7, "energy_mj": None, "test_accuracy": 0.55}
    assert (final.latency_source, final.latency_error) == ("learned", 0.1)
    assert (final.samples, final.ancestor) == (10, 3)
    assert FOUND.metrics["accuracy"] == 0.5


def test_a_configuration_says_what_its_evaluation_says():
    configuration = Configuration(4, Policy("f", {}), FOUND)
    assert configuration.seen_samples == 15
    assert configuration.with_metrics({"accuracy": 0.9}).metrics["accuracy"] == 0.9
    entry = configuration.to_dict()
    assert entry["latency_source"] == "measured"
    assert (entry["samples"], entry["inherited_samples"], entry["ancestor"]) == (10, 5, 3)
