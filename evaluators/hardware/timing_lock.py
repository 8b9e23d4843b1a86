"""One measurement at a time on a machine: a lock that all of its Espalier processes share."""

from __future__ import annotations

import getpass
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def lock_path() -> Path:
    """Return the lock's file: ``espalier-timing-USER.lock`` in the system's temporary folder."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"espalier-timing-{user}.lock"


@contextmanager
def timing_lock() -> Iterator[None]:
    """Hold the machine for a measurement; the system frees the lock of a process that dies.

    Where the system has no ``flock`` (Windows) nothing is locked and a warning says so.
    """
    try:
        import fcntl
    except ImportError:
        warnings.warn(
            "Measurements of several workers may disturb each other: this system has no flock. Use one worker.",
            RuntimeWarning,
            stacklevel=3,
        )
        yield
        return
    descriptor = os.open(lock_path(), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
