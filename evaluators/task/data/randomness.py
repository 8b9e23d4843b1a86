"""Random numbers of a user's code, kept apart: the global generators are seeded while it runs and put back after."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


class RandomStream:
    """A stream of random numbers behind the global generators of Python, NumPy and PyTorch.

    Data sets and collate functions draw from those. Each use goes on where the last one ended, so that one seed gives
    one sequence of samples, and whoever asks for samples finds the generators as they were.

    Args:
        seed: of the stream.
    """

    def __init__(self, seed: int) -> None:
        with self._kept():
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 - it is the global generator that data sets draw from
            torch.manual_seed(seed)
            self._states = self._read()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the code inside draw from this stream."""
        with self._kept():
            self._write(self._states)
            try:
                yield
            finally:
                self._states = self._read()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        before = self._read()
        try:
            yield
        finally:
            self._write(before)

    @staticmethod
    def _read() -> tuple:
        return random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002

    @staticmethod
    def _write(states: tuple) -> None:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        torch.random.set_rng_state(states[2])


def drawn_seed(generator: torch.Generator | None) -> int:
    """Return a seed drawn from ``generator``, 0 where there is none."""
    return 0 if generator is None else int(torch.randint(2**31, (1,), generator=generator))
