"""What a search was asked to do: the one place where an option of a search is defined.

Each field's docstring is its help. The options of ``espalier search``, the keyword arguments of
:func:`~espalier.search.run_search.run_search`, the keys of ``--config`` and of ``run.json``, the command that repeats a
search and the table in docs/search.md follow from the fields.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, RunFolderError, describe, unknown_name
from ..evaluators.objectives import Constraint, Objective
from ..evaluators.objectives import objectives as parse_objectives
from . import option_values as read
from .option_fields import named, option, option_fields

if TYPE_CHECKING:
    from ..evaluators.task.task import Task

_CONFIG_ONLY = ("out",)


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search.

    Raises:
        InputError: an option cannot be used; the message holds the value, what was expected and what to do.
    """

    task: str = option(read=read.task_reference, metavar="TASK")
    """What to prune: digits, cifar10-resnet8, cifar10-resnet20, cifar10-vit, cifar10-vgg, path/to/file.py:name or
    package.module:name. May stand in --config instead."""
    device: str = option("host", read=read.path_text, metavar="NAME|FILE")
    """A device's name, or its YAML file."""
    trials: int = option(50, read=read.whole(1), kind="whole", may_change=True)
    """Configurations to evaluate, a resumed run's included."""
    budget: float | None = option(
        None, read=read.optional(read.duration), metavar="TIME", unset="no limit", may_change=True
    )
    """How long to search, in all: 90s, 30m, 1h30m."""
    workers: int = option(1, read=read.whole(1), kind="whole", may_change=True)
    """Processes that evaluate; one evaluates in the search's own process."""
    threads: int | None = option(
        None, read=read.optional(read.whole(1)), kind="whole", unset="cores / workers", may_change=True
    )
    """Threads of each worker."""
    executor: str = option("local", read=read.executor_name, metavar="NAME", may_change=True)
    """What carries out evaluations: local, in-process or processes. local takes processes where there are several
    workers."""
    storage: str | None = option(
        None, read=read.optional(read.storage_url), metavar="URL", unset="a journal in the run's folder"
    )
    """A database for the Optuna study. The URL is stored in run.json: a password belongs into the database driver's
    own file."""
    objectives: tuple[str, ...] = option(
        ("accuracy", "latency_ms", "size_bytes"), read=read.objective_names, kind="names", metavar="NAMES",
        aliases=("objective",),
    )  # fmt: skip
    """What to trade off: accuracy (the task's metric, whatever it is), latency, size, macs, params, memory, energy."""
    constraints: tuple[str, ...] = option(
        (), read=read.constraint_texts, kind="repeated", flag="constraint", metavar="METRIC<=NUMBER", unset="none",
        aliases=("constraint",),
    )  # fmt: skip
    """A bound to keep, such as 'latency_ms<=5' or 'size_bytes<=100KB'. May be given several times."""
    types: tuple[str, ...] = option(
        ("channel", "block"), read=read.names, kind="names", metavar="NAMES", aliases=("type",)
    )
    """Pruning types: channel, block, nm, weight, none."""
    criteria: tuple[str, ...] = option(("l2",), read=read.names, kind="names", metavar="NAMES", aliases=("criterion",))
    """How channels are ranked: l1, l2, bn_scale, fpgm, lamp, taylor, hessian, activation, random."""
    precision: tuple[str, ...] = option(("fp32",), read=read.precision_names, kind="names", metavar="NAMES")
    """fp32, int8 or fp32,int8: what candidates run at; an int8 one is fine-tuned at fp32 and then quantised."""
    sampler: str = option("tpe", read=read.sampler_name, metavar="NAME")
    """What proposes candidates: tpe, nsga2 or random."""
    seed: int = option(0, read=read.whole(0, 2**32), kind="whole")
    """Seed of everything drawn."""
    samples: int | None = option(None, read=read.optional(read.whole(0)), kind="whole", unset="what suits the task")
    """Training samples that each candidate is fine-tuned on."""
    start: tuple[dict[str, Any], ...] = option(
        (), read=read.policies, kind="repeated", metavar="FILE", unset="none", may_change=True
    )
    """A policy to try first, such as another run's policies/N.json. May be given several times. Kept by value: a
    resumed search needs no file."""
    calibrate: bool | None = option(
        None, read=read.optional(read.switch), kind="switch", unset="on host, from 40 trials on", may_change=True
    )
    """Calibrate this machine for the network first, to turn down what is predicted to break a constraint before it is
    trained."""
    inherit: bool = option(True, read=read.switch, kind="switch")
    """Start candidates from the weights of larger ones trained before them, along a path of shrinking networks
    first."""
    baselines: bool = option(False, read=read.switch, kind="switch", may_change=True)
    """Also run uniform pruning afterwards, each level from the dense network and each from the one before, at the
    budget that the search used, and show it beside the front."""
    patience: int | None = option(
        None, read=read.optional(read.whole(1)), kind="whole", metavar="N", unset="any number", may_change=True
    )
    """Try no more once so many candidates in a row have not enlarged the front."""
    export_check: bool = option(True, read=read.switch, kind="switch", may_change=True)
    """Try the export on the network and on validation data first, and refuse what cannot be exported."""
    ladder: bool = option(True, read=read.switch, kind="switch", unset=", unless --samples or --no-inherit is given")
    """Begin candidates off the path without training of their own, and train only the best of comparable cost
    further."""
    data: str | None = option(None, read=read.optional(read.path_text), metavar="FOLDER", unset="none", may_change=True)
    """Folder where the task's data lie, for tasks that need one. What lies there is checked by its fingerprint."""

    def __post_init__(self) -> None:
        for field in option_fields(type(self)):
            object.__setattr__(self, field.name, field.read(field.name, getattr(self, field.name)))

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> SearchOptions:
        """Return options from values by name.

        Raises:
            InputError: a name is unknown (near names are suggested), the task is missing or a value cannot be used.
        """
        known = named(cls)
        for name in values:
            if name not in known:
                raise unknown_name("option", name, known)
        if values.get("task") is None:
            raise InputError(describe("no task", expected="a value for task", remedy="Name what is to be pruned."))
        return cls(**values)

    @cached_property
    def parsed_objectives(self) -> tuple[Objective, ...]:
        """The objectives as values."""
        return parse_objectives(self.objectives)

    @cached_property
    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints as values."""
        return tuple(Constraint.parse(text) for text in self.constraints)

    @property
    def threads_per_worker(self) -> int:
        """Threads that each worker computes with."""
        return self.threads or max(1, available_cores() // self.workers)

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data that ``run.json`` stores."""
        values = ((field.name, getattr(self, field.name)) for field in option_fields(type(self)))
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values}

    def words(self, *, always: Iterable[str] = (), **shown: Any) -> list[str]:
        """Return the words of a command line that gives these options, those left at their default left out.

        Args:
            always: names that are written all the same.
            shown: what to write in place of an option's value.
        """
        words: list[str] = []
        for field in option_fields(type(self)):
            value = getattr(self, field.name)
            if not field.required and (field.name in always or value != field.default):
                words += field.words_of(shown.get(field.name, value))
        return words

    def going_on_from(self, stored: SearchOptions) -> SearchOptions:
        """Return these options for a run searched with ``stored``, whose starting policies stay.

        Raises:
            RunFolderError: an option differs that says what is searched.
        """
        self.check_resumes(stored)
        start = (*stored.start, *(data for data in self.start if data not in stored.start))
        return dataclasses.replace(self, start=start)

    def check_resumes(self, stored: SearchOptions) -> None:
        """Check that a run searched with ``stored`` can go on with these options.

        Raises:
            RunFolderError: an option differs that says what is searched; every such option is named.
        """
        mine, theirs = self.to_dict(), stored.to_dict()
        differences = [
            f"{field.name} is {mine[field.name]!r}, in the run {theirs[field.name]!r}"
            for field in option_fields(type(self))
            if not field.may_change and mine[field.name] != theirs[field.name]
        ]
        if differences:
            raise different_run(differences)


