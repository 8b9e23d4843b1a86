"""The clock of runtimes on the CPU."""

from __future__ import annotations

import time

from .base import Run


def host_seconds(run: Run) -> float:
    """Return the seconds of one call, by the clock of this machine."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
