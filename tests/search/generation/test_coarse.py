from __future__ import annotations

from espalier.search.coarse_proposals import COARSE_VALUES, RESOLUTION, CoarseProposals
from espalier.search.generation.coarse import CoarseSource
from espalier.search.resolutions import LevelTemperature
from espalier.search.run_folder.origin import Origin, OriginKind
from espalier.search.sensitivity.table import SensitivityTable, Step
from espalier.spaces.policy import Choice


def test_a_proposal_says_its_resolution_and_the_numbers_it_was_made_from(archive):
    known = archive(64, 64, 64)
    steps = tuple(Step(Choice.channel(kept=kept, of=64, criterion="l2"), kept / 64, 0.1) for kept in (48, 32, 16))
    table = SensitivityTable({group.name: steps for group in known.space.graph})
    proposals = CoarseProposals(known.study, known.space, (LevelTemperature(known.space, table),), "tpe", 0, 12)
    source = CoarseSource(proposals)
    for count in range(2):  # a sixth of the trials
        found = source.suggest({})
        assert found.origin == Origin(OriginKind.COARSE, "level and temperature")
        assert found.attributes[RESOLUTION] == "level and temperature"
        assert set(found.attributes[COARSE_VALUES]) == {"level", "temperature"}
        queue = known.queue
        queue.put(found)
        known.study.tell(queue.ask(), [0.5, float(count)])
    assert source.suggest({}) is None
