"""One network of the zoo: traced, pruned at every sparsity, compared with its masked twin. Run by zoo.py.

    python benchmarks/zoo_one.py NAME --packages FOLDER --json FILE [--against torch-pruning]

What is found so far is written after every step, so that a run that is cut off still tells how far it came.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from zoo_networks import build

from espalier import Policy, prune, rank, trace
from espalier.evaluators.counting import count_macs, count_params
from espalier.spaces.graph.groups import Graph
from espalier.spaces.graph.slicing import positions_of, zeroed
from espalier.spaces.importance.rankings import Rankings
from espalier.spaces.inputs import Inputs, call, map_tensors, random_like, tensors_of

SPARSITIES = (0.3, 0.5, 0.7)
MAXIMUM = "maximum"
"""All but one channel of every group."""
TOLERANCE = 1e-5
"""Largest oracle error, relative to the largest output: the one that `trace` promises."""
Row = dict[str, Any]


class PrunedNetworkError(Exception):
    """A pruned network does not work."""


def examine(model: nn.Module, inputs: Inputs, row: Row, save: Callable[[], None]) -> None:
    """Trace ``model`` and prune it at every sparsity; ``row`` is filled as things are found."""
    row |= {"macs": count_macs(model, inputs), "params": count_params(model), "state": "running"}
    save()
    passes = _Passes()
    counting = model.register_forward_pre_hook(passes)
    cpu, wall = time.process_time(), time.perf_counter()
    graph = trace(model, inputs)
    row |= {"seconds": round(time.process_time() - cpu, 1), "wall_seconds": round(time.perf_counter() - wall, 1)}
    row["passes"] = passes.count
    counting.remove()
    row["groups"] = len(graph.groups)
    row["exact"] = sum(g.verification == "exact" for g in graph.groups)
    row["frozen"] = [{"name": f.name, "channels": f.channels, "reason": f.reason, "code": f.code} for f in graph.frozen]
    save()
    rankings = rank(model, graph, ["l2"])
    probe = random_like(inputs, torch.Generator().manual_seed(1))
    wanted = [t.shape for t in _outputs(model, probe)]
    row["kept"] = {}
    for label, policy in _policies(graph):
        pruned = prune(model, graph, policy, rankings=rankings)
        _check(pruned, probe, wanted, label)
        row["kept"][label] = {
            "macs": round(count_macs(pruned, inputs) / row["macs"], 4),
            "params": round(count_params(pruned) / row["params"], 4),
        }
        save()
    row["oracle_error"], row["oracle_precision"] = oracle_error(model, graph, rankings, probe)
    if not row["oracle_error"] <= TOLERANCE:
        raise PrunedNetworkError(f"differs from its masked twin by {row['oracle_error']:.1e} of the largest output")


class _Passes:
    """Counts the forward passes of a network and of all its copies, those that fail on the way among them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _module: nn.Module, _args: Any) -> None:
        """Count one: it is a hook, run as a pass begins."""
        self.count += 1

    def __deepcopy__(self, _memo: dict[int, Any]) -> _Passes:
        return self


def _policies(graph: Graph) -> list[tuple[str, Policy]]:
    uniform = [(str(sparsity), Policy.uniform(graph, sparsity)) for sparsity in SPARSITIES]
    return [*uniform, (MAXIMUM, Policy.from_kept(graph, {g.name: 1 for g in graph.groups}))]


def _check(pruned: nn.Module, probe: Inputs, wanted: list[torch.Size], label: str) -> None:
    try:
        outputs = _outputs(pruned, probe)
    except Exception as error:
        raise PrunedNetworkError(f"at {label}: {type(error).__name__}: {error}") from error
    if [t.shape for t in outputs] != wanted:
        raise PrunedNetworkError(f"at {label}: outputs of shape {[tuple(t.shape) for t in outputs]}, not {wanted}")
    if not all(t.isfinite().all() for t in outputs):
        raise PrunedNetworkError(f"at {label}: outputs are not finite")


