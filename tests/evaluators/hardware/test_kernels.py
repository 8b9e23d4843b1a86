from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from espalier.errors import EvaluationError
from espalier.evaluators.counting import count_macs, count_params, size_bytes
from espalier.evaluators.hardware.kernels import record_kernels
from espalier.evaluators.hardware.memory import peak_memory_bytes
from espalier.examples.cifar10_networks import ResNet8


class Small(nn.Module):
    """Convolution, BatchNorm, ReLU, depthwise, residual, pool, concatenation, linear: all countable by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.pointwise = nn.Conv2d(4, 6, 1)
        self.fc = nn.Linear(10, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn(self.conv(x)))
        y = x + self.depthwise(x)
        z = torch.cat([y, self.pointwise(y)], dim=1)
        return self.fc(z.mean((2, 3)))


def test_kernels_of_a_small_network_by_hand() -> None:
    graph = record_kernels(Small(), torch.zeros(1, 2, 8, 8))
    found = [(k.layer, k.kind, k.macs) for k in graph.kernels]
    assert found == [
        ("conv", "conv", 64 * 4 * 18),
        ("depthwise", "depthwise_conv", 64 * 4 * 9),
        ("pointwise", "pointwise_conv", 64 * 6 * 4),
        ("cat", "concat", 0),
        ("mean", "pool", 0),
        ("fc", "linear", 50),
    ]
    assert graph.kernels[0].operators == ("convolution", "native_batch_norm", "relu")
    assert graph.kernels[1].operators == ("convolution", "add")


def test_bytes_of_a_small_network_by_hand() -> None:
    conv, depthwise, pointwise, concat, pool, fc = record_kernels(Small(), torch.zeros(1, 2, 8, 8)).kernels
    assert conv.bytes_moved(4) == 4 * (128 + 256 + 72 + 4)  # the folded BatchNorm leaves one bias per channel
    assert depthwise.bytes_moved(4) == 4 * (256 + 256 + 36 + 4)  # the residual operand is its own input, read once
    assert pointwise.bytes_moved(1) == 256 + 384 + 24 + 6
    assert concat.bytes_moved(1) == 2 * 640
    assert pool.bytes_moved(1) == 640 + 10
    assert fc.bytes_moved(1) == 10 + 5 + 55


def test_additions_stay_apart_where_the_runtime_does_not_fuse_them() -> None:
    graph = record_kernels(Small(), torch.zeros(1, 2, 8, 8), fuse_additions=False)
    assert [k.kind for k in graph.kernels][:3] == ["conv", "depthwise_conv", "elementwise"]


def test_peak_memory_by_hand() -> None:
    graph = record_kernels(Small(), torch.zeros(1, 2, 8, 8))
    # At the concatenation its two inputs (256 and 384 elements) and its output (640) are live.
    assert peak_memory_bytes(graph, element_bytes=1) == 1280
    assert peak_memory_bytes(graph, element_bytes=4) == 4 * 1280


def test_a_residual_operand_stays_live() -> None:
    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.second(self.first(x))

    graph = record_kernels(Held(), torch.zeros(1, 1, 10, 10))
    assert peak_memory_bytes(graph, element_bytes=1) == 300
    plain = record_kernels(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)), torch.zeros(1, 1, 10, 10))
    assert peak_memory_bytes(plain, element_bytes=1) == 200


def test_what_is_computed_in_place_by_hand() -> None:
    class Residual(nn.Module):
        def __init__(self, *, held: bool) -> None:
            super().__init__()
            self.stem, self.inner = nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1)
            self.held = held

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            stem = self.stem(x)
            total = stem + self.inner(stem.sigmoid().tanh())
            return total * stem if self.held else total

    x = torch.zeros(1, 1, 10, 10)
    free, held = (record_kernels(Residual(held=held), x, fuse_additions=False) for held in (False, True))
    # Values of 200 elements. In turns: the addition has both operands and its sum; the convolution has the stem, its
    # input and its output whatever is computed in place.
    assert peak_memory_bytes(free, element_bytes=1) == peak_memory_bytes(free, element_bytes=1, in_place=True) == 600
    # The stem is read once more, so the sum takes the place of the other operand.
    assert peak_memory_bytes(held, element_bytes=1) == peak_memory_bytes(held, element_bytes=1, in_place=True) == 600
    # Fused: the stem, the convolution's input and the sum, which takes the stem's place unless that is read again.
    fused, fused_held = (record_kernels(Residual(held=held), x) for held in (False, True))
    assert peak_memory_bytes(fused, element_bytes=1) == 600
    assert peak_memory_bytes(fused, element_bytes=1, in_place=True) == 400
    assert peak_memory_bytes(fused_held, element_bytes=1, in_place=True) == 600


def test_the_networks_own_input_is_never_written_over() -> None:
    graph = record_kernels(nn.Tanh(), torch.zeros(1, 100))
    assert peak_memory_bytes(graph, element_bytes=1, in_place=True) == 200


def test_peak_memory_of_resnet8_is_near_the_published_one() -> None:
    graph = record_kernels(ResNet8(), torch.zeros(1, 3, 32, 32), fuse_additions=False)
    # In the first block three values of 16 x 32 x 32 are live. STMicroelectronics' model zoo states 45.41 KiB of
    # activations at int8 with X-CUBE-AI 8.1.0.
    assert peak_memory_bytes(graph, element_bytes=1) == 3 * 16 * 32 * 32
    assert peak_memory_bytes(graph, element_bytes=1) / 1024 == pytest.approx(45.41, rel=0.06)


def test_resnet8_has_the_published_macs_and_parameters() -> None:
    network = ResNet8()
    assert count_macs(network, torch.zeros(1, 3, 32, 32)) == 12_501_632
    assert count_params(network) == 78_186
    assert size_bytes(network, "fp32") == 312_744


def test_int8_size_by_hand() -> None:
    # 50 weights, 5 scales and 5 biases of 4 bytes each
    assert size_bytes(nn.Linear(10, 5), "int8") == 50 + 20 + 20


def test_explicit_padding_joins_its_convolution() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(F.pad(x, (0, 1, 0, 1)))

    (kernel,) = record_kernels(Padded(), torch.zeros(1, 3, 8, 8)).kernels
    assert kernel.operators == ("constant_pad_nd", "convolution")
    assert kernel.bytes_moved(1) == 3 * 64 + 8 * 16 + 27 * 8 + 8


def test_attention_is_counted_whole() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=32, dropout=0.0, batch_first=True)
    tokens, width, hidden = 7, 16, 32
    graph = record_kernels(layer, torch.zeros(1, tokens, width))
    projections = tokens * width * (3 * width + width)
    assert graph.macs == projections + 2 * tokens * tokens * width + 2 * tokens * width * hidden
    assert [k.kind for k in graph.kernels].count("linear") == 4
    assert torch.backends.mha.get_fastpath_enabled()


def test_recurrent_and_transposed_layers_are_counted() -> None:
    lstm = record_kernels(nn.LSTM(8, 4, batch_first=True), torch.zeros(1, 3, 8))
    assert lstm.macs == 3 * 4 * 4 * (8 + 4)
    transposed = record_kernels(nn.ConvTranspose2d(4, 6, 2, stride=2), torch.zeros(1, 4, 5, 5))
    assert transposed.macs == 25 * 4 * 6 * 4


def test_dict_and_tuple_inputs() -> None:
    class Two(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return a @ b

    a, b = torch.zeros(1, 3, 4), torch.zeros(1, 4, 5)
    for inputs in ((a, b), {"a": a, "b": b}):
        (kernel,) = record_kernels(Two(), inputs).kernels
        assert (kernel.kind, kernel.macs) == ("matmul", 60)


def test_an_empty_constant_counts_for_nothing() -> None:
    class Cached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 4, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.tensor([]), self.layer(x)], dim=-1)

    assert count_macs(Cached(), torch.zeros(1, 3)) == 12


def test_weights_alone_are_constants() -> None:
    class Reweighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.weight / self.weight.norm()).T

    (kernel,) = record_kernels(Reweighted(), torch.zeros(1, 3)).kernels
    assert (kernel.kind, kernel.macs, kernel.weight_elements) == ("linear", 12, 12)


def test_the_network_is_left_as_it_was_even_when_it_fails() -> None:
    network = Small().train()
    with pytest.raises(EvaluationError, match="example input"):
        record_kernels(network, torch.zeros(1, 3, 8, 8))
    assert network.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
