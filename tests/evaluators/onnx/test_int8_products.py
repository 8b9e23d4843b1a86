"""int8 products by pure integers, and as a processor without VNNI computes them, whatever processor runs the tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

from espalier.errors import EvaluationError
from espalier.evaluators.onnx.int8_check import ProductCheck, apart, check_products, compare, stored_integers
from espalier.evaluators.onnx.int8_products import Product, can_saturate, products
from espalier.evaluators.onnx.named_tensors import named_inputs
from espalier.evaluators.onnx.onnx_export import onnx_feed
from espalier.evaluators.onnx.quantisation import quantise
from espalier.evaluators.onnx.quantisation_scheme import (
    DEFAULT_SCHEME,
    LARGEST_SAFE_WEIGHT,
    SCHEMES,
    U8S8,
    QuantisationScheme,
)
from espalier.evaluators.task.task import Task


def without_vnni(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sum products of uint8 (m, k) and int8 (k, n) as ``pmaddubsw`` and ``pmaddwd`` do: pairs in 16 bits, all in 32."""
    odd = left.shape[1] % 2
    a = np.pad(left.astype(np.int64), ((0, 0), (0, odd)))
    b = np.pad(right.astype(np.int64), ((0, odd), (0, 0)))
    pairs = a[:, 0::2, None] * b[None, 0::2] + a[:, 1::2, None] * b[None, 1::2]
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(1)


def matrices(product: Product, stored: dict[str, np.ndarray], *, channels_last: bool = True) -> Iterator[tuple]:
    """Yield a product's uint8 and int8 operands as matrices; of a convolution one pair for each group of channels."""
    left, right = stored[product.left.name], stored[product.right.name]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in product.node.attribute}
    if product.node.op_type != "Conv":
        right = right.T if attributes.get("transB") else right
        yield left.reshape(-1, left.shape[-1]), right
        return
    kernel, dims = right.shape[2:], right.ndim - 2
    pads, strides = attributes["pads"], attributes["strides"]
    amounts = [(0, 0), (0, 0), *zip(pads[:dims], pads[dims:], strict=True)]
    padded = np.pad(left, amounts, constant_values=int(product.left.zero))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, attributes["dilations"], strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded[0], reach, tuple(range(1, dims + 1)))
    windows = windows[(slice(None), *(slice(None, None, s) for s in strides))]
    windows = windows[(..., *(slice(None, None, d) for d in attributes["dilations"]))]
    groups = attributes["group"]
    for own, weights in zip(np.split(windows, groups), np.split(right, groups), strict=True):
        # channels, rows, columns, kernel ... as rows of patches; their columns in the order of the runtime's kernels
        patches = np.moveaxis(own, 0, -1 if channels_last else dims)
        kernels = np.moveaxis(weights, 1, -1) if channels_last else weights
        yield patches.reshape(-1, weights[0].size), kernels.reshape(len(weights), -1).T


def sums_differ(product: Product, stored: dict[str, np.ndarray]) -> bool:
    """Return whether a processor without VNNI gets another sum for one of the product's outputs."""
    if stored[product.right.name].dtype != np.int8:
        return False  # uint8 x uint8 is widened before it is multiplied
    return any(
        (without_vnni(a, b) != a.astype(np.int64) @ b.astype(np.int64)).any()
        for last in (True, False)
        for a, b in matrices(product, stored, channels_last=last)
    )


class _Attention(nn.Module):
    """Products of two activations, and of weights that stand on the left."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.mix = nn.Parameter(torch.rand(12, 9))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        return self.mix @ (torch.softmax(scores / 4, -1) @ self.value(x))


def networks() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    """Return networks of every kind of product, and the shapes of their inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        image = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU6()]
        image += [nn.Conv2d(16, 32, 1), nn.Hardswish(), nn.Conv2d(32, 32, 3, 2, 2, 2, groups=4), nn.Flatten()]
        image += [nn.Linear(32 * 49, 3)]
        series = [nn.Conv1d(4, 17, 5, padding=2), nn.ReLU(), nn.Conv1d(17, 16, 3, stride=2), nn.Sigmoid()]
        volume = [nn.Conv3d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 3, 3)]
        upsampling = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8, 3, stride=2), nn.Conv2d(8, 4, 3)]
        sequence = [nn.Linear(15, 33), nn.ReLU(), nn.Linear(33, 3)]
        return {
            "image": (nn.Sequential(*image).eval(), (3, 16, 16)),
            "series": (nn.Sequential(*series).eval(), (4, 32)),
            "volume": (nn.Sequential(*volume).eval(), (2, 6, 6, 6)),
            "upsampling": (nn.Sequential(*upsampling).eval(), (3, 8, 8)),
            "sequence": (nn.Sequential(*sequence).eval(), (5, 15)),
            "rows": (nn.Sequential(*sequence).eval(), (15,)),
            "attention": (_Attention().eval(), (9, 16)),
        }


