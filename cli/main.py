"""The command ``espalier``: puts the commands together and turns errors into exit codes.

Exit codes: 0 done, 1 a result says no or the work failed, 2 bad input, 130 interrupted with the run kept. Nothing heavy
is imported here or by a command's module, so that ``--help`` answers at once; commands import what they run.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from ..errors import EspalierError, InputError, Interrupted, MissingExtraError, no_silent_end
from .calibrate import calibrate
from .compare import compare
from .demo import demo
from .devices import devices
from .export import export
from .inspect import inspect
from .pick import pick
from .report import report
from .search import search
from .verify import verify

DONE, SAYS_NO, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

app = typer.Typer(
    name="espalier",
    help="Fit a trained PyTorch network to a device: search what to prune, measure what it costs, export what fits.",
    no_args_is_help=True,
    add_completion=False,
    # Only our own errors are turned into messages; anything unexpected keeps its plain traceback.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that a task's own ``sys.exit()`` does not end as if all were done."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        with no_silent_end():
            command(*args, **kwargs)

    return guarded


for _command in (demo, inspect, devices, calibrate, search, report, compare, pick, export, verify):
    app.command()(_guarded(_command))


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"espalier {version('espalier')}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fit a trained PyTorch network to a device: search what to prune, measure what it costs, export what fits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after ``espalier``; by default those of this process.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="espalier")
    except SystemExit as stop:
        # A text as the code is a complaint, as it is to Python itself.
        return DONE if stop.code is None else stop.code if isinstance(stop.code, int) else SAYS_NO
    except (InputError, MissingExtraError) as error:
        return _refuse(error, BAD_INPUT)
    except Interrupted as stop:
        print(f"espalier: {stop}", file=sys.stderr)
        return INTERRUPTED
    except EspalierError as error:
        return _refuse(error, SAYS_NO)
    except KeyboardInterrupt:
        print("espalier: interrupted before there was anything to keep", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of a pipe went away (``espalier ... | head``); silence Python's own complaint at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SAYS_NO
    return DONE


def _refuse(error: EspalierError, code: int) -> int:
    print(f"espalier: error: {error}", file=sys.stderr)
    return code
