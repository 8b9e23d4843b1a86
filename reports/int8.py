"""The int8 file of an export: what it is, and how far it is from the fp32 network that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..evaluators.onnx.int8_check import ProductCheck, check_products
from ..evaluators.onnx.named_tensors import named_inputs
from ..evaluators.onnx.onnx_network import Deployed, deployed_file
from ..evaluators.onnx.quantisation import Recipe, digest
from ..evaluators.onnx.quantisation_scheme import QuantisationScheme
from ..evaluators.task.data import as_network_input, batches
from ..evaluators.task.task import Task
from ..spaces.inputs import call, tensors_of
from .manifest import ONNX_INT8
from .remeasure import PARITY_INPUTS, validation_inputs

AGREEMENT_SAMPLES = 1_000
_BATCH = 256


@dataclass(frozen=True)
class Agreement:
    """How often, and how nearly, an int8 file computes what the fp32 network computes on validation samples."""

    same_predictions: float | None
    """Share of samples whose first output has its maximum in the same place; ``None`` where outputs are no scores."""
    relative: float
    """The largest absolute difference of any output, divided by the largest absolute fp32 output."""
    samples: int

    @property
    def words(self) -> str:
        """What a reader needs: the share where there is one, else the difference."""
        if self.same_predictions is None:
            return f"{self.relative:.1e}"
        return f"{100 * self.same_predictions:.1f} %"


def agreement(deployed: Deployed, task: Task) -> Agreement:
    """Compare the int8 file with its fp32 network on the first validation samples."""
    same, seen, worst, scale = 0, 0, 0.0, 0.0
    scored = True
    walk = batches(task.validation, name="validation", task=task).walk(_BATCH, limit=AGREEMENT_SAMPLES)
    for inputs, _ in walk:
        shaped = as_network_input(inputs, task.example_input)
        expected, found = _outputs(deployed.model, shaped), _outputs(deployed.network, shaped)
        for e, f in zip(expected, found, strict=True):
            worst = max(worst, float((e - f).abs().max()))
            scale = max(scale, float(e.abs().max()))
        first, other = expected[0], found[0]
        seen += len(first)
        scored = scored and first.dim() > 1 and first.shape[1] > 1
        if scored:
            equal = first.argmax(1) == other.argmax(1)
            same += int(equal.reshape(len(first), -1).all(1).sum())
    return Agreement(same / seen if scored else None, worst / (scale or 1.0), seen)


def products_of(deployed: Deployed, task: Task, *, threads: int) -> ProductCheck | None:
    """Run the int8 file's products on this processor, as a user would, on validation samples.

    ``None`` where there is no file.

    Raises:
        EvaluationError: ONNX Runtime refuses the file.
    """
    if deployed.onnx is None:
        return None
    named = (named_inputs(deployed.model, inputs) for inputs in validation_inputs(task, PARITY_INPUTS))
    feeds = ({name: tensor.detach().cpu().numpy() for name, tensor in each.items()} for each in named)
    return check_products(deployed.onnx, feeds, threads=threads)


def int8_record(
    deployed: Deployed, task: Task, *, of_run: str | None, scheme: QuantisationScheme, threads: int
) -> dict[str, Any] | None:
    """Return what a manifest says of the int8 file; ``None`` where there is none.

    Args:
        deployed: the network as it runs.
        task: whose data calibrated and compare.
        of_run: digest of the file that the run took its final numbers of, where it did.
        scheme: of the file.
        threads: of the runtime.
    """
    products = products_of(deployed, task, threads=threads)
    if deployed.onnx is None or products is None:
        return None
    own = digest(deployed.onnx)
    return {
        "recipe": Recipe.of(scheme).to_dict(),
        "sha256": own,
        "sha256_of_run": of_run,
        "agreement": asdict(agreement(deployed, task)),
        "products": products.to_dict(),
    }


def stored_network(model: nn.Module, task: Task, folder: Path, *, precision: str, threads: int) -> Deployed:
    """Return an export's network as it runs: at int8 as its int8 file computes it."""
    if precision != "int8":
        return Deployed(model, model, None)
    return deployed_file(model, task, (folder / ONNX_INT8).read_bytes(), threads=threads)


def recorded_agreement(record: Mapping[str, Any]) -> Agreement:
    """Return the agreement that a manifest states."""
    return Agreement(**record["agreement"])


def _outputs(network: nn.Module, inputs: Any) -> list[torch.Tensor]:
    network.eval()
    with torch.no_grad():
        return [t for t in tensors_of(call(network, inputs)) if t.is_floating_point() and t.dim()]