def oracle_error(model: nn.Module, graph: Graph, rankings: Rankings, probe: Inputs) -> tuple[float, str]:
    """Return how far the 0.3-pruned network is from its masked twin, over the exact groups, and the precision.

    The error is relative to the largest output. Where the network runs in double precision, rounding plays no part.
    """
    kept = {g.name: g.width_near(0.3) for g in graph.groups if g.verification == "exact"}
    policy = Policy.from_kept(graph, kept)
    removed = [(graph.group(n), rankings.of("l2", n)[width:]) for n, width in kept.items()]
    wide = map_tensors(lambda t: t.double() if t.is_floating_point() else t, probe)
    try:
        network = copy.deepcopy(model).double()
        twin = _outputs(zeroed(network, positions_of(removed)), wide)
        pruned = _outputs(prune(model, graph, policy, rankings=rankings).double(), wide)
        return _difference(pruned, twin), "double"
    except RuntimeError:  # written for single precision alone
        twin = _outputs(zeroed(model, positions_of(removed)), probe)
        return _difference(_outputs(prune(model, graph, policy, rankings=rankings), probe), twin), "single"


def _difference(pruned: list[torch.Tensor], twin: list[torch.Tensor]) -> float:
    scale = max(float(t.abs().max()) for t in twin) or 1.0
    return max(float((a - b).abs().max()) for a, b in zip(pruned, twin, strict=True)) / scale


def _outputs(model: nn.Module, inputs: Inputs) -> list[torch.Tensor]:
    with torch.no_grad():
        return tensors_of(call(model, inputs))


def against_torch_pruning(model: nn.Module, inputs: Inputs, row: Row, save: Callable[[], None]) -> None:
    """Prune with Torch-Pruning at a uniform ratio of 0.3, called as its README says, and check that it runs."""
    import torch_pruning

    row |= {"macs": count_macs(model, inputs), "params": count_params(model), "state": "running"}
    save()
    if not isinstance(inputs, torch.Tensor):
        raise TypeError("the comparison is over networks that take one tensor")
    wanted = [t.shape for t in _outputs(model, inputs)]
    cpu = time.process_time()
    classifiers = (nn.Linear, nn.Conv2d)  # of as many outputs as the network has: not to be pruned
    sized = [m for m in model.modules() if isinstance(m, classifiers)]
    last: list[nn.Module] = [m for m in sized if m.weight.shape[0] == wanted[0][-1]]
    pruner = torch_pruning.pruner.MagnitudePruner(
        model,
        inputs,
        importance=torch_pruning.importance.MagnitudeImportance(p=2),
        pruning_ratio=0.3,
        ignored_layers=last,
    )
    pruner.step()
    row["seconds"] = round(time.process_time() - cpu, 1)
    _check(model, inputs, wanted, "0.3")
    row["kept"] = {"0.3": {"macs": round(count_macs(model, inputs) / row["macs"], 4)}}


STUDIES = {"espalier": examine, "torch-pruning": against_torch_pruning}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--packages", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--against", choices=sorted(STUDIES), default="espalier")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    row: Row = {"name": options.name, "state": "building"}

    def save() -> None:
        options.json.write_text(json.dumps(row), encoding="utf-8")

    save()
    try:
        STUDIES[options.against](*build(options.name, options.packages), row, save)
        row["state"] = "works"
    except Exception as error:  # noqa: BLE001 - whatever a stranger's network raises is the finding
        said = str(error) if isinstance(error, PrunedNetworkError) else f"{type(error).__name__}: {error}"
        row |= {"state": "fails", "reason": " ".join(said.split())[:300]}
    row["frozen_reasons"] = Counter(f["reason"] for f in row.get("frozen", []))
    save()
    return 0


if __name__ == "__main__":
    sys.exit(main())
