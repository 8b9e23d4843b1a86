from __future__ import annotations

from espalier.search.generation.halving import Halving
from espalier.search.run_folder.origin import Origin, OriginKind
from espalier.search.run_folder.trial_record import RUNG


def test_the_best_of_three_of_comparable_cost_climbs_once(archive):
    known = archive(64, 64, rungs=(0, 100))
    members = [known.policy(32, 30 + i) for i in range(3)]
    numbers = [known.add(p, accuracy, 1.0, samples=0, rung=0) for p, accuracy in zip(members, (0.5, 0.9, 0.7))]  # noqa: B905
    step = Halving(known.archive.ladder, known.space, known.queue)
    found = step.propose({})
    assert (found.policy, found.rung, found.trains_on.trial) == (members[1], 1, numbers[1])
    assert found.origin == Origin(OriginKind.RUNG, detail="1", trial=numbers[1])
    assert known.study.trials[found.trial.number].user_attrs[RUNG] == 1
    assert not found.is_new
    assert found.samples is None  # the training budget says what the rung lacks
    assert step.propose({found.trial.number: found}) is None


def test_two_are_too_few_unless_one_adds_to_the_front(archive):
    known = archive(64, 64, rungs=(0, 100))
    numbers = [known.add(known.policy(32, 30 + i), 0.5 + i / 10, 1.0, samples=0, rung=0) for i in range(2)]
    worthy = []
    step = Halving(known.archive.ladder, known.space, known.queue, worthy=lambda: worthy)
    assert step.propose({}) is None
    worthy.append(numbers[0])
    assert step.propose({}).trains_on.trial == numbers[0]


def test_without_a_ladder_nobody_climbs(archive):
    known = archive(8, 8)
    known.add(known.policy(4, 4), 0.5, 1.0)
    assert Halving(known.archive.ladder, known.space, known.queue).propose({}) is None
