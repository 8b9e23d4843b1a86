"""The networks a report speaks of: the dense one and the picks, with the best numbers known for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...evaluators.configuration import Configuration
from ...evaluators.evaluation import Evaluation, Metrics
from ...evaluators.front import PICKS
from ...evaluators.task.measure import ACCURACY, Measure
from .. import formatting as fmt
from ..precision import run_precision

if TYPE_CHECKING:
    from ...search.run_folder import Run

PICK_LABELS: Mapping[str, str] = {
    "knee": "Knee",
    "fastest": "Fastest",
    "smallest": "Smallest",
    "most-accurate": "Most accurate",
}


def pick_labels(measure: Measure) -> Mapping[str, str]:
    """Return what picks are called: the one with the best score is called most accurate of accuracies alone."""
    return PICK_LABELS if measure.name == ACCURACY.name else {**PICK_LABELS, "most-accurate": f"Best {measure.name}"}


SOURCES: Mapping[str, str] = {
    "measured": "measured on this device",
    "learned": "predicted by a model fitted to measurements",
    "roofline": "estimated from the device's peak speeds",
    "vela": "estimated by Arm's compiler Vela, whose own error is not stated",
}


@dataclass(frozen=True)
class Network:
    """The dense network or a member of the front."""

    name: str
    trial: int | None
    tags: tuple[str, ...]
    evaluation: Evaluation
    precision: str = ""
    """What its numbers are at; empty where all are at fp32."""
    measure: Measure = ACCURACY
    """What its score is."""

    @property
    def metrics(self) -> Metrics:
        """Its numbers."""
        return self.evaluation.metrics

    @property
    def gap(self) -> float | None:
        """By how much the validation score is worse than that on training data, in the score's own unit."""
        train, validation = self.metrics.get("train_accuracy"), self.metrics.get("accuracy")
        return None if train is None or validation is None else self.measure.loss(validation, train)

    def shown(self, name: str) -> str:
        """Return a metric with its unit, or ``not measured``."""
        return fmt.metric(name, self.metrics.get(name), self.measure)


def dense_network(run: Run) -> Network:
    """Return the network as it was brought, with its final numbers where they exist."""
    return Network("Dense", None, (), run.dense, run_precision(run, "fp32"), measure=run.measure)


def network(run: Run, configuration: Configuration) -> Network:
    """Return a front member as a :class:`Network`, named after its tags or its trial."""
    return Network(
        tag_words(configuration.tags, run.measure) or f"Trial {configuration.trial}",
        configuration.trial,
        configuration.tags,
        configuration.evaluation,
        precision_words(run, configuration),
        run.measure,
    )


def precision_words(run: Run, configuration: Configuration) -> str:
    """Return what a configuration's numbers are at; nothing where every number of the run is at fp32."""
    return run_precision(run, configuration.policy.precision)


def tag_words(tags: Sequence[str], measure: Measure = ACCURACY) -> str:
    """Return the picks that a configuration is: ``Fastest, smallest``; nothing where it is none."""
    labels = pick_labels(measure)
    found = [labels[tag] for tag in PICKS if tag in tags]
    return ", ".join(word if i == 0 else f"{word[:1].lower()}{word[1:]}" for i, word in enumerate(found))


def picked(run: Run) -> list[Network]:
    """Return the tagged members of the front, each once, in the order of :data:`PICKS`."""
    tagged: dict[int, Configuration] = {}
    for name in PICKS:
        for configuration in run.front.configurations:
            if name in configuration.tags:
                tagged.setdefault(configuration.trial, configuration)
    return [network(run, c) for c in tagged.values()]


def latency_words(source: str, error: float | None) -> str:
    """Return where a latency comes from and how far off it may be."""
    words = SOURCES.get(source, source)
    if error is None or source == "vela":
        return words
    return f"{words}, \u00b1{fmt.percent(error, 0 if error >= 0.1 else 1)}"


def cell(name: str, network: Network, dense: Network) -> dict[str, Any]:
    """Return one metric of one network for a table: its text, its change against dense, and whether that is better."""
    value, base = network.metrics.get(name), dense.metrics.get(name)
    change = "" if network.trial is None else fmt.change(name, value, base, dense.measure)
    better = None
    if change and value is not None and base is not None and value != base:
        better = fmt.better(name, value, base, dense.measure)
    return {
        "text": fmt.metric(name, value, dense.measure),
        "change": change,
        "better": better,
        "missing": not fmt.known(value),
    }
