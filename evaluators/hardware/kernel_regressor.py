"""What a fused kernel takes, learned from kernels that were measured: trees on the log of time over a fitted roofline.

P. Geurts, D. Ernst and L. Wehenkel, "Extremely randomized trees", 2006. The roofline carries what grows with a kernel's
size, so that the trees are left with what is bounded: blocks, layouts, fusion. It is linear here, for each kind of
kernel in and out of a layout of blocks: tiled MACs, elements read, written and held, an overhead, none below zero. Out
of blocks a convolution is unfolded to a matrix first, whose elements count too. And profiles tell of like small kernels
that they take some microseconds more in a large network than in a small one, as if the others left the caches full.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from sklearn.ensemble import ExtraTreesRegressor

from .calibration_table import Calibration, CalibrationRow
from .features import Array, KernelShapes, blocked_layouts, features, shapes_of, tiled_macs, unfolded, working_set
from .operations import COMPUTE, CONVOLUTIONS, KINDS, MEMORY

TREES = 60
_TILE = 16
_DOUBTFUL = 0.3
"""At this standard deviation of the log over the trees their correction counts half."""
_LEAF = 3
"""Kernels in a leaf: one alone would hand on its profile's noise."""
_LEAST_MS = 2e-4
"""Below this a kernel's time is the profiler's noise."""
_LEAST_FOR_ROOFLINE_MS = 2e-3
_REWEIGHTED = 5
_LEAST_KERNELS = 25
"""Of a kind in one layout, for coefficients of its own."""
_CACHE_BYTES = 2**22
"""A working set beyond which a kernel is told no slower; 4 and 8 MiB did alike on 459 networks, 2 MiB worse."""
_SCALE = np.array([1e-7, 1e-5, 1e-5, 1e-5, 1e-5, 1e-3, 1e-3])
"""Brings the terms of the linear roofline to like sizes."""
_ALIKE = (CONVOLUTIONS, tuple(kind for kind in COMPUTE if kind not in CONVOLUTIONS), MEMORY)
_CLASS = np.array([next(i for i, kinds in enumerate(_ALIKE) if kind in kinds) for kind in KINDS])


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

    roofline: Array
    """Coefficients by kind and layout, of shape (kinds, 2, terms)."""
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
        roofline = _fit_roofline(shapes, times, times / totals, element_bytes)
        inputs, _ = features(shapes, element_bytes=element_bytes)
        forest = ExtraTreesRegressor(trees, min_samples_leaf=_LEAF, random_state=seed, n_jobs=1)
        ratios = times / _roofline(shapes, roofline, element_bytes)
        forest.fit(inputs, np.log(ratios), sample_weight=times / totals + 1e-3)
        return cls(roofline, forest, element_bytes)

    def predict(self, shapes: KernelShapes) -> Array:
        """Return the latency of each kernel in ms, of shape (kernels,)."""
        return self.predict_with_spread(shapes).latency_ms

    def roofline_totals(self, networks: Sequence[Sequence[CalibrationRow]]) -> Array:
        """Return each network's latency in ms by the roofline alone, of shape (networks,)."""
        numbers = np.repeat(np.arange(len(networks)), [len(rows) for rows in networks])
        weights = _roofline(shapes_of(networks), self.roofline, self.element_bytes)
        return np.bincount(numbers, weights=weights, minlength=len(networks))

    def predict_with_spread(self, shapes: KernelShapes) -> KernelTimes:
        """Return the latencies and how far the trees are from one another.

        What the trees correct counts the less, the less they agree: of kernels unlike all that were measured they know
        little, and the roofline is the better guess.
        """
        inputs, _ = features(shapes, element_bytes=self.element_bytes)
        each = np.stack([tree.predict(inputs) for tree in self.trees.estimators_])
        spread = each.std(axis=0)
        correction = each.mean(axis=0) / (1 + (spread / _DOUBTFUL) ** 2)
        return KernelTimes(np.exp(correction) * _roofline(shapes, self.roofline, self.element_bytes), spread)


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


def _terms(shapes: KernelShapes, element_bytes: int) -> Array:
    columns = [tiled_macs(shapes, 1, _TILE), *(shapes.column(name) for name in ("reads", "writes", "weights"))]
    columns.append(unfolded(shapes) * (1 - _blocked(shapes)))
    # Bounded, because a network may be many times the size of all that were measured.
    filled = np.minimum(working_set(shapes, element_bytes=element_bytes) / _CACHE_BYTES, 1)
    return np.stack([*columns, filled, np.ones(len(shapes.kinds))], axis=1) * _SCALE


def _fit_roofline(shapes: KernelShapes, times: Array, shares: Array, element_bytes: int) -> Array:
    """Return non-negative coefficients, by least squares on errors relative to time and prediction alike.

    Relative to the time alone, kernels that fall out of the fast path would count for little, and the fit be too low.
    Small shares of a network are told less well by its profile and matter less: each counts by its root.
    """
    terms, blocked = _terms(shapes, element_bytes), _blocked(shapes)
    fitted: dict[bytes, Array] = {}
    found = np.zeros((len(KINDS), 2, terms.shape[1]))
    for kind, layout in np.ndindex(len(KINDS), 2):
        rows = _most_alike(shapes.kinds, blocked, kind, layout)
        key = rows.tobytes()
        if key not in fitted:
            fitted[key] = _coefficients(terms[rows], times[rows], np.sqrt(shares[rows]))
        found[kind, layout] = fitted[key]
    return found


def _most_alike(kinds: Array, blocked: Array, kind: int, layout: int) -> Array:
    """Return which of the kernels measured tell most of a kind in a layout: a kind never measured takes its class."""
    of_kind, in_layout = kinds == kind, blocked == layout
    if (of_kind & in_layout).sum() >= _LEAST_KERNELS:
        return of_kind & in_layout
    if of_kind.any():
        return of_kind
    alike = (_CLASS[kinds] == _CLASS[kind]) & in_layout
    return alike if alike.sum() >= _LEAST_KERNELS else np.ones_like(of_kind)


def _coefficients(terms: Array, times: Array, importance: Array) -> Array:
    floors = np.maximum(times, _LEAST_FOR_ROOFLINE_MS)
    found, predicted = np.zeros(terms.shape[1]), floors
    for _ in range(_REWEIGHTED):
        weights = np.sqrt(importance / (floors * predicted))
        found = nnls(terms * weights[:, None], times * weights)[0]
        predicted = np.maximum(terms @ found, _LEAST_FOR_ROOFLINE_MS)
    return found


def _blocked(shapes: KernelShapes) -> Array:
    runs, _ = blocked_layouts(shapes, _TILE)
    return runs.astype(int)


def _roofline(shapes: KernelShapes, coefficients: Array, element_bytes: int) -> Array:
    """Return the roofline in ms."""
    times = (_terms(shapes, element_bytes) * coefficients[shapes.kinds, _blocked(shapes)]).sum(axis=1)
    return np.maximum(times, _LEAST_MS)
