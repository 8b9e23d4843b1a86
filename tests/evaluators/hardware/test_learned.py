from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from espalier.evaluators.cost_prediction import CostPredictor
from espalier.evaluators.hardware.calibrate import calibrate
from espalier.evaluators.hardware.calibrated import CalibratedDevice, conformal_width
from espalier.evaluators.hardware.calibration_networks import FAMILIES, diverse_networks
from espalier.evaluators.hardware.calibration_table import CalibrationRow, rows_of
from espalier.evaluators.hardware.calibration_variants import VariantSource
from espalier.evaluators.hardware.features import features, shapes_of, unfolded, working_set
from espalier.evaluators.hardware.kernel_regressor import KernelRegressor
from espalier.evaluators.hardware.kernel_shares import kernel_shares
from espalier.evaluators.hardware.kernels import record_kernels
from espalier.evaluators.hardware.learned import LearnedModel
from espalier.evaluators.hardware.measured import measure_onnx
from espalier.evaluators.hardware.runtimes import Network, runtime_called
from espalier.evaluators.onnx.onnx_export import export_onnx
from espalier.evaluators.task.task import Inputs
from espalier.spaces.graph.trace import trace
from espalier.spaces.policy import Choice, Policy
from espalier.testing.cost_models import CostModelContract, chain
from espalier.testing.pruning_types import contract_network

IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.fixture(scope="module")
def device() -> CalibratedDevice:
    return calibrate(chain(64), IMAGE, seconds=2.0)


class TestLearned(CostModelContract):
    @pytest.fixture
    def cost_model(self, device: CalibratedDevice) -> LearnedModel:
        return LearnedModel(device)


def _zero_rows(network: nn.Module, example_input: Inputs) -> tuple[CalibrationRow, ...]:
    graph = record_kernels(network, example_input)
    return rows_of(0, graph, [0.0] * len(graph.kernels), [""] * len(graph.kernels))


def test_policies_cost_what_their_networks_cost(device: CalibratedDevice) -> None:
    network = contract_network()
    graph = trace(network, IMAGE)
    learned = LearnedModel(device)
    predictor = CostPredictor(network, IMAGE, graph, learned)
    assert predictor.exact
    source = VariantSource.of(network, IMAGE, graph)
    drawn = source.policies(torch.Generator().manual_seed(3))
    policies = [next(drawn)[0] for _ in range(8)]
    for policy, told in zip(policies, predictor.predict(policies), strict=True):
        cost = learned.estimate(source.variant(policy, "").network, IMAGE)
        assert told.latency_ms == pytest.approx(cost.latency_ms)
        assert (told.macs, told.params) == (cost.macs, cost.params)
        assert (told.latency_low, told.latency_high) == pytest.approx((cost.latency_low, cost.latency_high))


def test_zeroed_weights_are_given_no_credit(device: CalibratedDevice) -> None:
    network = contract_network()
    graph = trace(network, IMAGE)
    predictor = CostPredictor(network, IMAGE, graph, LearnedModel(device))
    group = graph.groups[0]
    zeroed = Policy.of(graph, {group.name: Choice("nm", "l2", 2, 4)})
    dense, sparse = predictor.predict([Policy.dense(graph), zeroed])
    assert sparse == dense


@pytest.mark.parametrize("family", FAMILIES)
def test_features_of_each_family_are_finite_and_of_one_width(family: str) -> None:
    networks = diverse_networks(torch.Generator().manual_seed(0), (family,))
    rows = [_zero_rows(v.network, v.example_input) for v, _ in zip(networks, range(3), strict=False)]
    values, names = features(shapes_of(rows), element_bytes=4)
    assert values.shape == (sum(map(len, rows)), len(names))
    assert np.isfinite(values).all()


