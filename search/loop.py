"""The loop of a search: ask, hand out, take in, tell; until trials, time or the space are used up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import optuna

from ..errors import EvaluationError, describe
from ..evaluators.request import EvaluationRequest, batch_seed
from ..evaluators.task.measure import ACCURACY, Measure
from .archive import Archive, Outcome
from .budget.candidate_training import CandidateTraining
from .budget.timer import SearchClock
from .executors import Completion, Executor
from .executors.base import reason_of
from .failures import prunes
from .generation.base import Candidate
from .generation.duplicates import Duplicates
from .generation.steps import GenerationSteps
from .interrupted_trials import abandon
from .interrupts import Interrupts
from .options import SearchOptions
from .progress import Progress, Snapshot
from .run_folder.event_log import EventLog

HOPELESS_AFTER = 5
"""How many evaluations may fail, and none succeed, before the search gives up."""


@dataclass
class SearchLoop:
    """Keeps every worker busy. All writing happens here, in one thread of one process.

    Args:
        study: of the run.
        archive: knows what was evaluated, and writes what is.
        steps: say what to evaluate next.
        duplicates: are answered once what they wait for is evaluated.
        training: says how long each candidate is trained.
        executor: evaluates.
        options: of the search.
        dense: metrics of the network as it was brought.
        events: the run's log.
        progress: is shown where the search stands.
        interrupts: raise while the loop waits, and nowhere else.
        clock: of the search.
        measure: what the score is.
    """

    study: optuna.Study
    archive: Archive
    steps: GenerationSteps
    duplicates: Duplicates
    training: CandidateTraining
    executor: Executor
    options: SearchOptions
    dense: Mapping[str, float | None]
    events: EventLog
    progress: Progress
    interrupts: Interrupts
    clock: SearchClock
    measure: Measure = ACCURACY

    def __post_init__(self) -> None:
        self._running: dict[int, Candidate] = {}
        self._requests: dict[int, tuple[EvaluationRequest, float]] = {}
        self._evaluated_before = self.archive.evaluated
        self._trainings = {True: 0, False: 0}
        """How many candidates of this sitting were to be trained and succeeded, or failed."""

    def run(self) -> None:
        """Search to the end.

        Raises:
            KeyboardInterrupt: the user stopped it; what was in flight will be tried again by a later search.
            EvaluationError: nothing but failures.
        """
        try:
            self._search()
        except BaseException:
            self.executor.close(abandon=True)
            self._abandon()
            raise
        finally:
            self.progress.update(self.snapshot)

    def snapshot(self) -> Snapshot:
        """Return where the search stands."""
        return Snapshot(
            done=self.archive.evaluated,
            failed=self.archive.failed,
            total=self.options.trials,
            running=len(self._running),
            front=len(self.archive.front),
            hypervolume=self.archive.front.hypervolume(self.dense),
            best_score=self.archive.front.best_score(),
            metric=self.measure.name,
            elapsed=self.clock.elapsed(),
            remaining=self._remaining(),
        )

    def _search(self) -> None:
        if self.archive.inherits:
            self.training.training_budget.begin(self.clock.elapsed())
        self._fill()
        while self._running:
            self.progress.update(self.snapshot)
            completion = self._next_completed()
            if completion is not None:
                self._take_in(completion)
            self._fill()

    def _fill(self) -> None:
        while len(self._running) < self.options.workers and not self.clock.is_over:
            candidate = self.steps.propose(self._running)
            if candidate is None:
                return
            self._hand_out(candidate)

    def _hand_out(self, candidate: Candidate) -> None:
        number = candidate.trial.number
        weights = self.archive.begin(candidate.trial, candidate.policy)
        ancestor = self.archive.acquire(candidate.policy, candidate.trains_on)
        samples = self.training.samples(candidate, ancestor, self.steps.path_to_come(self._running))
        self._running[number] = candidate
        # What is trained on once more from the same weights sees other batches each time.
        seed = batch_seed(self.options.seed, ancestor) + (0 if candidate.is_new else number)
        request = EvaluationRequest(number, candidate.policy, samples, seed, str(weights.resolve()), ancestor)
        self._requests[number] = request, self.clock.timer.elapsed()
        self.executor.submit(request)

    def _next_completed(self) -> Completion | None:
        try:
            with self.interrupts.interruptible():
                return self.executor.next_completed()
        except KeyboardInterrupt as error:
            if self.interrupts.came() or len(self._running) != 1:
                raise
            # Raised by the candidate's own code, in this process: no other one is at work.
            (number,) = self._running
            return Completion(self._requests[number][0], None, reason_of(error))

    def _take_in(self, completion: Completion) -> None:
        number = completion.request.trial
        candidate = self._running[number]
        outcome = self.archive.record(candidate.trial, candidate.policy, completion.evaluation, completion.error)
        del self._running[number]
        request, begin = self._requests.pop(number)
        self.archive.release(request.ancestor)
        self._trainings[outcome.metrics is not None] += request.samples > 0 and prunes(request.policy)
        if completion.evaluation is not None:
            training_budget = self.training.training_budget
            training_budget.learn(request.samples, self.clock.timer.elapsed() - begin, completion.evaluation.seconds)
            training_budget.path.learn(candidate.policy, completion.evaluation.metrics, self.dense)
        self.duplicates.settle(candidate)
        self._log(number, outcome)
        candidate.step.observe(candidate, outcome)
        if outcome.metrics is None:
            self._check_hope(outcome.reason)
        if candidate.samples is None:
            self._lose_patience(is_new=candidate.is_new)

    def _log(self, number: int, outcome: Outcome) -> None:
        if outcome.metrics is None:
            self.events.write("trial failed", trial=number, reason=outcome.reason)
            self.progress.message(f"trial {number} failed: {outcome.reason}")
        else:
            self.events.write("trial finished", trial=number)

    def _lose_patience(self, *, is_new: bool) -> None:
        patience = self.steps.patience
        before = patience.is_over
        patience.take_in(self.archive.front.hypervolume(self.dense), candidates=int(is_new))
        if patience.is_over and not before:
            text = f"{self.options.patience} candidates in a row left the front as it is: no more are tried"
            self.events.write("stagnated", text=text)
            self.progress.message(text)

    def _check_hope(self, reason: str | None) -> None:
        failed = self.archive.failed
        everything = failed == self.archive.evaluated
        none_trained = self._trainings[False] >= HOPELESS_AFTER and not self._trainings[True]
        if none_trained or (failed >= HOPELESS_AFTER and everything):
            failures = f"{failed} evaluations" if everything else f"{self._trainings[False]} evaluations with training"
            raise EvaluationError(
                describe(
                    f"all of the first {failures} failed, the last with: {reason}",
                    expected="configurations that can be evaluated",
                    remedy="Mend the task, then start a new run.",
                )
            )

    def _abandon(self) -> None:
        for candidate in self._running.values():
            abandon(self.study, candidate.trial)
        for trial in self.duplicates.waiting:
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)
        self._running.clear()

    def _remaining(self) -> float | None:
        left = self.options.trials - self.archive.evaluated
        here = self.archive.evaluated - self._evaluated_before
        bounds: list[float] = []
        if here > 0:
            bounds.append(self.clock.timer.elapsed() / here * max(0, left))
        if (seconds_left := self.clock.left()) is not None:
            bounds.append(max(0.0, seconds_left))
        return min(bounds, default=None)
