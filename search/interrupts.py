"""Ctrl-C and SIGTERM, taken only where stopping loses nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Turns signals into ``KeyboardInterrupt``, but only inside :meth:`interruptible`; elsewhere they wait for it.

    Writing the study must not stop half way. Used in another thread than the main one it does nothing, as Python
    handles signals in the main one alone.
    """

    def __init__(self) -> None:
        self._pending = False
        self._interruptible = False
        self._previous: dict[signal.Signals, Any] = {}

    def came(self) -> bool:
        """Return whether a ``KeyboardInterrupt`` is a signal's: where signals are handled here, none else is."""
        return self._pending or not self._previous

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal raise ``KeyboardInterrupt`` here; one that came before raises at once."""
        self._interruptible = True
        try:
            if self._pending:
                raise KeyboardInterrupt
            yield
        finally:
            self._interruptible = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._pending = True
        if self._interruptible:
            self._interruptible = False
            raise KeyboardInterrupt
