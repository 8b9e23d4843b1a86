"""At which precision a number is: accuracy at the policy's own, costs at what the device runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError
from ..evaluators.hardware.device import Device, load_device
from ..evaluators.task.measure import ACCURACY, Measure

if TYPE_CHECKING:
    from ..search.run_folder import Run


def device_of(run: Run) -> Device | None:
    """Return a run's device; ``None`` where its definition is gone."""
    try:
        return load_device(run.info.options.device)
    except InputError:
        return None


def told_precision(precision: str, device: Device | None, measure: Measure = ACCURACY) -> str:
    """Return the precision of a network's numbers: ``fp32``, or ``accuracy fp32, costs int8`` where they differ."""
    deployed = costs_precision(precision, device)
    return precision if deployed == precision else f"{measure.name} {precision}, costs {deployed}"


def costs_precision(precision: str, device: Device | None) -> str:
    """Return the precision that costs are told at where accuracy is at ``precision``."""
    return precision if device is None else device.deployed_precision(precision) or precision


def is_fp32_alone(run: Run, device: Device | None) -> bool:
    """Return whether every number of a run is at fp32, so that no precision need stand beside any."""
    return run.info.options.precision == ("fp32",) and costs_precision("fp32", device) == "fp32"


def run_precision(run: Run, precision: str) -> str:
    """Return :func:`told_precision` of a network of a run; nothing where every number is at fp32."""
    device = device_of(run)
    return "" if is_fp32_alone(run, device) else told_precision(precision, device, run.measure)
