"""Exporters, held to one screen: what they print, log and warn of is kept from the user's terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def quiet_export() -> Iterator[list[warnings.WarningMessage]]:
    """Silence an exporter, and yield the warnings that it gives meanwhile: some tell where a graph is wrong."""
    before = logging.root.manager.disable
    with (
        warnings.catch_warnings(record=True) as caught,
        _quiet_descriptor(1),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("always")
        logging.disable(logging.CRITICAL)  # torch's loggers hold handlers on the error stream that they found at first
        try:
            yield caught
        finally:
            logging.disable(before)


@contextlib.contextmanager
def _quiet_descriptor(number: int) -> Iterator[None]:
    """Silence what is written past Python: the exporter prints the graph that it failed on from C++."""
    sys.stdout.flush()
    try:
        kept = os.dup(number)
    except OSError:  # closed already
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
