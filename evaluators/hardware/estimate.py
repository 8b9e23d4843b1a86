"""What a network costs on a device, by the cost model that the device's file names."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from torch import nn

from ...registry import Registry
from ..task.task import Inputs
from .base import Cost, CostModel
from .device import Device, load_device
from .learned import LearnedModel
from .measured import MeasuredModel
from .roofline import RooflineModel

COST_MODELS: Registry[Callable[[Device, int | None], CostModel]] = Registry("cost model", group="espalier.cost_models")
"""Cost models by their source; each is built from a device and a number of threads (``None``: the device's own)."""


def _measured(device: Device, threads: int | None) -> CostModel:
    return MeasuredModel(device, threads=threads)


def _roofline(device: Device, threads: int | None) -> CostModel:
    # A roofline's speeds belong to the device's own number of threads, whatever a worker here has.
    return RooflineModel(device)


def _learned(device: Device, threads: int | None) -> CostModel:
    return LearnedModel(device)


def _vela(device: Device, threads: int | None) -> CostModel:
    from .vela import is_installed
    from .vela_model import VelaModel

    fit = device.fit.get("int8")
    if is_installed() or fit is None or fit.method == "nominal":
        return VelaModel(device)  # which says what to install
    warnings.warn(
        f"Latencies on {device.name} are of a roofline, within {fit.interval_90:.0%} of the compiler's nine times of "
        "ten, and its SRAM and flash are not told: Arm's compiler Vela is not installed. Install it: pip install "
        "'espalier[ethos-u]'.",
        RuntimeWarning,
        stacklevel=4,
    )
    return RooflineModel(device)


COST_MODELS.add("measured", _measured)
COST_MODELS.add("learned", _learned)
COST_MODELS.add("roofline", _roofline)
COST_MODELS.add("vela", _vela)


def cost_model_for(device: Device, *, threads: int | None = None) -> CostModel:
    """Return what tells costs on ``device``, as its file says: ``measured`` for this machine, for one.

    Args:
        device: as loaded.
        threads: for measurements; the device's own number unless given. Models keep what they were fitted to.
    """
    return COST_MODELS.get(device.cost_model)(device, threads)


def candidate_cost_model_for(device: Device, *, threads: int | None = None) -> CostModel:
    """Return what tells the costs of a search's candidates, of which there are many.

    That is :func:`cost_model_for`, but for a compiler of which the device's file holds a stand-in: a roofline fitted to
    what the compiler says, with the error on networks held out. The front is compiled.
    """
    fit = device.fit.get("int8")
    if device.cost_model == "vela" and fit is not None and fit.method != "nominal":
        return RooflineModel(device)
    return cost_model_for(device, threads=threads)


def estimate(model: nn.Module, example_input: Inputs, *, device: str | Path | Device, precision: str = "fp32") -> Cost:
    """Return the cost of one forward pass of ``model`` on ``example_input`` (a batch of 1) on ``device``.

    On a device that runs another precision than the one asked for, costs are of the network as deployed there:
    ``Cost.precision`` says which, ``Device.note`` says so in words.

    Raises:
        UnknownNameError: no such device or precision.
        InputError: the device neither runs the precision nor says what it is deployed as.
        EvaluationError: the network cannot run or be exported.
    """
    found = device if isinstance(device, Device) else load_device(device)
    return cost_model_for(found).estimate(model, example_input, precision=precision)
