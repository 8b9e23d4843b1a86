"""The clocks of runtimes on the CPU."""

from __future__ import annotations

import time

from .base import Run


def host_seconds(run: Run) -> float:
    """Return the seconds of one call, by the clock of this machine."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def thread_seconds(run: Run) -> float:
    """Return the seconds that this thread computed during one call: what others took of its core does not count.

    A call of some milliseconds is interrupted nearly every time on a busy machine, so that no median helps.
    """
    start = time.thread_time_ns()
    run()
    return 1e-9 * (time.thread_time_ns() - start)
