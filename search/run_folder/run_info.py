"""``run.json``: what a run is, written when it starts."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from ...errors import InputError, RunFolderError, describe
from ...evaluators.evaluation import Evaluation
from ...evaluators.objectives import Constraint, Objective
from ...evaluators.onnx.quantisation import recipe_in_full
from ...evaluators.task.measure import ACCURACY, Measure, measured
from ...jsonfile import read_json, write_json
from ...spaces.graph.groups import Graph
from ..options import SearchOptions, different_run

RUN = "run.json"
_PACKAGES = ("espalier", "torch", "optuna", "onnxruntime", "numpy")


@dataclass(frozen=True)
class GroupSummary:
    """One group of the network that was searched."""

    name: str
    channels: int
    layers: tuple[str, ...]
    stage: int
    verification: str


@dataclass(frozen=True)
class FrozenSummary:
    """One group that was not searched, with the reason."""

    name: str
    channels: int
    layers: tuple[str, ...]
    reason: str
    code: str = ""
    """Of the reason; empty in runs stored before there were codes."""


@dataclass(frozen=True)
class GraphSummary:
    """What could be pruned and what not."""

    groups: tuple[GroupSummary, ...]
    frozen: tuple[FrozenSummary, ...]

    @classmethod
    def of(cls, graph: Graph) -> GraphSummary:
        """Return the summary of a traced network."""
        return cls(
            tuple(GroupSummary(g.name, g.channels, g.layers, g.stage, g.verification) for g in graph.groups),
            tuple(FrozenSummary(f.name, f.channels, tuple(f.layers), f.reason, str(f.code)) for f in graph.frozen),
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> GraphSummary:
        """Rebuild a summary from ``run.json``."""
        return cls(
            tuple(GroupSummary(**{**g, "layers": tuple(g["layers"])}) for g in data["groups"]),
            tuple(FrozenSummary(**{**f, "layers": tuple(f["layers"])}) for f in data["frozen"]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data that ``run.json`` stores."""
        return {
            "groups": [{**vars(g), "layers": list(g.layers)} for g in self.groups],
            "frozen": [{**vars(f), "layers": list(f.layers)} for f in self.frozen],
        }


