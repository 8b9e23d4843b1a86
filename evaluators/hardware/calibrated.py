"""A device with the measurements that its learned cost model is fitted to, and the error of that model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ...errors import InputError, describe
from ...jsonfile import write_text
from ..counting import element_bytes
from .calibration_networks import FAMILY_END
from .calibration_table import Calibration
from .device import Device, load_device
from .features import Array
from .fitting import fit_error
from .kernel_regressor import cross_validated_ms
from .speeds import FitError

COVERAGE = 0.9
LEAST_NETWORKS = 9
"""Per precision, that a model is fitted to and its error told from."""


class CalibratedDevice(Device):
    """This machine, or another one that was measured, for networks like those of its calibration."""

    measurements: Any = Field(exclude=True, repr=False)
    """The :class:`~espalier.evaluators.hardware.calibration_table.Calibration`; stored as CSV beside the device."""

    def save(self, path: Path) -> Path:
        """Write the device's YAML, and beside it the measurements under the same name; return where these are.

        Raises:
            InputError: there are measurements of that name already.
        """
        table = path.with_suffix(".csv")
        if table.exists():
            remedy = "Name another file, or delete it."
            raise InputError(describe(f"{table} exists already", expected="a new file", remedy=remedy))
        self.measurements.write(table)
        write_text(path, self.model_copy(update={"calibration": table.name}).to_yaml())
        return table


def calibrated_device(
    calibration: Calibration, *, name: str = "this-machine", base: str | Device = "host", command: str
) -> CalibratedDevice:
    """Return the device whose learned cost model is fitted to ``calibration``, with its error on networks held out.

    Args:
        calibration: at least nine networks per precision.
        name: of the device.
        base: the device that limits, power and channel multiples are taken from.
        command: what repeats the calibration.

    Raises:
        InputError: too few networks were measured.
    """
    found = load_device(base) if isinstance(base, str) else base
    errors = {p: held_out_error(calibration, p, command=command) for p in calibration.precisions}
    fields = {name: getattr(found, name) for name in Device.model_fields}
    fields |= {
        "name": name,
        "description": f"{calibration.processor}, calibrated on {calibration.subject}.",
        "runtime": calibration.runtime,
        "runtime_version": calibration.runtime_version,
        "threads": calibration.threads,
        "precisions": calibration.precisions,
        "deployed_as": {},
        "channel_multiple": {p: found.alignment(p) for p in calibration.precisions},
        "cost_model": "learned",
        "calibration": f"{name}.csv",
        "reachable": False,
        "speeds": {},
        "fit": errors,
        "measurements": calibration,
    }
    return CalibratedDevice(**fields)


def held_out_error(calibration: Calibration, precision: str, *, command: str) -> FitError:
    """Return how far the learned model is off on networks that it has not seen: each is in one of five folds.

    Where the networks are of several families, each family is told from the others instead: what will be asked about
    is in general of none of them.

    Raises:
        InputError: fewer than nine networks were measured at this precision.
    """
    part = calibration.of(precision)
    measured = np.array([t.latency_ms for t in part.timings])
    if len(measured) < LEAST_NETWORKS:
        got = f"{len(measured)} networks measured at {precision}"
        raise InputError(describe(got, expected=f"at least {LEAST_NETWORKS}", remedy="Calibrate for longer."))
    families = [t.origin.rpartition(FAMILY_END)[0] for t in part.timings]
    apart = len(set(families)) > 1 and all(families)
    predicted = cross_validated_ms(part, element_bytes=element_bytes(precision), families=families if apart else None)
    held = "each family told from the others" if apart else "each held out in one of five folds"
    source = (
        f"{part.subject}, timed on {part.processor} with {part.runtime} {part.runtime_version}, "
        f"{part.threads} thread(s); {held}"
    )
    error = fit_error(predicted, measured, fitted=len(measured), method="held-out", source=source, command=command)
    return error.model_copy(update={"interval_90": conformal_width(predicted, measured)})


def conformal_width(predicted: Array, measured: Array) -> float:
    """Return the half-width, as a fraction of a prediction, that a fresh measurement is within 9 times of 10.

    Split conformal prediction: the k-th smallest of n residuals, k = ceil(0.9 (n + 1)); the largest if n is under 9.
    """
    residuals = np.sort(np.abs(measured - predicted) / predicted)
    rank = min(math.ceil(COVERAGE * (len(residuals) + 1)), len(residuals))
    return float(f"{min(max(float(residuals[rank - 1]), 1e-3), 0.99):.4g}")
