"""Turns candidates down for what they are predicted to cost, before they are trained."""

from __future__ import annotations

from collections.abc import Callable

from optuna.trial import Trial

from ...spaces.policy import Policy
from ..archive import Archive
from ..cost_filter import CostFilter
from ..run_folder.trial_record import PREDICTED
from .trial_queue import origin_of


class LazyCostFilter:
    """Predicts what a candidate costs, and turns down what cannot pay.

    Args:
        make: makes what predicts, when the first candidate off the path needs it; ``None`` where the run does without.
        archive: is told of what is turned down.
        has_path: whether the run has a path, whose networks and what comes before are not even predicted.
    """

    def __init__(self, make: Callable[[], CostFilter | None], archive: Archive, *, has_path: bool) -> None:
        self._make = make
        self._archive = archive
        self._has_path = has_path
        self._made = False
        self._cost_filter: CostFilter | None = None

    def prepare(self) -> CostFilter | None:
        """Return what predicts, made now if it has not been yet."""
        if not self._made:
            self._cost_filter, self._made = self._make(), True
        return self._cost_filter

    @property
    def made(self) -> CostFilter | None:
        """What predicts, if it was made."""
        return self._cost_filter

    def turns_down(self, trial: Trial, policy: Policy) -> bool:
        """Return whether ``trial`` was turned down; its predicted cost is noted either way."""
        always = origin_of(trial).comes_first
        if (always and self._has_path) or (cost_filter := self.prepare()) is None:
            return False
        cost = cost_filter.predict(policy)
        trial.set_user_attr(PREDICTED, [cost.latency_ms, cost.latency_low, cost.latency_high])
        objection = None if always else cost_filter.objection(policy)
        if objection is not None:
            self._archive.reject(trial, objection)
        return objection is not None
