"""What may be given as an option's value, and what becomes of it; each complaint names option, value and remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from ..errors import InputError, describe
from .option_fields import Reader

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[smhd])")


def optional(read: Reader) -> Reader:
    """Return a reader that lets ``None`` pass."""
    return lambda name, value: None if value is None else read(name, value)


def whole(least: int, below: int | None = None) -> Reader:
    """Return a reader of whole numbers from ``least`` on, smaller than ``below``."""
    expected = f"a whole number, at least {least}" + ("" if below is None else f" and below {below}")

    def read(name: str, value: object) -> int:
        number = _whole(value)
        if number is None or number < least or (below is not None and number >= below):
            raise _wrong(name, value, expected, f"Give {name} such a number, for instance {max(least, 1)}.")
        return number

    return read


def switch(name: str, value: object) -> bool:
    """Read yes or no."""
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false", f"Give {name} one of the two.")
    return value


def text(name: str, value: object) -> str:
    """Read a text."""
    if not isinstance(value, str) or not value:
        raise _wrong(name, value, "a text", f"Write {name} in quotes, or leave it out.")
    return value


def duration(name: str, value: object) -> float:
    """Read seconds, or a text such as ``30m``."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise _wrong(name, value, "a time above zero, such as 90s, 30m or 2h", "Write a number of seconds, or a unit.")
    return float(value)


def names(name: str, value: object) -> tuple[str, ...]:
    """Read names with commas between them, or a list of them; each counts once."""
    found = tuple(dict.fromkeys(split_names(value)))
    if not found:
        raise _wrong(name, value, "at least one name", f"Give {name} a name, or leave it out.")
    return found


def split_names(value: object) -> list[str]:
    """Return the names in a text with commas, or in a list."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    if isinstance(value, (list, tuple)):
        return [name for item in value for name in split_names(str(item))]
    raise InputError(
        describe(f"{value!r}", expected="names, separated by commas or as a list", remedy="Write them so: l1,l2.")
    )


def task_reference(name: str, value: object) -> str:
    """Read what names a task; a path becomes an absolute one."""
    from ..evaluators.task.task_reference import absolute_reference

    return absolute_reference(text(name, value))


def path_text(name: str, value: object) -> str:
    """Read a path, kept as a text."""
    return text(name, str(value))


def objective_names(name: str, value: object) -> tuple[str, ...]:
    """Read objectives by their names or short names."""
    from ..evaluators.objectives import objectives

    return tuple(objective.name for objective in objectives(names(name, value)))


def constraint_texts(name: str, value: object) -> tuple[str, ...]:
    """Read one constraint or several, as texts or values; each is kept in one way of writing it, once."""
    from ..evaluators.objectives import Constraint

    if value is not None and not isinstance(value, (str, Constraint, list, tuple)):
        raise _wrong(name, value, "a text, or a list of them", "Give texts such as latency_ms<=5.")
    given = (value,) if isinstance(value, (str, Constraint)) else tuple(value or ())
    return tuple(dict.fromkeys(Constraint.parse(str(each)).text for each in given))


def precision_names(name: str, value: object) -> tuple[str, ...]:
    """Read precisions."""
    from ..evaluators.counting import element_bytes  # torch takes its time to import

    found = names(name, value)
    for precision in found:
        element_bytes(precision)
    return found


def sampler_name(name: str, value: object) -> str:
    """Read the name of a sampler."""
    from .samplers import SAMPLERS  # Optuna takes most of a second to import; only a search needs it

    SAMPLERS.get(text(name, value))
    return str(value)


def executor_name(name: str, value: object) -> str:
    """Read the name of an executor."""
    from .executors import EXECUTORS

    EXECUTORS.get(text(name, value))
    return str(value)


def storage_url(name: str, value: object) -> str:
    """Read the URL of a database."""
    if "://" not in text(name, value):
        expected = "a database URL such as sqlite:///study.db"
        raise _wrong(name, value, expected, f"Write sqlite:///{value} for a file, or leave {name} out.")
    return str(value)


def policies(name: str, value: object) -> tuple[dict[str, Any], ...]:
    """Read policies, files of them or their content; each is kept once, as ``policies/N.json`` stores it."""
    from .given_policies import read_policy  # torch takes its time to import

    items: Sequence[Any] = list(value) if isinstance(value, (list, tuple)) else [value] if value else []
    found = [read_policy(item) for item in items]
    return tuple(data for index, data in enumerate(found) if data not in found[:index])


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
        raise _wrong("budget", text, "a time such as 90s, 30m or 2h", "Write a number and its unit.")
    return seconds


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return int(value) if math.isfinite(number) and number == int(number) else None


def _wrong(name: str, value: object, expected: str, remedy: str) -> InputError:
    return InputError(describe(f"{name} {value!r}", expected=expected, remedy=remedy))
