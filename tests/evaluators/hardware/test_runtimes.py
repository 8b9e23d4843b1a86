from __future__ import annotations

import importlib.util
import math

import pytest
import torch
from torch import nn

from espalier.errors import MissingExtraError, UnknownNameError
from espalier.evaluators.hardware.measured import measure
from espalier.evaluators.hardware.runtimes import RUNTIMES, Network, Runtime, runtime_called
from espalier.evaluators.hardware.runtimes.base import require
from espalier.testing.cost_models import chain
from espalier.testing.runtimes import INPUT, RuntimeContract, with_zeros

MODULES = {"openvino": "openvino", "executorch": "executorch", "litert": "ai_edge_litert"}


def needs(runtime: str) -> pytest.MarkDecorator:
    module = MODULES[runtime]
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None, reason=f"importlib.util.find_spec({module!r}) is None"
    )


class TestOnnxRuntime(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> Runtime:
        return runtime_called("onnxruntime")


class TestOnnxRuntimeAtInt8(TestOnnxRuntime):
    precision = "int8"


class TestOnnxRuntimeOnTwoThreads(TestOnnxRuntime):
    threads = 2


class TestPyTorch(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> Runtime:
        return runtime_called("torch")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="not torch.cuda.is_available()")
class TestCuda(RuntimeContract):
    tolerance = 2e-3  # TF32 convolutions
    uses_processor = False

    @pytest.fixture
    def runtime(self) -> Runtime:
        return runtime_called("cuda")


@needs("openvino")
class TestOpenVino(RuntimeContract):
    @pytest.fixture
    def runtime(self) -> Runtime:
        return runtime_called("openvino")


@needs("openvino")
class TestOpenVinoAtInt8(TestOpenVino):
    precision = "int8"
    tolerance = 0.03  # it rounds between kernels where ONNX Runtime does not: a few steps of the output's scale


@needs("executorch")
class TestExecuTorch(RuntimeContract):
    profiles = False

    @pytest.fixture
    def runtime(self) -> Runtime:
        return runtime_called("executorch")


@needs("litert")
class TestLiteRt(RuntimeContract):
    profiles = False

    @pytest.fixture
    def runtime(self) -> Runtime:
        return runtime_called("litert")


@needs("litert")
class TestLiteRtAtInt8(TestLiteRt):
    precision = "int8"
    tolerance = 0.01  # one step of the output's scale


def test_every_runtime_has_its_name() -> None:
    assert set(RUNTIMES) == {"onnxruntime", "openvino", "executorch", "litert", "torch", "cuda"}
    for name in RUNTIMES:
        assert runtime_called(name).name == name


def test_an_unknown_runtime_suggests_a_near_one() -> None:
    with pytest.raises(UnknownNameError, match="openvino"):
        runtime_called("openvno")


def test_an_absent_library_says_how_to_install_it() -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'espalier\[litert\]'"):
        require("espalier_no_such_module", runtime="LiteRT", extra="litert")


@pytest.mark.parametrize("name", MODULES)
def test_an_absent_runtime_is_told_on_use(name: str) -> None:
    if importlib.util.find_spec(MODULES[name]) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(MissingExtraError, match=rf"espalier\[{name}\]"):
        runtime_called(name).prepare(Network(chain(8), INPUT), threads=1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch.cuda.is_available()")
def test_an_absent_gpu_is_told() -> None:
    with pytest.raises(MissingExtraError, match="no NVIDIA GPU"):
        runtime_called("cuda").prepare(Network(chain(8), INPUT), threads=1)


def test_a_network_is_measured_in_the_runtime_asked_for() -> None:
    found = {name: measure(chain(16), INPUT, runtime=name).median_ms for name in ("onnxruntime", "torch")}
    assert all(0 < value < math.inf for value in found.values())
    assert found["onnxruntime"] < found["torch"]  # which dispatches each operator from Python


def test_zeros_for_a_test_are_where_they_are_said_to_be() -> None:
    layer = nn.Conv2d(16, 8, 3)
    for kind, share in (("weight", 0.95), ("2:4", 0.5)):
        found = with_zeros(nn.Sequential(layer), kind)[0].weight
        assert float((found == 0).float().mean()) == pytest.approx(share, abs=0.01)
    groups = found.movedim(1, -1).unflatten(-1, (-1, 4))
    assert ((groups != 0).sum(-1) == 2).all()
