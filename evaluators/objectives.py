"""What a search can optimise or constrain, by name, and how a constraint is written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import ConstraintError, describe, unknown_name

Direction = Literal["maximize", "minimize"]

SCORE = "accuracy"
"""The field of ``metrics`` that holds the score, whatever metric that is; see :mod:`.measure`."""


@dataclass(frozen=True)
class Objective:
    """A metric with the direction in which it improves."""

    name: str
    """The field of ``metrics`` in ``front.json``."""
    direction: Direction
    unit: str
    """As people read it; empty for a fraction."""
    aliases: tuple[str, ...] = ()

    @property
    def sign(self) -> int:
        """Factor that turns the metric into one to minimise."""
        return -1 if self.direction == "maximize" else 1

    @property
    def is_score(self) -> bool:
        """Whether this is what the task's metric says; all others are costs."""
        return self.name == SCORE


OBJECTIVES: tuple[Objective, ...] = (
    # Of a task whose metric is minimised the direction is put right by `measure.measured`.
    Objective(SCORE, "maximize", "", ("metric", "score")),
    Objective("latency_ms", "minimize", "ms", ("latency",)),
    Objective("size_bytes", "minimize", "bytes", ("size",)),
    Objective("dense_size_bytes", "minimize", "bytes", ("dense_size",)),
    Objective("macs", "minimize", "MACs"),
    Objective("params", "minimize", "parameters", ("parameters",)),
    Objective("peak_memory_bytes", "minimize", "bytes", ("memory", "peak_memory")),
    Objective("energy_mj", "minimize", "mJ", ("energy",)),
)


def objective(name: str) -> Objective:
    """Return the objective called ``name`` or having it as an alias.

    Raises:
        UnknownNameError: there is none; near names are suggested.
    """
    for known in OBJECTIVES:
        if name == known.name or name in known.aliases:
            return known
    raise unknown_name("objective", name, [n for o in OBJECTIVES for n in (o.name, *o.aliases)])


def objectives(names: str | tuple[str, ...] | list[str]) -> tuple[Objective, ...]:
    """Return the objectives of a comma-separated text or a sequence of names, each at most once."""
    split = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
    return tuple(dict.fromkeys(objective(name) for name in split if name))


_CONSTRAINT = re.compile(r"^\s*(?P<name>[a-z_]+)\s*(?P<operator><=|>=|<|>)\s*(?P<bound>[^\s]+)\s*$")
_SUFFIXES = {"%": 0.01, "k": 1e3, "M": 1e6, "G": 1e9, "KiB": 1024.0, "MiB": 1024.0**2, "KB": 1e3, "MB": 1e6, "ms": 1.0}


@dataclass(frozen=True)
class Constraint:
    """A bound on one metric, such as ``latency_ms<=5``."""

    objective: Objective
    operator: Literal["<=", ">="]
    bound: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read ``NAME<=NUMBER`` or ``NAME>=NUMBER``; a number may end in %, k, M, KB, MB, KiB, MiB or ms.

        Raises:
            ConstraintError: the text has another form.
            UnknownNameError: no metric has that name.
        """
        match = _CONSTRAINT.match(text)
        if match is None:
            raise _unparsable(text)
        bound = _number(match["bound"])
        if bound is None:
            raise _unparsable(text)
        return cls(objective(match["name"]), "<=" if "<" in match["operator"] else ">=", bound)

    @property
    def text(self) -> str:
        """The constraint as it is stored: :meth:`parse` returns it again, its bound to the last digit."""
        return f"{self.objective.name}{self.operator}{self.bound!r}"

    def violation(self, metrics: Mapping[str, float | None]) -> float:
        """Return by how much ``metrics`` miss the bound, as a fraction of it; zero or less where they meet it.

        A metric that is unknown (``None``) misses by infinity.
        """
        return self.excess(metrics) / (abs(self.bound) or 1.0)

    def excess(self, metrics: Mapping[str, float | None]) -> float:
        """Return by how much ``metrics`` miss the bound, in the metric's unit; as :meth:`violation` otherwise."""
        value = metrics.get(self.objective.name)
        if value is None or math.isnan(value):
            return math.inf
        return value - self.bound if self.operator == "<=" else self.bound - value

    def __str__(self) -> str:
        short = f"{self.bound:g}"
        return f"{self.objective.name}{self.operator}{short if float(short) == self.bound else repr(self.bound)}"


def values_of(objectives: Iterable[Objective], metrics: Mapping[str, float | None]) -> list[float]:
    """Return the metrics that are optimised, in the order of the objectives; all are known."""
    return [float(metrics[objective.name] or 0.0) for objective in objectives]


def point_of(objectives: Iterable[Objective], metrics: Mapping[str, float | None]) -> tuple[float, ...]:
    """Return the same as a point of which less is better along every axis."""
    return tuple(objective.sign * float(metrics[objective.name] or 0.0) for objective in objectives)


def _number(text: str) -> float | None:
    for suffix in sorted(_SUFFIXES, key=len, reverse=True):
        if text.endswith(suffix):
            number = _number(text[: -len(suffix)])
            return None if number is None else number * _SUFFIXES[suffix]
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _unparsable(text: str) -> ConstraintError:
    return ConstraintError(
        describe(
            f"constraint {text!r} cannot be read",
            expected="METRIC<=NUMBER or METRIC>=NUMBER, such as 'latency_ms<=5' or 'size_bytes<=100KB'",
            remedy="Quote it, so that the shell does not take < or > as a redirection.",
        )
    )