@dataclass(frozen=True)
class RunInfo:
    """What a run searches, with what, and where it started from."""

    task_reference: str | None
    """What loads the task again; ``None`` where it was given as an object."""
    task_name: str
    device: str
    options: SearchOptions
    constraints: tuple[str, ...]
    """The options' own and the device's limits."""
    versions: Mapping[str, str]
    seed: int
    samples: int
    """Fidelity: training samples that each candidate is fine-tuned on."""
    fingerprints: Mapping[str, str]
    """Digests of what must not change while the run goes on, by what they are of."""
    created: str
    """ISO 8601, UTC."""
    study_name: str
    dense: Evaluation
    """The network as it was brought, measured before the search."""
    graph: GraphSummary
    quantisation: Mapping[str, Any] | None = None
    """How int8 files are made from weights and training data; ``None`` where the run searches no int8."""
    processor: Mapping[str, Any] | None = None
    """The instruction set of the processor that the run began on; ``None`` in runs of older versions."""
    metric: Measure = ACCURACY
    """What the score is; accuracy in runs of before it was stored."""
    says_metric: bool = True
    """Whether it was stored."""
    training: Mapping[str, Any] | None = None
    """What the built-in loop fine-tunes with; ``None`` where it was not stored, or the task brings its own loop."""

    @property
    def model_fingerprint(self) -> str:
        """Digest of the names, shapes and types of the network's parameters and buffers."""
        return self.fingerprints["model"]

    @property
    def data_fingerprint(self) -> str:
        """Digest of the task's data."""
        return self.fingerprints["data"]

    @property
    def quantisation_in_full(self) -> Mapping[str, Any] | None:
        """How int8 files are made, as this version says it; as it was stored where the scheme is unknown here."""
        try:
            return None if self.quantisation is None else recipe_in_full(self.quantisation)
        except InputError:
            return self.quantisation

    @cached_property
    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints as values."""
        return tuple(Constraint.parse(text) for text in self.constraints)

    @cached_property
    def objectives(self) -> tuple[Objective, ...]:
        """What is optimised, the score in its own direction."""
        return measured(self.options.parsed_objectives, self.metric)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``run.json``."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        plain.update(metric=self.metric.to_dict())
        del plain["says_metric"]
        plain.update(options=self.options.to_dict(), versions=dict(self.versions), graph=self.graph.to_dict())
        plain.update(fingerprints=dict(self.fingerprints), constraints=list(self.constraints))
        plain.update(dense=self.dense.numbers())
        return {"version": 1, **plain}

    def write(self, folder: Path) -> None:
        """Write ``run.json`` atomically."""
        write_json(folder / RUN, self.to_dict())

    @classmethod
    def read(cls, folder: Path) -> RunInfo:
        """Read ``run.json``.

        Raises:
            RunFolderError: it is absent, torn, of another version, or a field is missing or malformed.
        """
        path = folder / RUN
        content = read_json(path)
        content.pop("version")
        try:
            content["options"] = SearchOptions.of(content["options"])
            content["constraints"] = tuple(content["constraints"])
            content["dense"] = Evaluation(**content["dense"])
            content["graph"] = GraphSummary.from_dict(content["graph"])
            content["says_metric"] = content.get("metric") is not None
            content["metric"] = Measure.from_dict(content.get("metric"))
            info = cls(**content)
            _ = info.parsed_constraints, info.model_fingerprint, info.data_fingerprint
            return info
        except (KeyError, TypeError, AttributeError, InputError) as error:
            raise RunFolderError(
                describe(
                    f"{path} has no valid content ({error})",
                    expected="what Espalier wrote",
                    remedy="Restore it from a copy.",
                )
            ) from error

    def check_resumes(self, stored: RunInfo) -> None:
        """Check that the run ``stored`` can go on as this one.

        Other data are no difference by themselves: see :meth:`has_other_data`.

        Raises:
            RunFolderError: options, network, data, device, fidelity or Espalier's major version differ; the message
                names every difference.
        """
        self.options.check_resumes(stored.options)
        compared: dict[str, tuple[object, object]] = {
            f"the {what}'s fingerprint": (self.fingerprints.get(what), stored.fingerprints.get(what))
            for what in (*stored.fingerprints, *self.fingerprints)
            if what != "data"
        }
        compared["the way to int8"] = _apart(self.quantisation, stored.quantisation_in_full)
        compared["the metric"] = (self.metric, stored.metric)
        compared["samples"] = (self.samples, stored.samples)
        compared["Espalier's major version"] = (_major(self.versions), _major(stored.versions))
        differences = [
            f"{what} is {mine!r}, in the run {theirs!r}" for what, (mine, theirs) in compared.items() if mine != theirs
        ]
        if differences:
            raise different_run(differences)

    def has_other_data(self, stored: RunInfo) -> str | None:
        """Return how the data differ from those of the run ``stored``; ``None`` where their fingerprints agree."""
        mine, theirs = self.data_fingerprint, stored.data_fingerprint
        return None if mine == theirs else f"the data's fingerprint is {mine!r}, in the run {theirs!r}"


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide results."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _apart(mine: Mapping[str, Any] | None, theirs: Mapping[str, Any] | None) -> tuple[object, object]:
    """Return two recipes, or what of them differs."""
    if mine is None or theirs is None:
        return mine, theirs
    names = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name)]
    return {n: mine.get(n) for n in names}, {n: theirs.get(n) for n in names}


def _major(versions: Mapping[str, str]) -> str:
    return str(versions.get("espalier", "unknown")).partition(".")[0]
