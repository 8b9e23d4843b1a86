"""A network as ONNX: one static graph, weights inside, constants folded."""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.jit import TracerWarning  # pyright: ignore[reportPrivateImportUsage] - public, but not in its __all__

from ..errors import EvaluationError, describe
from .hardware.recording import call, evaluating, tensors_in
from .pad_folding import fold_pads
from .task import Inputs
from .zero_folding import fold_zeros

OPSET = 17


def export_onnx(model: nn.Module, example_input: Inputs) -> bytes:
    """Return ``model`` in eval mode as an ONNX file for inputs shaped like ``example_input``; the model is unchanged.

    Inputs are called ``input``, or ``input_0``, ``input_1``, ... for a tuple, or like a dict's keys; outputs
    ``output``, or ``output_0``, ``output_1``, ... where there are several. The TorchScript exporter is used where
    PyTorch has one (0.1 s for a ResNet-8), the slower ``torch.export`` based one (1.5 to 3 s) otherwise. Zero padding
    of its own is folded into the convolutions behind it, and zeros are not added.

    Raises:
        EvaluationError: the network cannot be exported.
    """
    with evaluating(model), torch.no_grad(), _plain_attention():
        try:
            outputs = _output_names(model, example_input)
            return _folded(_export(model, example_input, outputs))
        except (RuntimeError, TypeError, ValueError, NotImplementedError, torch.onnx.errors.OnnxExporterError) as error:
            raise EvaluationError(
                describe(
                    f"the ONNX export fails: {error}",
                    expected="a network that torch.onnx can export",
                    remedy="Replace the operator named, or freeze the layer around it.",
                )
            ) from error


def _folded(onnx_file: bytes) -> bytes:
    """Return the file with what can be folded; the very bytes where nothing can."""
    if b"Pad" not in onnx_file and b"Add" not in onnx_file:
        return onnx_file
    model = onnx.load_from_string(onnx_file)
    return model.SerializeToString() if fold_pads(model) + fold_zeros(model) else onnx_file


def onnx_feed(example_input: Inputs) -> dict[str, np.ndarray]:
    """Return the inputs as ONNX Runtime takes them, by the names that :func:`export_onnx` gives."""
    names = input_names(example_input)
    return {n: t.detach().cpu().numpy() for n, t in zip(names, tensors_in(example_input), strict=True)}


def input_names(example_input: Inputs) -> list[str]:
    """Return the names of the exported network's inputs."""
    if isinstance(example_input, Mapping):
        return list(example_input)
    if isinstance(example_input, tuple):
        return [f"input_{i}" for i in range(len(example_input))]
    return ["input"]


def _output_names(model: nn.Module, example_input: Inputs) -> list[str]:
    count = len(list(tensors_in(call(model, example_input))))
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def _export(model: nn.Module, example_input: Inputs, outputs: list[str]) -> bytes:
    options: dict[str, Any] = {"input_names": input_names(example_input), "output_names": outputs}
    if isinstance(example_input, Mapping):
        options["kwargs"] = dict(example_input)
        args: tuple[Any, ...] = ()
    else:
        args = example_input if isinstance(example_input, tuple) else (example_input,)
    if _has_torchscript_exporter():
        try:
            return _torchscript(model, args, options)
        except (RuntimeError, torch.onnx.errors.OnnxExporterError):
            # It is no longer given operators that are newer than it (RMSNorm); the other exporter has them.
            return _dynamo(model, args, options)
    return _dynamo(model, args, options)


def _dynamo(model: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # remarks on the exporter's own future, several for each export
        program = torch.onnx.export(model, args, dynamo=True, verbose=False, **options)
    if program is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    return program.model_proto.SerializeToString()


def _has_torchscript_exporter() -> bool:
    return "dynamic_axes" in inspect.signature(torch.onnx.export).parameters


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Have ``nn.MultiheadAttention`` compute by operators that ONNX knows, not by its fused kernel for inference."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _torchscript(model: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="espalier-onnx-") as folder, warnings.catch_warnings():
        path = Path(folder) / "model.onnx"
        # Chosen for its speed; both its deprecation and its tracer's remarks on fixed shapes are known.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=TracerWarning)
        warnings.filterwarnings("ignore", message="Constant folding", category=UserWarning)
        warnings.filterwarnings("ignore", message="Exporting a model to ONNX with a batch_size", category=UserWarning)
        options |= {"opset_version": OPSET, "do_constant_folding": True}
        torch.onnx.export(model, args, str(path), dynamo=False, **options)
        return path.read_bytes()
