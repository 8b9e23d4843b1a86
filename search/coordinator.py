"""The loop of a search: ask, hand out, take in, tell; until trials, time or the space are used up."""

from __future__ import annotations

from dataclasses import dataclass, field

import optuna

from ..errors import EvaluationError, describe
from ..evaluators.measure import ACCURACY, Measure
from ..evaluators.objectives import SCORE
from ..evaluators.request import Ancestor, EvaluationRequest, batch_seed
from ..spaces.policy import Policy
from .effort import Effort
from .executors import Completion, Executor
from .executors.base import reason_of
from .failures import prunes
from .interrupts import Interrupts
from .last_step import LastStep
from .ledger import Ledger
from .options import SearchOptions
from .patience import Patience
from .progress import Progress, Snapshot
from .proposals import Proposal, Proposer
from .recovery import abandon
from .run_folder.event_log import EventLog
from .timer import Timer

HOPELESS_AFTER = 5
"""How many evaluations may fail, and none succeed, before the search gives up."""


@dataclass
class Coordinator:
    """Keeps every worker busy. All writing happens here, in one thread of one process."""

    study: optuna.Study
    ledger: Ledger
    proposer: Proposer
    executor: Executor
    options: SearchOptions
    dense: dict[str, float | None]
    events: EventLog
    progress: Progress
    interrupts: Interrupts
    searched_before: float
    """Seconds searched before this coordinator took over."""
    effort: Effort
    """Says how long each candidate is trained."""
    timer: Timer = field(default_factory=Timer.start)
    """Counts the seconds since."""
    measure: Measure = ACCURACY
    """What the score is."""

    def __post_init__(self) -> None:
        self._in_flight: dict[int, Proposal] = {}
        self._requests: dict[int, tuple[EvaluationRequest, float]] = {}
        self._evaluated_before = self.ledger.evaluated
        self._trainings = {True: 0, False: 0}
        """How many candidates of this sitting were to be trained and succeeded, or failed."""
        self.patience = Patience(self.options.patience)
        self.last_step = LastStep(self.ledger, self.effort, self.options, self.dense, self.measure)

    def run(self) -> None:
        """Search to the end.

        Raises:
            KeyboardInterrupt: the user stopped it; what was in flight will be tried again by a later search.
            EvaluationError: nothing but failures.
        """
        try:
            self._loop()
        except BaseException:
            self.executor.close(abandon=True)
            self._abandon()
            raise
        finally:
            self.progress.update(self.snapshot)

    def snapshot(self) -> Snapshot:
        """Return where the search stands."""
        return Snapshot(
            done=self.ledger.evaluated,
            failed=self.ledger.failed,
            total=self.options.trials,
            running=len(self._in_flight),
            front=len(self.ledger.front),
            hypervolume=self.ledger.front.hypervolume(self.dense),
            best_score=self.ledger.front.best_score(),
            metric=self.measure.name,
            elapsed=self._elapsed(),
            remaining=self._remaining(),
        )

    def _loop(self) -> None:
        if self.ledger.inherits:
            self.effort.begin(self._elapsed())
        self._fill()
        while self._in_flight:
            self.progress.update(self.snapshot)
            completion = self._next_completed()
            if completion is not None:
                self._take_in(completion)
            self._fill()

    def _next_completed(self) -> Completion | None:
        try:
            with self.interrupts.welcome():
                return self.executor.next_completed()
        except KeyboardInterrupt as error:
            if self.interrupts.came() or len(self._in_flight) != 1:
                raise
            # Raised by the candidate's own code, in this process: no other one is at work.
            (number,) = self._in_flight
            return Completion(self._requests[number][0], None, reason_of(error))

    def _fill(self) -> None:
        while len(self._in_flight) < self.options.workers and self._has_time():
            proposal = self._next()
            if proposal is None:
                return
            self._hand_out(proposal)

    def _has_time(self) -> bool:
        return (seconds_left := self._time_left()) is None or seconds_left > 0

    def _next(self) -> Proposal | None:
        """Return a candidate nobody has tried or, once it is time for the last step, one that is trained on."""
        if self._all_tried() or self.patience.is_over:
            return self._climbing() or self._further()
        waiting = self.proposer.has_queued or self.proposer.path_to_come(self._in_flight.values())
        if not waiting:
            self.effort.end_path(self._elapsed())
        if self.last_step.is_due(self._elapsed()) and not waiting:
            further = self._further()
            # Where no member is worth more training, as where none is faster yet, the time goes to other candidates.
            # Nor does a worker stand idle while others train.
            over = self.last_step.has_begun and not self._in_flight
            if further is not None or over or not self.effort.affords_another(self._time_left()):
                return further
        if not self.proposer.comes_first(self._in_flight.values()) and (climbing := self._climbing()) is not None:
            return climbing
        return self.proposer.next(self._in_flight.values()) or self._climbing() or self._further()

    def _all_tried(self) -> bool:
        new = sum(proposal.is_new for proposal in self._in_flight.values())
        return self.ledger.evaluated + new >= self.options.trials

    def _climbing(self) -> Proposal | None:
        """Return a candidate that climbs the ladder, unless it is time for the last step."""
        if self.last_step.is_due(self._elapsed()):
            return None
        promotion = self.ledger.ladder.next(self._worthy())
        return None if promotion is None else self.proposer.climb(promotion)

    def _worthy(self) -> frozenset[int]:
        """Return the trials on the front that add to its hypervolume; a small network may be there for being small."""
        best, members = self.dense.get(SCORE), self.ledger.front.members
        if best is None:
            return frozenset(member.trial for member in members)
        least = self.measure.key(self.measure.reference(best))
        return frozenset(m.trial for m in members if self.measure.key(m.metrics.get(SCORE)) < least)

    def _further(self) -> Proposal | None:
        continued = [p.continues.member.trial for p in self._in_flight.values() if p.continues is not None]
        found = self.last_step.next(continued, self._elapsed())
        return None if found is None else self.proposer.further(found)

    def _hand_out(self, proposal: Proposal) -> None:
        number = proposal.trial.number
        weights = self.ledger.begin(proposal.trial, proposal.policy)
        continues = proposal.continues or proposal.promotion
        ancestor = self.ledger.lend(proposal.policy, None if continues is None else continues.member)
        samples = self._samples(proposal, ancestor)
        self._in_flight[number] = proposal
        # What is trained on once more from the same weights sees other batches each time.
        seed = batch_seed(self.options.seed, ancestor) + (0 if continues is None else number)
        request = EvaluationRequest(number, proposal.policy, samples, seed, str(weights.resolve()), ancestor)
        self._requests[number] = request, self.timer.elapsed()
        self.executor.submit(request)

    def _samples(self, proposal: Proposal, ancestor: Ancestor | None) -> int:
        policy = proposal.policy
        if proposal.continues is not None:
            return proposal.continues.samples
        if proposal.rung is not None:
            return self._samples_at(proposal.rung, policy, ancestor)
        if ancestor is not None and ancestor.policy.choices == policy.choices:
            return 0  # the same network at another precision: its training is done
        if self.effort.budget is not None and all(choice.type == "none" for choice in policy.choices.values()):
            return 0  # as it was brought: the slowest network to train, and not faster than itself
        if self.proposer.is_on_path(policy):
            return self.effort.on_path(policy, self.proposer.path_to_come(self._in_flight.values()), self._elapsed())
        return self.effort.off_path(self._time_left())

    def _samples_at(self, rung: int, policy: Policy, ancestor: Ancestor | None) -> int:
        """Return what a candidate lacks of a rung's training; its network may have had some at another precision."""
        own = ancestor is not None and ancestor.policy.choices == policy.choices
        training = self.ledger.trainings.of(policy) if own else None
        lacking = self.ledger.ladder.rungs[rung] - (0 if training is None else training.samples)
        return min(self.effort.off_path(self._time_left()), lacking) if lacking > 0 else 0

    def _take_in(self, completion: Completion) -> None:
        number = completion.request.trial
        proposal = self._in_flight[number]
        outcome = self.ledger.record(proposal.trial, proposal.policy, completion.evaluation, completion.error)
        del self._in_flight[number]
        request, begin = self._requests.pop(number)
        self.ledger.give_back(request.ancestor)
        self._trainings[outcome.metrics is not None] += request.samples > 0 and prunes(request.policy)
        if completion.evaluation is not None:
            self.effort.learn(request.samples, self.timer.elapsed() - begin, completion.evaluation.seconds)
            self.effort.path.learn(proposal.policy, completion.evaluation.metrics, self.dense)
        self.proposer.settle_twins(proposal)
        if outcome.metrics is None:
            self.events.write("trial failed", trial=number, reason=outcome.reason)
            self.progress.message(f"trial {number} failed: {outcome.reason}")
            if proposal.continues is not None:
                self.last_step.give_up(proposal.continues)
            self._check_hope(outcome.reason)
        else:
            self.events.write("trial finished", trial=number)
            if proposal.continues is not None:
                self.last_step.take_in(number, proposal.continues)
        if proposal.continues is None:
            self._lose_patience(is_new=proposal.is_new)

    def _lose_patience(self, *, is_new: bool) -> None:
        before = self.patience.is_over
        self.patience.take_in(self.ledger.front.hypervolume(self.dense), candidates=int(is_new))
        if self.patience.is_over and not before:
            text = f"{self.options.patience} candidates in a row left the front as it is: no more are tried"
            self.events.write("stagnated", text=text)
            self.progress.message(text)

    def _check_hope(self, reason: str | None) -> None:
        failed = self.ledger.failed
        everything = failed == self.ledger.evaluated
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
        for proposal in self._in_flight.values():
            abandon(self.study, proposal.trial)
        for twin in self.proposer.twins:
            self.study.tell(twin, state=optuna.trial.TrialState.FAIL)
        self._in_flight.clear()

    def _time_left(self) -> float | None:
        return None if self.options.budget is None else self.options.budget - self._elapsed()

    def _elapsed(self) -> float:
        return self.searched_before + self.timer.elapsed()

    def _remaining(self) -> float | None:
        left = self.options.trials - self.ledger.evaluated
        here = self.ledger.evaluated - self._evaluated_before
        bounds: list[float] = []
        if here > 0:
            bounds.append(self.timer.elapsed() / here * max(0, left))
        if (seconds_left := self._time_left()) is not None:
            bounds.append(max(0.0, seconds_left))
        return min(bounds, default=None)
