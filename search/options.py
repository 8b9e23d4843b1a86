"""What a search was asked to do: the options of ``espalier search``, checked once, stored with the run."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ..errors import InputError, RunFolderError, describe, unknown_name
from ..evaluators.objectives import Constraint, Objective
from ..evaluators.objectives import objectives as parse_objectives
from ..evaluators.task_reference import absolute_reference

MAY_CHANGE_ON_RESUME = (
    "trials", "budget", "workers", "threads", "data", "start", "calibrate", "baselines", "patience",
    "export_check",
)  # fmt: skip
"""Options that say how long and with what a search runs, not what it searches. ``data`` is only where the data lie;
what lies there is checked through its fingerprint. ``start`` only grows."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd])")
_KEY_ALIASES = {"constraint": "constraints", "objective": "objectives", "criterion": "criteria", "type": "types"}
_CONFIG_ONLY = ("out",)


class SearchOptions(BaseModel):
    """The options of a search.

    Raises:
        InputError: an option cannot be used; the message holds the value, what was expected and what to do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    """Built-in name, ``file.py:name`` or ``package.module:name``; the task's name where it came as an object."""
    device: str = "host"
    """Name of a shipped device, or path of a YAML file."""
    trials: int = Field(default=50, ge=1)
    """How many distinct configurations to evaluate in all, those before a resume included."""
    budget: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Seconds to search for in all, those before a resume included; written as ``90s``, ``30m`` or ``1h30m``."""
    patience: int | None = Field(default=None, ge=1)
    """How many candidates in a row may leave the front as it is before no more are tried; ``None``: any number."""
    workers: int = Field(default=1, ge=1)
    threads: int | None = Field(default=None, ge=1)
    """Per worker; ``None`` shares the machine's cores among the workers."""
    storage: str | None = None
    """Database URL of the Optuna study; ``None`` keeps a journal in the run folder. It is stored in ``run.json``, so a
    password belongs into the database driver's own file."""
    objectives: tuple[str, ...] = ("accuracy", "latency_ms", "size_bytes")
    constraints: tuple[str, ...] = ()
    types: tuple[str, ...] = ("channel", "block")
    criteria: tuple[str, ...] = ("l2",)
    precision: tuple[str, ...] = ("fp32",)
    sampler: str = "tpe"
    seed: int = Field(default=0, ge=0, lt=2**32)
    samples: int | None = Field(default=None, ge=0)
    """Fidelity: training samples that each candidate is fine-tuned on; ``None`` lets the task decide."""
    inherit: bool = True
    """Whether candidates start from the weights of larger ones that were trained before them."""
    ladder: bool = True
    """Whether only the best candidates off the path are trained in full; where ``samples`` is given all are."""
    data: str | None = None
    """Folder where the task's data lie, for tasks that need one."""
    calibrate: bool | None = None
    """Whether this machine is calibrated for the network; ``None``: where that pays."""
    baselines: bool = False
    """Whether uniform pruning is run beside the search, at equal budget, to hold its front against."""
    export_check: bool = True
    """Whether the export is tried before the search; what cannot be exported is refused."""
    start: tuple[dict[str, Any], ...] = ()
    """Policies to try first, as ``policies/N.json`` stores them; given as such, as files or as :class:`Policy`. Kept by
    value: a resumed search needs no file."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _input_error(error) from error

    @field_validator("task")
    @classmethod
    def _task(cls, value: str) -> str:
        return absolute_reference(value)

    @field_validator("budget", mode="before")
    @classmethod
    def _budget(cls, value: object) -> object:
        return parse_duration(value) if isinstance(value, str) else value

    @field_validator("objectives", mode="before")
    @classmethod
    def _objectives(cls, value: object) -> object:
        names = tuple(o.name for o in parse_objectives(_names(value)))
        if not names:
            raise InputError(describe("no objective", expected="at least one", remedy="Name one, such as accuracy."))
        return names

    @field_validator("constraints", mode="before")
    @classmethod
    def _constraints(cls, value: object) -> object:
        if value is not None and not isinstance(value, (str, Constraint, list, tuple)):
            remedy = "Give texts such as latency_ms<=5."
            raise InputError(describe(f"constraints {value!r}", expected="a text, or a list of them", remedy=remedy))
        texts = (value,) if isinstance(value, (str, Constraint)) else tuple(value or ())
        parsed = (Constraint.parse(str(text)) for text in texts)
        return tuple(dict.fromkeys(f"{c.objective.name}{c.operator}{c.bound!r}" for c in parsed))

    @field_validator("types", "criteria", mode="before")
    @classmethod
    def _lists(cls, value: object) -> object:
        names = tuple(dict.fromkeys(_names(value)))
        if not names:
            raise InputError(
                describe("an empty list", expected="at least one name", remedy="Name one, or leave it out.")
            )
        return names

    @field_validator("precision", mode="before")
    @classmethod
    def _precision(cls, value: object) -> object:
        names = tuple(dict.fromkeys(_names(value)))
        from ..evaluators.counting import element_bytes  # torch takes its time to import

        for name in names:
            element_bytes(name)
        if not names:
            raise InputError(describe("no precision", expected="fp32, int8 or both", remedy="Name one."))
        return names

    @field_validator("sampler")
    @classmethod
    def _sampler(cls, value: str) -> str:
        from .samplers import SAMPLERS  # Optuna takes most of a second to import; only a search needs it

        SAMPLERS.get(value)
        return value

    @field_validator("storage")
    @classmethod
    def _storage(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise InputError(
                describe(
                    f"storage {value!r}", expected="a database URL such as sqlite:///study.db", remedy="Correct it."
                )
            )
        return value

    @field_validator("start", mode="before")
    @classmethod
    def _start(cls, value: Any) -> object:
        from .given_policies import read_policy  # torch takes its time to import

        items = list(value) if isinstance(value, (list, tuple)) else [value] if value else []
        found = [read_policy(item) for item in items]
        return tuple(data for index, data in enumerate(found) if data not in found[:index])

    @property
    def parsed_objectives(self) -> tuple[Objective, ...]:
        """The objectives as values."""
        return parse_objectives(self.objectives)

    @property
    def parsed_constraints(self) -> tuple[Constraint, ...]:
        """The constraints as values."""
        return tuple(Constraint.parse(text) for text in self.constraints)

    @property
    def threads_per_worker(self) -> int:
        """Threads that each worker computes with."""
        return self.threads or max(1, available_cores() // self.workers)

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data that ``run.json`` stores."""
        return self.model_dump(mode="json")

    def going_on_from(self, stored: SearchOptions) -> SearchOptions:
        """Return these options for a run searched with ``stored``, whose starting policies stay.

        Raises:
            RunFolderError: an option differs that says what is searched.
        """
        self.check_resumes(stored)
        start = (*stored.start, *(data for data in self.start if data not in stored.start))
        return self.model_copy(update={"start": start})

    def check_resumes(self, stored: SearchOptions) -> None:
        """Check that a run searched with ``stored`` can go on with these options.

        Raises:
            RunFolderError: an option differs that says what is searched; every such option is named.
        """
        mine, theirs = self.to_dict(), stored.to_dict()
        differences = [
            f"{name} is {mine[name]!r}, in the run {theirs[name]!r}"
            for name in mine
            if name not in MAY_CHANGE_ON_RESUME and mine[name] != theirs[name]
        ]
        if differences:
            raise different_run(differences)