NETWORKS = networks()
SHOWN_WRONG = ("image", "series", "volume", "upsampling", "sequence", "rows", "attention")


def feed_of(network: nn.Module, x: torch.Tensor) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in named_inputs(network, x).items()}


@cache
def quantised(name: str, scheme: str = DEFAULT_SCHEME.name) -> tuple[bytes, list[dict[str, np.ndarray]]]:
    network, shape = NETWORKS[name]
    x = torch.rand(24, *shape, generator=torch.Generator().manual_seed(1))
    data = (x, torch.zeros(24, dtype=torch.long))
    task = Task(name="t", model=lambda: network, example_input=x[:1], train=data, validation=data)
    return quantise(network, task, scheme=SCHEMES.get(scheme)), [feed_of(network, x[i : i + 1]) for i in range(4)]


def test_pairs_saturate_by_hand() -> None:
    left = np.array([[255, 255, 255]], np.uint8)
    assert without_vnni(left, np.array([[127], [127], [1]], np.int8)) == [[32767 + 255]]  # not 64,770 + 255
    assert without_vnni(left, np.array([[-127], [-127], [1]], np.int8)) == [[-32768 + 255]]
    assert without_vnni(left, np.array([[127], [-127], [127]], np.int8)) == [[32385]]  # 255 x 127 alone fits
    assert without_vnni(left, np.array([[64], [64], [64]], np.int8)) == [[3 * 255 * 64]]


@given(
    hnp.arrays(np.uint8, (3, 9)),
    hnp.arrays(np.int8, (9, 4), elements=st.integers(-LARGEST_SAFE_WEIGHT, LARGEST_SAFE_WEIGHT)),
)
@settings(max_examples=60, deadline=None)
def test_weights_of_seven_bits_cannot_saturate(left: np.ndarray, right: np.ndarray) -> None:
    assert (without_vnni(left, right) == left.astype(np.int64) @ right.astype(np.int64)).all()


def test_one_more_could() -> None:
    left = np.full((1, 2), 255, np.uint8)
    assert without_vnni(left, np.full((2, 1), LARGEST_SAFE_WEIGHT + 1, np.int8)) != [[2 * 255 * 65]]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_default_is_the_same_without_vnni(name: str) -> None:
    file, feeds = quantised(name)
    assert not can_saturate(file)
    model = onnx.load_from_string(file)
    found = products(model)
    assert found
    for stored in stored_integers(model, found, feeds):
        assert not any(sums_differ(product, stored) for product in found)


@pytest.mark.parametrize("name", SHOWN_WRONG)
def test_weights_of_eight_bits_are_not_the_same_without_vnni(name: str) -> None:
    file, feeds = quantised(name, "u8s8")
    assert can_saturate(file)
    model = onnx.load_from_string(file)
    found = products(model)
    assert any(sums_differ(p, stored) for stored in stored_integers(model, found, feeds) for p in found)


@pytest.mark.parametrize("name", NETWORKS)
def test_this_processor_computes_the_default_right(name: str) -> None:
    file, feeds = quantised(name)
    found = check_products(file, feeds)
    assert found.passed
    assert found.compared >= 2
    assert found.skipped == 0
    assert f"all {found.compared} int8 products come out right" in found.sentence


@pytest.mark.parametrize("name", ["image", "series", "volume", "sequence", "rows"])
@pytest.mark.parametrize("scheme", ["u8s8", "u8u8"])
def test_this_processor_can_be_made_to_compute_the_others_right(name: str, scheme: str) -> None:
    file, feeds = quantised(name, scheme)
    assert check_products(file, feeds, exact_products=True).passed
    assert can_saturate(file) == (scheme == "u8s8")
    if scheme == "u8u8":
        assert check_products(file, feeds).passed


@pytest.mark.parametrize("name", ["image", "series", "rows"])
def test_exact_results_are_those_of_integers(name: str) -> None:
    """The check's own arithmetic, against sums of integers that share no code with it."""
    file, feeds = quantised(name, "u8s8")
    model = onnx.load_from_string(file)
    found = products(model)
    stored = next(iter(stored_integers(model, found, feeds)))
    for product in found:
        sums = []
        for a, b in matrices(product, stored):
            centred = a.astype(np.int64) - int(product.left.zero)
            sums.append(centred @ b.astype(np.int64))
        exact = np.concatenate(sums, 1)
        if product.bias is not None:
            exact = exact + stored[product.bias.name]
        levels = exact * (product.left.scale * product.right.scale.astype(np.float64) / product.output.scale)
        told = np.moveaxis(product.exact(stored)[0], 0, -1).reshape(exact.shape)
        np.testing.assert_allclose(told, levels + product.output.zero, atol=1e-3)