def options_of(task: str | Task, values: Mapping[str, Any]) -> SearchOptions:
    """Return the options of a search of ``task``, which may be one that nothing but an object names.

    Raises:
        InputError: an option is unknown or cannot be used.
    """
    name = task if isinstance(task, str) else task.reference or task.name
    return SearchOptions.of({**values, "task": name})


def different_run(differences: list[str]) -> RunFolderError:
    """Return the error of a resume whose ``differences`` from the run it would go on with are named."""
    may_change = ", ".join(field.name for field in option_fields(SearchOptions) if field.may_change)
    return RunFolderError(
        describe(
            f"the run cannot be resumed: {'; '.join(differences)}",
            expected="what the run was started with",
            remedy=f"Restore it, or start a new run in another folder. ({may_change} may change.)",
        )
    )


def read_config(path: Path, options: type[SearchOptions] = SearchOptions) -> dict[str, Any]:
    """Read a YAML file of search options; its keys may be written with hyphens, and ``out`` is allowed among them.

    Raises:
        InputError: the file cannot be read, is no mapping, or has an unknown key (near names are suggested).
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            describe(
                f"config {path} cannot be read ({error})",
                expected="a YAML file of search options",
                remedy="Check the path, and that each line reads `option: value`.",
            )
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(
            describe(
                f"config {path} holds a {type(content).__name__}",
                expected="`option: value` lines",
                remedy="Write one option on each line, such as `trials: 100`.",
            )
        )
    return {_option_name(str(key), path, options): value for key, value in content.items()}


def available_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _option_name(key: str, path: Path, options: type[SearchOptions]) -> str:
    name = key.replace("-", "_")
    fields = option_fields(options)
    name = {alias: field.name for field in fields for alias in field.aliases}.get(name, name)
    known = (*(field.name for field in fields), *_CONFIG_ONLY)
    if name not in known:
        raise unknown_name(f"option in {path}:", key, known)
    return name
