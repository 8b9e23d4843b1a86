"""Whether a network can be pruned, and if not, why and what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..spaces.groups import Graph
from . import formatting as fmt
from .reach import Effect

_REMEDIES = (
    ("an output of the network", "Nothing to do: outputs keep their shape."),
    ("the task freezes", "Take the layer out of the task's freeze=."),
    ("does not run", "Take sizes from the tensors (x.shape[1]), not from numbers written into forward."),
    ("changes its shape", "Take sizes from the tensors (x.shape[1]), not from numbers written into forward."),
    ("differs from its masked twin", "Nothing to do, unless forward uses sizes or channel indices of its own."),
    ("together with other groups", "Nothing to do: the other groups can be pruned."),
    ("fixed number of channels", "Make constants of one channel, or parameters, which are cut along."),
    ("never ran on the example inputs", "Give example inputs that run them (example_input=[...]), or remove them."),
    ("Python decides by", "Nothing to do, unless the number is not needed: decide by tensors (torch.where)."),
    ("of which no cut is known", "Use standard operations, or give the operation a rule: see CONTRIBUTING.md."),
    ("weight is computed", "Merge what computes the weight into it before pruning."),
    ("depend on one another", "Nothing to do, unless the layer can have more heads or convolution groups."),
    ("network's input", "Nothing to do: inputs keep their shape."),
)
_ANY = "Nothing to do in the task; a rule for it may be added: see CONTRIBUTING.md."


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


def remedy_for(reason: str) -> str:
    """Return what to do about a group that is frozen for ``reason``."""
    return next((remedy for part, remedy in _REMEDIES if part in reason), _ANY)


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
    channels: Counter[str] = Counter()
    for frozen in graph.frozen:
        channels[frozen.reason] += frozen.channels
    # That outputs stay is no news; what else stands in the way is.
    others = Counter({reason: n for reason, n in channels.items() if "output of the network" not in reason})
    reason, count = (others or channels).most_common(1)[0]
    if others:
        return {"why": f"{fmt.plural(count, 'channel')} may not go because {reason}", "remedy": remedy_for(reason)}
    return {
        "why": "all its channels are outputs of the network",
        "remedy": "Nothing to do: there is no layer between input and output to make smaller.",
    }
