from __future__ import annotations

import importlib
import sys

import pytest

from espalier.moved_modules import MOVED, new_name


@pytest.mark.parametrize("old", MOVED)
def test_a_module_is_still_imported_by_the_name_that_it_had(old: str) -> None:
    sys.modules.pop(f"espalier.{old}", None)
    with pytest.warns(DeprecationWarning, match="import it from there"):
        module = importlib.import_module(f"espalier.{old}")
    new = importlib.import_module(f"espalier.{MOVED[old]}")
    assert module is new
    assert module.__name__ == f"espalier.{MOVED[old]}"
    assert module.__spec__ is not None
    assert module.__spec__.name == module.__name__


def test_what_lies_inside_a_package_moved_with_it() -> None:
    assert new_name("espalier.spaces.coupling.rules.crossing") == "espalier.spaces.graph.coupling.rules.crossing"
    assert new_name("espalier.spaces.policy") is None
    assert new_name("numpy.linalg") is None


def test_a_room_gives_what_the_module_of_its_name_gave() -> None:
    from espalier.evaluators import task
    from espalier.evaluators.task.task import Task

    assert task.Task is Task
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = task.nothing_of_the_kind
