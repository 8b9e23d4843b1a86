"""Whether a network can be pruned, and if not, why and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..spaces.graph.freeze_reasons import FreezeReason
from ..spaces.graph.groups import Graph
from . import formatting as fmt
from .pruning_potential import Effect


@dataclass(frozen=True)
class Diagnosis:
    """Whether the network can be pruned."""

    traceable: bool
    prunable: bool
    """Whether there is a group to prune."""
    effective: bool
    """Whether pruning some group has an effect on the device."""
    why: str
    """Why not, of the first of these that is false; empty where all are true."""
    remedy: str
    """What to do about it."""


def untraceable(error: Exception) -> Diagnosis:
    """Return the diagnosis of a network on which tracing fails."""
    first = (str(error).splitlines() or [""])[0]
    return Diagnosis(
        traceable=False,
        prunable=False,
        effective=False,
        why=f"tracing it failed ({type(error).__name__}: {first})",
        remedy="Bring a plain nn.Module on the CPU: not scripted, compiled, quantised or sharded.",
    )


def diagnose(graph: Graph, effects: Sequence[Effect]) -> Diagnosis:
    """Return the diagnosis of a traced network, given each group's effect on the device."""
    if not len(graph):
        return Diagnosis(traceable=True, prunable=False, effective=False, **_nothing_prunable(graph))
    if any(effect.has_effect for effect in effects):
        return Diagnosis(traceable=True, prunable=True, effective=True, why="", remedy="")
    return Diagnosis(
        traceable=True,
        prunable=True,
        effective=False,
        why=f"no group alone has an effect on this device; of {effects[0].group}: {effects[0].why}",
        remedy="Look at what can be reached at most, or choose another device; the file still gets smaller.",
    )


def _nothing_prunable(graph: Graph) -> dict[str, str]:
    if not graph.frozen:
        why = "its forward pass uses no weight of a convolution, linear layer or embedding"
        return {"why": why, "remedy": "Check that the task's model() is the network that is meant."}
    channels: Counter[FreezeReason] = Counter()
    for frozen in graph.frozen:
        channels[FreezeReason(frozen.code, frozen.reason)] += frozen.channels
    # That outputs stay is no news; what else stands in the way is.
    others = Counter({reason: n for reason, n in channels.items() if not reason.code.is_output})
    if others:
        reason, count = others.most_common(1)[0]
        why = f"{fmt.plural(count, 'channel')} may not go because {reason.words}"
        return {"why": why, "remedy": reason.code.remedy}
    return {
        "why": "all its channels are outputs of the network",
        "remedy": "Nothing to do: there is no layer between input and output to make smaller.",
    }
