"""What policies cost, told without pruning a network for each: many a second, for a search that looks before it trains.

The shapes of a network's kernels follow from how much each group keeps. How is found out once, by pruning one group at
a time and looking at what changes, and checked on random policies; where it does not come out exactly, or a policy
drops whole branches, the network is pruned and looked at after all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from ..spaces.apply import prune
from ..spaces.graph.groups import Graph
from ..spaces.importance.rankings import Rankings, rank
from ..spaces.policy import Policy
from .counting import count_params
from .hardware.calibration_table import CalibrationRow, rows_of
from .hardware.features import NUMBERS, Array, KernelShapes, shapes_of
from .hardware.kernels import record_kernels
from .hardware.learned import LearnedModel
from .hardware.operations import KINDS
from .task.task import Inputs

_CHECKS = 3
_EXACT = 1e-6
_AT = {name: i for i, name in enumerate(NUMBERS)}
_ATTENTION = KINDS.index("attention")


@dataclass(frozen=True)
class PredictedCost:
    """What a policy is predicted to cost; whatever needs the network itself is left to a measurement."""

    latency_ms: float
    latency_low: float
    latency_high: float
    macs: int
    params: int


@dataclass
class CostPredictor:
    """Predicts policies of one network by a learned cost model.

    Args:
        model: the dense network; it is not changed.
        example_input: what it takes, a batch of 1.
        graph: its trace.
        learned: the cost model.
    """

    model: nn.Module
    example_input: Inputs
    graph: Graph
    learned: LearnedModel
    _rankings: Rankings = field(init=False, repr=False)
    _template: _Template | None = field(default=None, init=False, repr=False)
    _known: dict[tuple[object, ...], PredictedCost] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        # Which channels go changes no shape: any ranking will do.
        self._rankings = rank(self.model, self.graph, ("l2",))
        self._template = _template(self)

    @property
    def exact(self) -> bool:
        """Whether shapes follow from widths, so that no network needs to be pruned."""
        return self._template is not None

    def predict(self, policies: Sequence[Policy]) -> tuple[PredictedCost, ...]:
        """Return what each policy costs, in one batch for each precision."""
        new = {p.key: p for p in policies if p.key not in self._known}
        for precision in dict.fromkeys(p.precision for p in new.values()):
            batch = [p for p in new.values() if p.precision == precision]
            self._known.update(zip((p.key for p in batch), self._predict(batch, precision), strict=True))
        return tuple(self._known[p.key] for p in policies)

    def look(self, policy: Policy) -> tuple[tuple[CalibrationRow, ...], int]:
        """Return the kernels of a policy's network, pruned to look at, and its parameters."""
        # Zeroed weights change no shape, nor, in the runtimes that are calibrated, any time.
        kept = {name: c.kept for name, c in policy.choices.items() if c.type == "channel"}
        blocks = {name: c for name, c in policy.choices.items() if _drops(c.type)}
        shape = Policy.of(self.graph, {**Policy.from_kept(self.graph, kept).choices, **blocks})
        network = prune(self.model, self.graph, shape, rankings=self._rankings)
        graph = record_kernels(network, self.example_input, fuse_additions=self.learned.device.fuses_additions)
        count = len(graph.kernels)
        return rows_of(0, graph, [0.0] * count, [""] * count), count_params(network)

    def _predict(self, policies: Sequence[Policy], precision: str) -> list[PredictedCost]:
        deployed = self.learned.device.deployed_precision(precision) or precision
        plain = [self._template is not None and not any(_drops(c.type) for c in p.choices.values()) for p in policies]
        found: dict[int, PredictedCost] = {}
        fast = [i for i, simple in enumerate(plain) if simple]
        if self._template is not None and fast:
            shapes, macs, params = self._template.shapes([policies[i] for i in fast])
            times = self.learned.regressor(deployed).predict(shapes).reshape(len(fast), -1).sum(axis=1)
            for place, i in enumerate(fast):
                found[i] = self._cost(float(times[place]), float(macs[place]), float(params[place]), deployed)
        for i in (i for i, simple in enumerate(plain) if not simple):
            rows, params = self.look(policies[i])
            time = float(self.learned.kernel_ms([rows], deployed).sum())
            found[i] = self._cost(time, sum(r.macs for r in rows), params, deployed)
        return [found[i] for i in range(len(policies))]

    def _cost(self, latency: float, macs: float, params: float, precision: str) -> PredictedCost:
        error = self.learned.error(precision)
        return PredictedCost(latency, latency * (1 - error), latency * (1 + error), round(macs), round(params))


@dataclass(frozen=True)
class _Template:
    """How every kernel's numbers follow from the widths of the groups.

    With r the removed share of each group, a number is the dense one times 1 - sum(s r) where groups add up (after a
    concatenation), or times the product of 1 - s r where they multiply (heads and their dimensions).
    """

    dense: KernelShapes
    numbers: Array
    """The dense network's, of shape (kernels, len(NUMBERS))."""
    slopes: Array
    """Of shape (groups, kernels, len(NUMBERS))."""
    multiplies: Array
    """Whether the groups multiply, of shape (kernels, len(NUMBERS))."""
    tensors: tuple[_Tensor, ...]
    groups: tuple[str, ...]

    def shapes(self, policies: Sequence[Policy]) -> tuple[KernelShapes, Array, Array]:
        """Return the kernels of all policies, their MACs and their parameters, each of shape (policies,)."""
        removed = np.array([[_removed(p, g) for g in self.groups] for p in policies])
        numbers = self._numbers(removed)
        params = sum(tensor.elements(removed) for tensor in self.tensors)
        return self.dense.repeated(numbers), numbers[:, :, _AT["macs"]].sum(axis=1), np.asarray(params)

    def _numbers(self, removed: Array) -> Array:
        added = 1 - np.einsum("pg,gkn->pkn", removed, self.slopes)
        product = np.ones_like(added)
        for group in np.flatnonzero(self.slopes.any(axis=(1, 2))):
            product *= 1 - removed[:, group, None, None] * self.slopes[group]
        found = self.numbers * np.where(self.multiplies, product, added)
        _derive(found, self.numbers, self.dense.kinds)
        return np.rint(found)  # all are counts, and features ask for remainders


