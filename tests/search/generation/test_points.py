from __future__ import annotations

from espalier.search.generation.points import PointSource
from espalier.search.run_folder.origin import Origin, OriginKind
from espalier.search.starting_points import StartingPoint


def points(policies, kind=OriginKind.PATH):
    return [StartingPoint(Origin(kind, detail=str(number)), p) for number, p in enumerate(policies, start=1)]


def test_points_come_in_their_order_with_their_origin(archive):
    known = archive(8, 8)
    first, second = known.policy(8, 4), known.policy(4, 4)
    source = PointSource(points([first, second], OriginKind.GIVEN), known.space)
    found = [source.suggest({}), source.suggest({}), source.suggest({})]
    assert [str(each.origin) for each in found[:2]] == ["given 1", "given 2"]
    assert [known.space.policy(each.values) for each in found[:2]] == [first, second]
    assert found[2] is None


def test_a_network_of_the_path_waits_for_the_one_before_and_others_do_not(archive):
    known = archive(8, 8)
    path = [known.policy(8, 4), known.policy(4, 4)]
    other = known.policy(6, 6)
    source = PointSource([*points(path), *points([other], OriginKind.METHOD)], known.space, path=path)
    assert known.space.policy(source.suggest({}).values) == path[0]
    running = known.running(path[0])
    assert known.space.policy(source.suggest(running).values) == other
    assert source.suggest(running) is None
    assert not source.has_some(running)
    assert source.to_come(running) == (path[1],)
    assert known.space.policy(source.suggest({}).values) == path[1]
    assert source.to_come({}) == ()


def test_what_is_hopeless_is_left_out_unless_the_path_is_still_under_way(archive):
    known = archive(8, 8)
    path = [known.policy(8, 4), known.policy(4, 4), known.policy(2, 2)]
    hopeless = set()
    source = PointSource(points(path), known.space, path=path, hopeless=hopeless.__contains__)
    source.suggest({})
    hopeless.add(path[1])
    assert source.to_come(known.running(path[0])) == (path[2],)
    assert known.space.policy(source.suggest({}).values) == path[2]
