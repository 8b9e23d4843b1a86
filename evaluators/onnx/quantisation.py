"""int8: post-training static quantisation of an exported network, calibrated on its task's training data.

B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
CVPR 2018. The file holds QuantizeLinear and DequantizeLinear nodes around each operator (QDQ), which ONNX Runtime fuses
into integer kernels. Equal weights, data and versions give equal bytes.
"""

from __future__ import annotations

import hashlib
import logging
import math
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch
from torch import nn

from ...errors import EvaluationError, describe
from ...spaces.inputs import random_like
from ..hardware.onnxruntime_session import open_session
from ..task.data import batches, single_inputs
from ..task.task import Inputs, Task
from .dynamic_export import export_dynamic
from .export_probes import FEW_BATCHES
from .folding import fold_batch_norm
from .linear_fusion import fuse_linear
from .named_tensors import named_inputs
from .onnx_export import export_onnx, onnx_feed
from .quantisation_masks import left_in_float, name_nodes, unbounded
from .quantisation_scheme import DEFAULT_SCHEME, LARGEST_SAFE_WEIGHT, QuantisationScheme, scheme_called

Feed = Mapping[str, np.ndarray]

_DRAWN_INPUTS = 8
_INT8_WEIGHTS = frozenset((onnx.TensorProto.INT8, onnx.TensorProto.UINT8))


