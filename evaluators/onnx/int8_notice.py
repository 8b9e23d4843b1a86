"""What a search must know of int8 on the processor it runs on: whether sums of products come out right here."""

from __future__ import annotations

from itertools import islice

from torch import nn

from ...errors import EvaluationError
from ..hardware.device import Device
from ..task.task import Task
from .int8_check import ProductCheck, check_products
from .int8_products import can_saturate
from .quantisation import calibration_feeds, quantise

CHECKED = 8
"""Training samples that products are run on: a network that saturates does so on nearly every one."""


def checked_on_training_data(
    onnx_file: bytes, model: nn.Module, task: Task, *, threads: int = 1, exact_products: bool = False
) -> ProductCheck:
    """Run an int8 file's products on this processor, on a few of the samples that calibrated it.

    Raises:
        EvaluationError: ONNX Runtime refuses the file.
    """
    feeds = islice(calibration_feeds(task, model), CHECKED)
    return check_products(onnx_file, feeds, threads=threads, exact_products=exact_products)


def int8_notice(model: nn.Module, task: Task, device: Device, *, threads: int = 1) -> str | None:
    """Return what is to be said of int8 on this processor in one sentence; ``None`` where all comes out right.

    Where the device is this machine, the file is run as a user would run it. Elsewhere it is run as accuracies are
    scored: as on the processors that it is right on.

    Args:
        model: the network as brought.
        task: whose training data calibrate.
        device: says how int8 files are stored.
        threads: of the runtime.
    """
    scheme = device.quantisation_scheme
    try:
        file = quantise(model, task, threads=threads, scheme=scheme)
        exact = can_saturate(file) and not device.reachable
        found = checked_on_training_data(file, model, task, threads=threads, exact_products=exact)
    except EvaluationError as error:
        return f"int8 could not be checked on this processor: {error}"
    if found.passed:
        return None
    if not device.reachable:
        return f"int8 accuracies are not those of {device.name}: {found.sentence}"
    return (
        f"{found.sentence}; accuracies are those on {scheme.right_on} (int8_scheme {scheme.name} of {device.name}), "
        f"and int8_scheme u8s7 is right on every processor"
    )