def test_features_know_blocks_and_neighbours() -> None:
    rows = [_zero_rows(chain(width), IMAGE) for width in (16, 15, 18)]
    values, names = features(shapes_of(rows), element_bytes=4)
    table = {name: values[:, i].reshape(3, -1) for i, name in enumerate(names)}
    conv = 1  # the second convolution: as many channels in as out
    assert table["out_fill_16"][:, conv].tolist() == pytest.approx([1, 15 / 16, 18 / 32])
    assert table["in_whole_8"][:, conv].tolist() == [1, 0, 0]
    assert table["blocked_16"][:, conv].tolist() == [1, 1, 0]  # 15 are fewer than a block and are read as they are
    assert table["first_before_changes_16"][:, conv].tolist() == [0, 1, 1]


def test_working_sets_are_of_each_network_alone() -> None:
    rows = [_zero_rows(chain(width), IMAGE) for width in (16, 32)]
    found = working_set(shapes_of(rows), element_bytes=4)
    by_hand = [4 * sum(row.write_elements + row.weight_elements for row in network) for network in rows]
    assert found.tolist() == [by_hand[0]] * len(rows[0]) + [by_hand[1]] * len(rows[1])
    dense = shapes_of(rows[:1])
    again = dense.repeated(np.stack([dense.numbers, dense.numbers]))
    assert working_set(again, element_bytes=4).tolist() == 2 * found[: len(rows[0])].tolist()


def test_a_convolution_is_unfolded_once_for_each_position_of_its_kernel() -> None:
    rows = _zero_rows(
        nn.Sequential(nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(180, 2)), torch.zeros(1, 6, 8, 8)
    )
    assert unfolded(shapes_of([rows])).tolist() == [6 * 3 * 3 * 6 * 6, 0]


def _timed(rows: tuple[CalibrationRow, ...], macs_per_ms: float) -> tuple[CalibrationRow, ...]:
    return tuple(replace(row, latency_ms=1e-3 + row.macs / macs_per_ms) for row in rows)


def test_a_kind_that_was_never_measured_is_told_from_its_class() -> None:
    generator = torch.Generator().manual_seed(0)
    convolutions, linear = (diverse_networks(generator, (family,)) for family in ("plain", "perceptron"))
    fast = [_timed(_zero_rows(v.network, v.example_input), 1e8) for v in islice(convolutions, 12)]
    slow = [_timed(_zero_rows(v.network, v.example_input), 1e4) for v in islice(linear, 12)]
    regressor = KernelRegressor.fit(fast + slow, element_bytes=4, trees=5)
    grouped = _zero_rows(nn.Conv2d(64, 64, 3, groups=4), torch.zeros(1, 64, 34, 34))
    assert grouped[0].kind == "grouped_conv"
    assert regressor.roofline_totals([grouped])[0] == pytest.approx(_timed(grouped, 1e8)[0].latency_ms, rel=0.3)


def test_shares_add_up_to_the_latency_and_follow_the_profile() -> None:
    network = chain(32)
    exported = export_onnx(network, IMAGE)
    latency = measure_onnx(exported, IMAGE).median_ms
    nodes = runtime_called("onnxruntime").profile(Network(network, IMAGE, exported), threads=1, seconds=0.1)
    shares = kernel_shares(nodes, record_kernels(network, IMAGE), exported=exported, latency_ms=latency)
    assert sum(s.latency_ms for s in shares) == pytest.approx(latency)
    assert sum(len(s.operators) for s in shares) == len(nodes)
    assert ["Conv" in s.operators for s in shares] == [True, True, False, False]
    assert max(shares, key=lambda s: s.latency_ms) is not shares[-1]


def test_the_interval_holds_nine_of_ten_by_hand() -> None:
    predicted = np.ones(19)
    measured = 1 + np.arange(1, 20) / 100
    assert conformal_width(predicted, measured) == pytest.approx(0.18)  # the 18th of 19: ceil(0.9 * 20)
    assert conformal_width(np.ones(3), np.array([1.0, 1.1, 0.8])) == pytest.approx(0.2)
