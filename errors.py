"""The errors that Espalier raises on purpose.

Each message holds what was given, what was expected and what to do. Every class also inherits the builtin that a
caller would naturally catch. The command line turns :class:`InputError` into exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EspalierError(Exception):
    """Anything that Espalier raises on purpose."""


class InputError(EspalierError, ValueError):
    """Something that the user gave cannot be used."""


class UnknownNameError(InputError):
    """A name that no registry holds."""


class TaskError(InputError):
    """A task that cannot be loaded or does not do what a task must."""


class RunFolderError(InputError):
    """A run folder that cannot be created, read or resumed."""


class ConstraintError(InputError):
    """A constraint that cannot be parsed or that no configuration can meet."""


class UnsupportedError(InputError):
    """Something that a runtime, a device or a format cannot do."""


class EvaluationError(EspalierError, RuntimeError):
    """One candidate could not be evaluated; the search goes on without it."""


class Interrupted(EspalierError):  # noqa: N818 - stopping is no error
    """The user stopped a search; its run is kept. The command line exits with 130."""


class MissingExtraError(EspalierError, ImportError):
    """An optional package is needed and absent."""


def describe(got: object, *, expected: str, remedy: str) -> str:
    """Return the one shape that every error message has: what was got, what was expected, what to do."""
    return f"{got}; expected {expected}. {remedy}"


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a ``name`` that is not among the ``known`` ones, near names first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    remedy = f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else "Choose one of these."
    return UnknownNameError(describe(f"unknown {kind} {name!r}", expected=f"one of {', '.join(names)}", remedy=remedy))
