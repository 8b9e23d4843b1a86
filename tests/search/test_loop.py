"""The loop alone: steps and an executor written by hand, a study in memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from espalier.errors import EvaluationError
from espalier.evaluators.evaluation import Evaluation
from espalier.search.budget.candidate_training import CandidateTraining
from espalier.search.budget.timer import SearchClock, Timer
from espalier.search.budget.training_budget import TrainingBudget
from espalier.search.early_stopping import EarlyStopping
from espalier.search.executors import Completion
from espalier.search.generation import Candidate
from espalier.search.generation.duplicates import Duplicates
from espalier.search.interrupts import Interrupts
from espalier.search.loop import HOPELESS_AFTER, SearchLoop
from espalier.search.options import SearchOptions
from espalier.search.progress import NoProgress
from espalier.search.run_folder.event_log import EventLog
from espalier.search.run_folder.origin import Origin, OriginKind
from espalier.search.run_folder.trial_record import state_of
from espalier.testing.analytic_training import FakeClock

DENSE = {"accuracy": 0.9, "latency_ms": 1.0}


class Step:
    """Proposes policies in their order, and notes what it hears."""

    def __init__(self, known, policies):
        self._known, self._left, self.heard, self.patience = known, list(policies), [], EarlyStopping(None)

    def propose(self, running):
        if not self._left:
            return None
        policy = self._left.pop(0)
        return Candidate(self._known.ask(policy), policy, Origin(OriginKind.SAMPLER), self)

    def path_to_come(self, running):
        return ()

    def observe(self, candidate, outcome):
        self.heard.append((candidate.policy, outcome.reason))


class Executor:
    """Evaluates the newest request first; each takes ten seconds."""

    def __init__(self, clock, evaluate):
        self._clock, self._evaluate, self.most, self._waiting, self.closed = clock, evaluate, 0, [], []

    def submit(self, request):
        self._waiting.append(request)
        self.most = max(self.most, len(self._waiting))

    def next_completed(self, timeout=None):
        self._clock.sleep(10.0)
        return self._evaluate(self._waiting.pop())

    def close(self, *, abandon=False):
        self.closed.append(abandon)


def succeeds(request):
    kept = sum(choice.kept for choice in request.policy.choices.values())
    return Completion(request, Evaluation({"accuracy": kept / 20, "latency_ms": kept}, "measured", 0.1, 9), None)


def fails(request):
    return Completion(request, None, "out of luck")


@pytest.fixture
def made(archive, tmp_path):
    def make(policies, evaluate=succeeds, **options):
        known = archive(8, 8)
        step = Step(known, [known.policy(*kept) for kept in policies])
        clock = FakeClock()
        checked = SearchOptions(task="t", threads=1, **options)
        timer = SearchClock(Timer.start(clock), 0.0, checked.budget)
        loop = SearchLoop(
            study=known.study,
            archive=known.archive,
            steps=step,
            duplicates=Duplicates(known.archive),
            training=CandidateTraining(TrainingBudget(9), known.archive, timer.elapsed, timer.left),
            executor=Executor(clock, evaluate),
            options=checked,
            dense=DENSE,
            events=EventLog(tmp_path / "log.jsonl"),
            progress=NoProgress(),
            interrupts=Interrupts(),
            clock=timer,
        )
        return SimpleNamespace(loop=loop, step=step, known=known, events=loop.events)

    return make


SOME = [(8, 8), (6, 6), (4, 4), (2, 2)]


def test_all_that_is_proposed_is_evaluated_told_and_heard_of(made):
    each = made(SOME)
    each.loop.run()
    assert [state_of(trial) for trial in each.known.study.trials] == ["complete"] * 4
    assert [reason for _, reason in each.step.heard] == [None] * 4
    assert [event["event"] for event in each.events.read()] == ["trial finished"] * 4
    snapshot = each.loop.snapshot()
    assert (snapshot.done, snapshot.failed, snapshot.running, snapshot.elapsed) == (4, 0, 0, 40.0)


def test_as_many_are_under_way_as_there_are_workers(made):
    each = made(SOME, workers=3)
    each.loop.run()
    assert each.loop.executor.most == 3
    # The newest came out first; what follows takes its place.
    assert [policy for policy, _ in each.step.heard] == [
        each.known.policy(*kept) for kept in ((4, 4), (2, 2), (6, 6), (8, 8))
    ]


def test_nothing_is_begun_once_the_budget_is_used_up(made):
    each = made(SOME, budget=15.0)
    each.loop.run()
    assert len(each.step.heard) == 2


def test_a_failure_is_logged_with_its_reason_and_the_search_goes_on(made):
    each = made(SOME, lambda request: (fails if request.trial == 1 else succeeds)(request))
    each.loop.run()
    assert [state_of(trial) for trial in each.known.study.trials] == ["complete", "failed", "complete", "complete"]
    assert [event.get("reason") for event in each.events.read()] == [None, "out of luck", None, None]


def test_nothing_but_failures_ends_the_search_with_the_last_reason(made):
    each = made([(8, kept) for kept in range(8, 0, -1)], fails)
    with pytest.raises(EvaluationError, match=f"first {HOPELESS_AFTER} evaluations failed, the last with: out of luck"):
        each.loop.run()
    assert each.loop.executor.closed == [True]


def test_what_is_under_way_when_the_search_is_stopped_is_tried_again_later(made):
    def stop(request):
        raise SystemExit

    each = made(SOME, stop, workers=2)
    with pytest.raises(SystemExit):
        each.loop.run()
    first, second, *queued = each.known.study.trials
    assert [state_of(trial) for trial in (first, second)] == ["abandoned", "abandoned"]
    assert [trial.user_attrs["retry_of"] for trial in queued] == [0, 1]


def test_patience_ends_once_the_front_stands_still(made):
    each = made([(2, 2), (8, 8), (7, 8)], patience=1)
    each.step.patience = EarlyStopping(1)
    each.loop.run()
    assert "stagnated" in [event["event"] for event in each.events.read()]