def different_run(differences: list[str]) -> RunFolderError:
    """Return the error of a resume whose ``differences`` from the run it would go on with are named."""
    return RunFolderError(
        describe(
            f"the run cannot be resumed: {'; '.join(differences)}",
            expected="what the run was started with",
            remedy=f"Restore it, or start a new run in another folder. ({', '.join(MAY_CHANGE_ON_RESUME)} may change.)",
        )
    )


def read_config(path: Path) -> dict[str, Any]:
    """Read a YAML file of search options; its keys may be written with hyphens, and ``out`` is allowed among them.

    Raises:
        InputError: the file cannot be read, is no mapping, or has an unknown key (near names are suggested).
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            describe(
                f"config {path} cannot be read ({error})",
                expected="a YAML file of search options",
                remedy="Correct it.",
            )
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(
            describe(
                f"config {path} holds a {type(content).__name__}",
                expected="`option: value` lines",
                remedy="Correct it.",
            )
        )
    return {_option_name(str(key), path): value for key, value in content.items()}


def parse_duration(text: str) -> float:
    """Return the seconds of ``90s``, ``30m``, ``2h``, ``1h30m`` or a bare number of seconds.

    Raises:
        InputError: the text has another form, or is not above zero.
    """
    compact = text.strip().replace(" ", "")
    parts = list(_DURATION.finditer(compact))
    if parts and "".join(p.group() for p in parts) == compact:
        seconds = sum(float(p["number"]) * _UNITS[p["unit"]] for p in parts)
    else:
        try:
            seconds = float(compact)
        except ValueError:
            seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(describe(f"budget {text!r}", expected="a time such as 90s, 30m or 2h", remedy="Correct it."))
    return seconds


def available_cores() -> int:
    """Return how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _names(value: object) -> list[str]:
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, (list, tuple)):
        return [name for item in value for name in _names(str(item))]
    raise InputError(describe(f"{value!r}", expected="names, separated by commas or as a list", remedy="Correct it."))


def _option_name(key: str, path: Path) -> str:
    name = key.replace("-", "_")
    name = _KEY_ALIASES.get(name, name)
    known = (*SearchOptions.model_fields, *_CONFIG_ONLY)
    if name not in known:
        raise unknown_name(f"option in {path}:", key, known)
    return name


def _input_error(error: ValidationError) -> InputError:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return cause
    name = ".".join(str(part) for part in first["loc"]) or "options"
    if first["type"] == "extra_forbidden":
        return unknown_name("option", name, SearchOptions.model_fields)
    if first["type"] == "missing":
        return InputError(describe(f"no {name}", expected=f"a value for {name}", remedy="Give one."))
    expected = first["msg"].removeprefix("Input should be ")
    return InputError(describe(f"{name} {first['input']!r}", expected=expected, remedy="Correct it."))
