"""Policies that a user brings as starting points: read, and checked against what the search may try."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, describe
from ..spaces.policy import Choice, Policy
from ..spaces.search_space import SearchSpace

_KEPT_WHOLE = "none"


def read_policy(given: str | Path | Policy | Mapping[str, Any]) -> dict[str, Any]:
    """Return the plain data of a policy: a file such as ``policies/N.json`` or an export's, its content, or itself.

    Raises:
        InputError: the file cannot be read, or is no policy.
    """
    if isinstance(given, Policy):
        return given.to_dict()
    if isinstance(given, Mapping):
        return Policy.from_dict(given).to_dict()
    try:
        content = json.loads(Path(given).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            describe(
                f"start {given} cannot be read ({error})",
                expected="a policy as JSON, such as a run's policies/N.json",
                remedy="Correct the path or the file.",
            )
        ) from error
    if not isinstance(content, Mapping):
        raise InputError(
            describe(f"start {given} is no JSON object", expected="a policy's JSON", remedy="Correct the file.")
        )
    return Policy.from_dict(content).to_dict()


def given_policies(start: Sequence[Mapping[str, Any]], space: SearchSpace) -> tuple[Policy, ...]:
    """Return the policies whose data ``start`` holds; groups that one does not name are kept whole.

    Raises:
        InputError: one is of another network, or the space lacks something of it; the message names what.
    """
    return tuple(_within(Policy.from_dict(data), space) for data in start)


def _within(policy: Policy, space: SearchSpace) -> Policy:
    if policy.model_fingerprint != space.graph.fingerprint:
        raise InputError(
            describe(
                f"a starting policy of the network {policy.model_fingerprint}",
                expected=f"one of this network, {space.graph.fingerprint}",
                remedy="Take one from a run or an export of the same network.",
            )
        )
    _check_precision(policy, space)
    whole = Policy.of(space.graph, policy.choices, precision=policy.precision)
    inside = space.policy(space.values(whole))
    for name, choice in whole.choices.items():
        found = inside.choices[name]
        # Groups within a dropped branch are whole, whatever is said of them.
        if found != choice and not _dropped(name, whole, space):
            raise _outside(name, choice, found, space)
    return inside


def _check_precision(policy: Policy, space: SearchSpace) -> None:
    if policy.precision not in space.precisions:
        raise InputError(
            describe(
                f"a starting policy at {policy.precision}",
                expected=f"one of the search's precisions, {', '.join(space.precisions)}",
                remedy=f"Add it: --precision {','.join((*space.precisions, policy.precision))}.",
            )
        )


def _dropped(name: str, policy: Policy, space: SearchSpace) -> bool:
    branches = (g.branch for g in space.graph if g.branch is not None and policy.choices[g.name].type == "block")
    return any(name in branch.groups[1:] for branch in branches)


def _outside(name: str, choice: Choice, nearest: Choice, space: SearchSpace) -> InputError:
    offered = (_KEPT_WHOLE, *space.offered(space.graph.group(name)))
    if choice.type not in offered:
        expected, remedy = f"one of {', '.join(offered)}", "Name it in --types, if the group can take it."
    elif choice.criterion != nearest.criterion:
        expected, remedy = f"criterion {nearest.criterion}", "Take that, or name the policy's own in --criteria."
    else:
        expected, remedy = f"such as {nearest.kept} of {nearest.of}", "Take an amount that the search may choose."
    got = f"{choice.type} {choice.kept} of {choice.of}" + (f" by {choice.criterion}" if choice.criterion else "")
    return InputError(describe(f"{got} for {name} in a starting policy", expected=expected, remedy=remedy))