@dataclass(frozen=True)
class _Tensor:
    """One parameter: its extents and how many positions each group has along each."""

    extents: tuple[int, ...]
    per_group: Array
    """Positions removed along each dimension where a group is removed whole, of shape (groups, dimensions)."""

    def elements(self, removed: Array) -> Array:
        """Return how many elements are left, of shape (policies,)."""
        return np.prod(np.array(self.extents, dtype=float) - removed @ self.per_group, axis=1)


def _derive(numbers: Array, dense: Array, kinds: Array) -> None:
    """Compute MACs and weights from the other numbers, in place: products of two widths, which may be one group's."""
    macs, weights, width, writes, inputs, groups = (
        _AT[name] for name in ("macs", "weights", "width", "writes", "in_channels", "groups")
    )
    per_group = numbers[:, :, inputs] / np.maximum(numbers[:, :, groups], 1)
    dense_per_group = dense[:, inputs] / np.maximum(dense[:, groups], 1)
    inner = per_group / np.maximum(dense_per_group, 1)
    outer = numbers[:, :, writes] / np.maximum(dense[:, writes], 1)
    numbers[:, :, macs] = dense[:, macs] * np.where(kinds == _ATTENTION, outer, inner * outer)
    matrix = dense[:, _AT["kernel_h"]] * dense[:, _AT["kernel_w"]] * dense_per_group * dense[:, width]
    vector = dense[:, weights] - matrix
    breadth = numbers[:, :, width] / np.maximum(dense[:, width], 1)
    weighted = (dense[:, macs] > 0) & (vector >= 0)
    numbers[:, :, weights] = np.where(weighted, (matrix * inner + vector) * breadth, numbers[:, :, weights])


def _template(predictor: CostPredictor) -> _Template | None:
    """Return how shapes follow from widths; ``None`` where that does not come out exactly."""
    graph = predictor.graph
    rows, _ = predictor.look(Policy.dense(graph))
    dense = shapes_of([rows])
    slopes = np.zeros((len(graph), *dense.numbers.shape))
    for index, group in enumerate(graph):
        policy = Policy.from_kept(graph, {group.name: group.width_near(0.5)})
        probe = _like(dense, predictor.look(policy)[0])
        if probe is None:
            return None
        removed = max(_removed(policy, group.name), 1e-9)
        slopes[index] = (1 - probe.numbers / np.where(dense.numbers == 0, 1, dense.numbers)) / removed
        slopes[index][dense.numbers == 0] = 0.0
    names = tuple(group.name for group in graph)
    tensors = _tensors(predictor.model, graph)
    checks = _checks(predictor, dense)
    for multiplies in (np.zeros_like(dense.numbers, dtype=bool), np.ones_like(dense.numbers, dtype=bool)):
        found = _Template(dense, dense.numbers, slopes, multiplies, tensors, names)
        if checks is not None and _holds(found, *checks):
            return found
    return None


def _checks(predictor: CostPredictor, dense: KernelShapes) -> tuple[list[Policy], Array, Array] | None:
    """Return random policies with the true numbers and parameters of their networks."""
    generator = torch.Generator().manual_seed(0)
    policies, numbers, params = [], [], []
    for _ in range(_CHECKS):
        drawn = torch.rand(len(predictor.graph), generator=generator).tolist()
        kept = {g.name: g.width_near(0.9 * level) for g, level in zip(predictor.graph, drawn, strict=True)}
        policies.append(Policy.from_kept(predictor.graph, kept))
        rows, count = predictor.look(policies[-1])
        true = _like(dense, rows)
        if true is None:
            return None
        numbers.append(true.numbers)
        params.append(count)
    return policies, np.array(numbers), np.array(params)


def _holds(template: _Template, policies: list[Policy], numbers: Array, params: Array) -> bool:
    shapes, _, told = template.shapes(policies)
    same = np.allclose(shapes.numbers, numbers.reshape(shapes.numbers.shape), rtol=_EXACT, atol=1e-3)
    return same and np.allclose(told, params, rtol=_EXACT)


def _like(dense: KernelShapes, rows: Sequence[CalibrationRow]) -> KernelShapes | None:
    """Return the shapes of ``rows`` if their network has the structure of the dense one."""
    found = shapes_of([rows])
    if len(found.kinds) != len(dense.kinds) or not np.array_equal(found.producers, dense.producers):
        return None
    # A grouped convolution of one group left is a plain one: the kinds may change with the widths.
    return found if np.array_equal(found.kinds, dense.kinds) else None


def _tensors(model: nn.Module, graph: Graph) -> tuple[_Tensor, ...]:
    found = []
    for name, parameter in model.named_parameters():
        per_group = np.zeros((len(graph), parameter.dim()))
        for index, group in enumerate(graph):
            for piece in group.slices:
                if piece.tensor == name:
                    per_group[index, piece.dim] += sum(len(positions) for positions in piece.positions)
        found.append(_Tensor(tuple(parameter.shape), per_group))
    return tuple(found)


def _removed(policy: Policy, group: str) -> float:
    choice = policy.choices[group]
    return 1 - choice.kept / choice.of if choice.type == "channel" else 0.0


def _drops(kind: str) -> bool:
    return kind == "block"
