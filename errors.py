"""The errors that Espalier raises on purpose.

Each message holds what was given, what was expected and what to do. Every class also inherits the builtin that a
caller would naturally catch. The command line turns :class:`InputError` into exit code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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


def text_of(error: BaseException) -> str:
    """Return the text of an exception, even where making it fails: it may be a user's own class."""
    try:
        return str(error)
    except (Exception, SystemExit, GeneratorExit) as failure:  # noqa: BLE001 - whatever its __str__ raises
        return f"no text, as its __str__ raises {type(failure).__name__}"


@contextmanager
def no_silent_end() -> Iterator[None]:
    """Make an error of what a task's own code raises to end the process.

    Raises:
        EvaluationError: the code inside raised ``SystemExit`` or ``GeneratorExit``.
    """
    try:
        yield
    except (SystemExit, GeneratorExit) as error:
        raise EvaluationError(
            describe(
                f"the task's own code raised {type(error).__name__} ({text_of(error) or 'no message'})",
                expected="code that returns or raises an error",
                remedy="Remove the call of sys.exit(), or of whatever else ends the program, from the task.",
            )
        ) from error


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
    """Return the error for a ``name`` that is not among the ``known`` ones, near names first."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    remedy = f"Did you mean {' or '.join(repr(n) for n in near)}?" if near else "Choose one of these."
    return UnknownNameError(describe(f"unknown {kind} {name!r}", expected=f"one of {', '.join(names)}", remedy=remedy))
