"""Turns candidates down for what they are predicted to cost, before they are trained."""

from __future__ import annotations

from collections.abc import Callable

from optuna.trial import Trial

from ...spaces.policy import Policy
from ..ledger import Ledger
from ..run_folder.trial_record import PREDICTED
from ..screen import CostScreen
from .trial_queue import origin_of


class CostFilter:
    """Predicts what a candidate costs, and turns down what cannot pay.

    Args:
        make: makes what predicts, when the first candidate off the path needs it; ``None`` where the run does without.
        ledger: is told of what is turned down.
        has_path: whether the run has a path, whose networks and what comes before are not even predicted.
    """

    def __init__(self, make: Callable[[], CostScreen | None], ledger: Ledger, *, has_path: bool) -> None:
        self._make = make
        self._ledger = ledger
        self._has_path = has_path
        self._made = False
        self._screen: CostScreen | None = None

    def prepare(self) -> CostScreen | None:
        """Return what predicts, made now if it has not been yet."""
        if not self._made:
            self._screen, self._made = self._make(), True
        return self._screen

    @property
    def screen(self) -> CostScreen | None:
        """What predicts, if it was made."""
        return self._screen

    def turns_down(self, trial: Trial, policy: Policy) -> bool:
        """Return whether ``trial`` was turned down; its predicted cost is noted either way."""
        always = origin_of(trial).comes_first
        if (always and self._has_path) or (screen := self.prepare()) is None:
            return False
        cost = screen.predict(policy)
        trial.set_user_attr(PREDICTED, [cost.latency_ms, cost.latency_low, cost.latency_high])
        objection = None if always else screen.objection(policy)
        if objection is not None:
            self._ledger.reject(trial, objection)
        return objection is not None