def as_without_vnni(product: Product, stored: dict[str, np.ndarray]) -> np.ndarray:
    """Return the result that a processor without VNNI stores of a linear layer."""
    ((a, b),) = matrices(product, stored)
    sums = without_vnni(a, b) - int(product.left.zero) * b.astype(np.int64).sum(0) + stored[product.bias.name]
    levels = sums * (product.left.scale * product.right.scale.astype(np.float64) / product.output.scale)
    rounded = np.clip(np.rint(levels) + product.output.zero, 0, 255).astype(np.uint8)
    return rounded.reshape(stored[product.result].shape)


def test_this_processor_computes_one_or_the_other() -> None:
    file, feeds = quantised("rows", "u8s8")
    model = onnx.load_from_string(file)
    found = products(model)
    right = check_products(file, feeds).passed
    for stored in stored_integers(model, found, feeds):
        for product in found:
            exact = np.clip(np.rint(product.exact(stored)), 0, 255)
            expected = exact if right else as_without_vnni(product, stored)
            assert np.abs(stored[product.result].astype(int) - expected).max() <= 1


def test_saturation_is_noticed_and_said() -> None:
    file, feeds = quantised("rows", "u8s8")
    model = onnx.load_from_string(file)
    found = products(model)
    runs = [
        {**stored, **{p.result: as_without_vnni(p, stored) for p in found}}
        for stored in stored_integers(model, found, feeds)
    ]
    checked = compare(found, runs)
    assert not checked.passed
    assert found[0].node.name in checked.wrong
    assert f"{len(checked.wrong)} of 2 int8 products come out wrong on this processor" in checked.sentence
    assert "saturate" in checked.sentence
    assert checked.to_dict()["passed"] is False


def test_what_cannot_be_compared_is_told() -> None:
    network, x = NETWORKS["rows"][0], torch.rand(1, 15)
    from espalier.evaluators.onnx.onnx_export import export_onnx

    found = check_products(export_onnx(network, x), [onnx_feed(x)])
    assert (found.compared, found.skipped) == (0, 2)
    assert "no int8 product of 2 could be compared" in found.sentence
    assert "1 could not be compared" in ProductCheck(3, 1, {}, "x").sentence
    file, _ = quantised("rows")
    with pytest.raises(EvaluationError, match="no inputs"):
        check_products(file, [])


def kernels(file: bytes, folder: Path) -> list[str]:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(folder / "optimised.onnx").graph.node
    return sorted(n.op_type for n in nodes if n.op_type in ("QLinearConv", "QGemm", "QLinearMatMul", "Conv", "Gemm"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_checked_runs_by_the_kernels_of_the_file(name: str, scheme: str, tmp_path: Path) -> None:
    file, feeds = quantised(name, scheme)
    model = onnx.load_from_string(file)
    found = products(model)
    stored = next(iter(stored_integers(model, found, feeds)))
    constants = {tensor.name for tensor in model.graph.initializer}
    operands = {tensor.name for p in found for tensor in (p.left, p.right)} - constants
    checked = kernels(apart(model, found, {name: stored[name].shape for name in operands}), tmp_path)
    assert len(checked) >= 2
    assert checked == kernels(file, tmp_path)


def test_activations_of_int8_are_no_way_out() -> None:
    """ONNX Runtime makes them uint8 on x86, so that their products saturate too; the check must not miss that."""
    network, shape = NETWORKS["image"]
    x = torch.rand(24, *shape, generator=torch.Generator().manual_seed(1))
    data = (x, torch.zeros(24, dtype=torch.long))
    task = Task(name="t", model=lambda: network, example_input=x[:1], train=data, validation=data)
    signed = QuantisationScheme("s8s8", "int8", "int8", 127, "")
    assert signed.can_saturate
    file, feeds = quantise(network, task, scheme=signed), [feed_of(network, x[i : i + 1]) for i in range(4)]
    assert can_saturate(file)
    assert check_products(file, feeds, exact_products=True).passed
    unsigned, other_feeds = quantised("image", "u8s8")
    assert check_products(file, feeds).passed == check_products(unsigned, other_feeds).passed


def test_schemes_say_where_they_are_right() -> None:
    assert DEFAULT_SCHEME.right_on == "every processor"
    assert [name for name in SCHEMES if SCHEMES.get(name).can_saturate] == ["u8s8"]
    assert "VNNI" in U8S8.right_on
    properties = {p.key: p.value for p in onnx.load_from_string(quantised("rows", "u8s8")[0]).metadata_props}
    assert properties == {"espalier.int8_scheme": "u8s8", "espalier.right_on": U8S8.right_on}
