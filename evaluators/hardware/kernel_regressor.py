"""What a fused kernel takes, learned from kernels that were measured: trees on the log of time over a fitted roofline.

P. Geurts, D. Ernst and L. Wehenkel, "Extremely randomized trees", 2006. The roofline carries what grows with a kernel's
size, so that the trees are left with what is bounded: blocks, layouts, fusion. It is linear here, for each kind of
kernel in and out of a layout of blocks: tiled MACs, elements read, written and held, an overhead, none below zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from sklearn.ensemble import ExtraTreesRegressor

from .calibration_table import Calibration, CalibrationRow
from .features import Array, KernelShapes, blocked_layouts, features, shapes_of, tiled_macs

TREES = 100
_TILE = 16
_LEAST_MS = 2e-4
"""Below this a kernel's time is the profiler's noise."""
_LEAST_FOR_ROOFLINE_MS = 2e-3
_REWEIGHTED = 5
_LEAST_KERNELS = 25
"""Of a kind in one layout, for coefficients of its own."""
_ANY_LAYOUT = 2
_SCALE = np.array([1e-7, 1e-5, 1e-5, 1e-5, 1e-3])
"""Brings the terms of the linear roofline to like sizes."""


@dataclass(frozen=True)
class KernelTimes:
    """What kernels are predicted to take."""

    latency_ms: Array
    """Of shape (kernels,)."""
    log_spread: Array
    """Standard deviation of the log over the trees, of shape (kernels,)."""


@dataclass(frozen=True)
class KernelRegressor:
    """Predicts kernels of networks like those that it was fitted to."""

    roofline: Mapping[tuple[int, int], Array]
    """Coefficients by kind and layout."""
    trees: ExtraTreesRegressor
    element_bytes: int

    @classmethod
    def fit(
        cls, networks: Sequence[Sequence[CalibrationRow]], *, element_bytes: int, seed: int = 0, trees: int = TREES
    ) -> KernelRegressor:
        """Return the regressor of measured networks; each kernel counts by its share of its network's latency."""
        shapes = shapes_of(networks)
        times = np.maximum([row.latency_ms for rows in networks for row in rows], _LEAST_MS)
        totals = np.repeat([sum(r.latency_ms for r in rows) for rows in networks], [len(rows) for rows in networks])
        roofline = _fit_roofline(shapes, times)
        inputs, _ = features(shapes, element_bytes=element_bytes)
        forest = ExtraTreesRegressor(trees, min_samples_leaf=1, random_state=seed, n_jobs=1)
        forest.fit(inputs, np.log(times / _roofline(shapes, roofline)), sample_weight=times / totals + 1e-3)
        return cls(roofline, forest, element_bytes)

    def predict(self, shapes: KernelShapes) -> Array:
        """Return the latency of each kernel in ms, of shape (kernels,)."""
        inputs, _ = features(shapes, element_bytes=self.element_bytes)
        return np.exp(self.trees.predict(inputs)) * _roofline(shapes, self.roofline)

    def roofline_totals(self, networks: Sequence[Sequence[CalibrationRow]]) -> Array:
        """Return each network's latency in ms by the roofline alone, of shape (networks,)."""
        numbers = np.repeat(np.arange(len(networks)), [len(rows) for rows in networks])
        weights = _roofline(shapes_of(networks), self.roofline)
        return np.bincount(numbers, weights=weights, minlength=len(networks))

    def predict_with_spread(self, shapes: KernelShapes) -> KernelTimes:
        """Return the latencies and how far the trees are from one another."""
        inputs, _ = features(shapes, element_bytes=self.element_bytes)
        each = np.stack([tree.predict(inputs) for tree in self.trees.estimators_])
        return KernelTimes(np.exp(each.mean(axis=0)) * _roofline(shapes, self.roofline), each.std(axis=0))


def cross_validated_ms(
    calibration: Calibration,
    *,
    element_bytes: int,
    folds: int = 5,
    families: Sequence[str] | None = None,
    trees: int = TREES,
) -> Array:
    """Return what each network is predicted to take by a regressor that has not seen it, of shape (networks,).

    Args:
        calibration: of one precision.
        element_bytes: of a weight or activation at that precision.
        folds: the networks are split into so many parts, each predicted from the others.
        families: of each network; each family is then a part.
        trees: of each regressor.
    """
    networks = list(calibration.by_network().values())
    parts = [i % folds for i in range(len(networks))] if families is None else families
    predicted = np.zeros(len(networks))
    for part in dict.fromkeys(parts):
        held = [i for i, other in enumerate(parts) if other == part]
        rest = [rows for rows, other in zip(networks, parts, strict=True) if other != part]
        regressor = KernelRegressor.fit(rest, element_bytes=element_bytes, trees=trees)
        predicted[held] = totals(regressor, [networks[i] for i in held])
    return predicted


def totals(regressor: KernelRegressor, networks: Sequence[Sequence[CalibrationRow]]) -> Array:
    """Return each network's latency in ms, of shape (networks,)."""
    numbers = np.repeat(np.arange(len(networks)), [len(rows) for rows in networks])
    return np.bincount(numbers, weights=regressor.predict(shapes_of(networks)), minlength=len(networks))


def _terms(shapes: KernelShapes) -> Array:
    columns = [tiled_macs(shapes, 1, _TILE), *(shapes.column(name) for name in ("reads", "writes", "weights"))]
    return np.stack([*columns, np.ones(len(shapes.kinds))], axis=1) * _SCALE


def _fit_roofline(shapes: KernelShapes, times: Array) -> dict[tuple[int, int], Array]:
    """Return non-negative coefficients, by least squares on errors relative to time and prediction alike.

    Relative to the time alone, kernels that fall out of the fast path would count for little, and the fit be too low.
    """
    terms = _terms(shapes)
    blocked = _blocked(shapes)
    found = {}
    for kind in np.unique(shapes.kinds).tolist():
        of_kind = shapes.kinds == kind
        found[kind, _ANY_LAYOUT] = _coefficients(terms[of_kind], times[of_kind])
        for layout in (0, 1):
            rows = of_kind & (blocked == layout)
            if rows.sum() >= _LEAST_KERNELS:
                found[kind, layout] = _coefficients(terms[rows], times[rows])
    return found


def _coefficients(terms: Array, times: Array) -> Array:
    floors = np.maximum(times, _LEAST_FOR_ROOFLINE_MS)
    found, predicted = np.zeros(terms.shape[1]), floors
    for _ in range(_REWEIGHTED):
        weights = 1 / np.sqrt(floors * predicted)
        found = nnls(terms * weights[:, None], times * weights)[0]
        predicted = np.maximum(terms @ found, _LEAST_FOR_ROOFLINE_MS)
    return found


def _blocked(shapes: KernelShapes) -> Array:
    runs, _ = blocked_layouts(shapes, _TILE)
    return runs.astype(int)


def _roofline(shapes: KernelShapes, coefficients: Mapping[tuple[int, int], Array]) -> Array:
    """Return the roofline in ms; a kind that was never measured costs what the kinds measured cost on average."""
    kinds = range(int(shapes.kinds.max(initial=0)) + 1)
    fallback = np.mean([c for (_, layout), c in coefficients.items() if layout == _ANY_LAYOUT], axis=0)
    of_kind = [coefficients.get((kind, _ANY_LAYOUT), fallback) for kind in kinds]
    table = np.stack([[coefficients.get((kind, layout), of_kind[kind]) for layout in (0, 1)] for kind in kinds])
    return np.maximum((_terms(shapes) * table[shapes.kinds, _blocked(shapes)]).sum(axis=1), _LEAST_MS)