@dataclass(frozen=True)
class Recipe:
    """Everything beyond weights and data that decides an int8 file; stored with runs and exports.

    Measured on a ResNet-8 for CIFAR-10 (5,000 validation images, 83.06 % at fp32; ONNX Runtime 1.31.1, AVX-512 VNNI,
    one thread): unsigned activations take 0.145 ms and signed ones 0.269 ms, at equal accuracy; ranges by minimum and
    maximum, entropy and percentile give 83.08 to 83.14 % alike, and the first calibrates 3 times as fast or more.
    """

    samples: int = 256
    """Training samples that the ranges of activations are taken from, not augmented."""
    seed: int = 0
    """Of the order in which they are drawn; a ``DataLoader`` keeps its own order."""
    calibration: str = "minmax"
    activations: str = DEFAULT_SCHEME.activation_words
    weights: str = DEFAULT_SCHEME.weight_words
    biases: str = "int32"
    form: str = "QDQ"
    scheme: str = DEFAULT_SCHEME.name
    """One of :data:`~espalier.evaluators.onnx.quantisation_scheme.SCHEMES`."""
    right_on: str = DEFAULT_SCHEME.right_on
    """The processors on which the file's sums of products come out right, in words."""

    @classmethod
    def of(cls, scheme: QuantisationScheme) -> Recipe:
        """Return the recipe with the integers of ``scheme``."""
        return cls(
            activations=scheme.activation_words,
            weights=scheme.weight_words,
            scheme=scheme.name,
            right_on=scheme.right_on,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data that ``run.json`` and manifests store."""
        return asdict(self)


RECIPE = Recipe()


def scheme_of_recipe(recipe: Mapping[str, Any]) -> QuantisationScheme:
    """Return the scheme that a stored recipe names; files made before schemes had names hold weights of 8 bits.

    Raises:
        UnknownNameError: this version knows no such scheme.
    """
    return scheme_called(recipe.get("scheme", "u8s8"))


def recipe_in_full(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored recipe as this version writes it: files made before schemes had names say less.

    Raises:
        UnknownNameError: this version knows no such scheme.
    """
    full = Recipe.of(scheme_of_recipe(recipe))
    words = {"activations": full.activations, "weights": full.weights, "scheme": full.scheme, "right_on": full.right_on}
    return {**recipe, **words}


def quantise(model: nn.Module, task: Task, *, threads: int = 1, scheme: QuantisationScheme = DEFAULT_SCHEME) -> bytes:
    """Return ``model`` as an int8 ONNX file with the task's dynamic axes, calibrated on its training data.

    Args:
        model: the network; it is not changed.
        task: whose training data calibrate.
        threads: for the runs that calibrate.
        scheme: the integers of the file; the default is right on every processor.

    Raises:
        EvaluationError: the network cannot be exported or quantised, or an activation is not finite.
    """
    onnx_fp32 = export_dynamic(model, task, batches=FEW_BATCHES).file
    return quantise_onnx(onnx_fp32, calibration_feeds(task, model), threads=threads, scheme=scheme)


def quantise_for_timing(
    model: nn.Module, example_input: Inputs, *, threads: int = 1, scheme: QuantisationScheme = DEFAULT_SCHEME
) -> bytes:
    """Return ``model`` as an int8 ONNX file calibrated on drawn inputs: its latency is right, its accuracy is not."""
    generator = torch.Generator().manual_seed(RECIPE.seed)
    drawn = (random_like(example_input, generator, batch=1) for _ in range(_DRAWN_INPUTS))
    return quantise_onnx(export_onnx(model, example_input), map(onnx_feed, drawn), threads=threads, scheme=scheme)


def calibration_feeds(task: Task, model: nn.Module) -> Iterator[Feed]:
    """Yield the inputs that calibrate, by the names of the exported network's inputs."""
    generator = torch.Generator().manual_seed(RECIPE.seed)
    found = batches(task.train, name="train", task=task)
    for inputs in single_inputs(found, task.example_input, limit=RECIPE.samples, generator=generator):
        yield {name: t.detach().cpu().numpy() for name, t in named_inputs(model, inputs).items()}


def quantise_onnx(
    onnx_fp32: bytes, feeds: Iterable[Feed], *, threads: int = 1, scheme: QuantisationScheme = DEFAULT_SCHEME
) -> bytes:
    """Return an fp32 ONNX file quantised to int8 by the recipe of ``scheme``, with the ranges that ``feeds`` show.

    The file's own metadata names the scheme and the processors on which it is right.

    Raises:
        EvaluationError: nothing in it can be quantised, an operator cannot, or an activation is not finite.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="espalier-int8-") as folder, _quiet():
            prepared = _prepared(onnx_fp32, Path(folder) / "optimised.onnx")
            ranges = _ranges(prepared, feeds, Path(folder), threads)
            quantised = _quantised(prepared, ranges, scheme)
    except EvaluationError:
        raise
    except Exception as error:  # quantiser, checker and runtime share no base but Exception
        raise EvaluationError(
            describe(
                f"the network cannot be quantised to int8 ({type(error).__name__}: {error})",
                expected="operators that ONNX Runtime's static quantisation takes",
                remedy="Replace the operator named, or leave int8 out of the precisions.",
            )
        ) from error
    if not int8_elements(quantised):
        raise EvaluationError(
            describe(
                "nothing in the network can be quantised to int8",
                expected="at least one convolution or matrix product with weights",
                remedy="Leave int8 out of the precisions.",
            )
        )
    return quantised


def optimised(onnx_fp32: bytes) -> bytes:
    """Return an fp32 file with constants and BatchNorm folded and every shape known, in ONNX's own operators."""
    with tempfile.TemporaryDirectory(prefix="espalier-onnx-") as folder:
        return _prepared(onnx_fp32, Path(folder) / "optimised.onnx").SerializeToString()


def digest(onnx_file: bytes) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    return hashlib.sha256(onnx_file).hexdigest()


def int8_elements(onnx_file: bytes) -> int:
    """Return how many elements of weights (two dimensions or more) the file stores in 8 bits."""
    return _weight_elements(onnx_file, _INT8_WEIGHTS)


def float_elements(onnx_file: bytes) -> int:
    """Return how many elements of weights (two dimensions or more) the file still stores in 32 bits.

    Operators that cannot be quantised, such as recurrent layers, keep their weights.
    """
    return _weight_elements(onnx_file, frozenset((onnx.TensorProto.FLOAT,)))


def _weight_elements(onnx_file: bytes, types: frozenset[int]) -> int:
    tensors = onnx.load_from_string(onnx_file).graph.initializer
    return sum(math.prod(t.dims) for t in tensors if t.data_type in types and len(t.dims) > 1)


def _prepared(onnx_fp32: bytes, path: Path) -> onnx.ModelProto:
    """Return the graph with constants and BatchNorm folded and every shape known, as the quantiser needs it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(onnx_fp32, options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(path))
    name_nodes(model.graph)
    fold_batch_norm(model)
    inferred = onnx.shape_inference.infer_shapes(model)
    return onnx.shape_inference.infer_shapes(inferred) if fuse_linear(inferred) else inferred


def _ranges(model: onnx.ModelProto, feeds: Iterable[Feed], folder: Path, threads: int) -> Any:
    from onnxruntime.quantization.calibrate import MinMaxCalibrater

    plain, augmented = folder / "prepared.onnx", folder / "augmented.onnx"
    onnx.save(model, str(plain))
    calibrater = MinMaxCalibrater(plain, op_types_to_calibrate=_operators(), augmented_model_path=str(augmented))
    calibrater.augment_graph()
    # Its own session would take every core, whatever this worker may use.
    calibrater.infer_session = open_session(augmented.read_bytes(), threads=threads)
    used = {i.name for i in model.graph.input}
    reader = _Reader({n: a for n, a in feed.items() if n in used} for feed in feeds)
    calibrater.collect_data(cast(Any, reader))  # its base class does nothing but declare get_next
    return calibrater.compute_data()


class _Reader:
    """Hands feeds to a calibrater, which asks until it gets ``None``."""

    def __init__(self, feeds: Iterable[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _ends(ranges: Any) -> dict[str, tuple[float, float]]:
    pairs = {name: [np.asarray(value) for value in found.range_value] for name, found in ranges.items()}
    return {name: (float(low.min()), float(high.max())) for name, (low, high) in pairs.items()}


def _quantised(model: onnx.ModelProto, ranges: Any, scheme: QuantisationScheme) -> bytes:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    ends = _ends(ranges)
    in_float = left_in_float(model, ends)
    for name in unbounded(ends):  # the quantiser would compute a scale for each
        del ranges.data[name]
    quantiser = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=scheme.largest_weight <= LARGEST_SAFE_WEIGHT,
        weight_qType=types[scheme.weights],
        activation_qType=types[scheme.activations],
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=in_float,
        op_types_to_quantize=_operators(),
        extra_options={
            "ActivationSymmetric": scheme.activations == "int8",
            "TensorQuantOverrides": _per_tensor(model.graph),
        },
    )
    quantiser.quantize_model()
    file = quantiser.model.model
    stamp = {"espalier.int8_scheme": scheme.name, "espalier.right_on": scheme.right_on}
    onnx.helper.set_model_props(file, stamp)
    return file.SerializeToString(deterministic=True)


def _per_tensor(graph: onnx.GraphProto) -> dict[str, list[dict[str, bool]]]:
    """Return the overrides that give weights left of a matrix product one scale: kernels take no more there."""
    constants = {tensor.name for tensor in graph.initializer}
    left = (node.input[0] for node in graph.node if node.op_type == "MatMul")
    return {name: [{"symmetric": True}] for name in left if name in constants}


def _operators() -> Sequence[str]:
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    return sorted({*QDQRegistry, *QLinearOpsRegistry})


@contextmanager
def _quiet() -> Iterator[None]:
    # The quantiser remarks on every tensor that it leaves alone, through the root logger.
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="All-NaN", category=RuntimeWarning)
            yield
    finally:
        root.setLevel(before)
