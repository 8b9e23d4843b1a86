from __future__ import annotations

import pytest

from espalier.errors import InputError
from espalier.search.generation import Suggestion
from espalier.search.generation.trial_queue import origin_of
from espalier.search.run_folder.origin import Origin, OriginKind
from espalier.search.run_folder.trial_record import RETRY_OF, RUNG, state_of

RUNG_ONE = Origin(OriginKind.RUNG, detail="1", trial=0)


def test_what_is_put_in_comes_out_with_its_origin(archive):
    known = archive(8, 8)
    queue, policy = known.queue, known.policy(4, 8)
    queue.put(Suggestion(known.space.values(policy), Origin(OriginKind.DENSE), {"more": 1}))
    assert queue.waiting == 1
    trial = queue.ask()
    assert (known.space.policy(trial.params), origin_of(trial), trial.user_attrs["more"]) == (
        policy, Origin(OriginKind.DENSE), 1,
    )  # fmt: skip
    assert queue.waiting == 0
    assert origin_of(queue.ask()) == Origin(OriginKind.SAMPLER)
    assert queue.waiting == 0


def test_values_outside_the_space_are_refused(archive):
    with pytest.raises(InputError, match="layer0:kept"):
        archive(8).queue.put(Suggestion({"layer0:kept": 9}, RUNG_ONE))


def test_what_a_killed_search_left_is_counted_and_settled_when_another_trial_is_wanted(archive):
    known = archive(8, 8)
    first, second, wanted = known.policy(8, 4), known.policy(4, 4), known.policy(2, 2)
    before = known.add(first, 0.9, 1.0)
    for policy in (first, second):
        known.study.enqueue_trial(known.space.values(policy), user_attrs={RETRY_OF: 0})
    queue = known.queue
    assert queue.waiting == 2
    trial = queue.again(Suggestion(known.space.values(wanted), RUNG_ONE, {RUNG: 1}))
    assert known.space.policy(trial.params) == wanted
    assert trial.user_attrs[RUNG] == 1
    known_again, dropped = known.study.trials[before + 1 : before + 3]
    assert (state_of(known_again), known_again.user_attrs["duplicate_of"]) == ("duplicate", before)
    assert (state_of(dropped), dropped.user_attrs["reason"]) == ("abandoned", "all networks asked for are evaluated")
