"""The parts of export and verify, against numbers made by hand."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from espalier.errors import InputError
from espalier.reports.manifest import Manifest, input_from_spec, input_spec
from espalier.reports.parity import Parity, parity, random_inputs, torch_forward
from espalier.reports.remeasure import LatencyPair
from espalier.reports.verify import Check, Verification, latency_check


@pytest.mark.parametrize(
    ("found", "dense", "passed"),
    [(1.0, 2.0, True), (1.09, 2.0, True), (1.2, 2.0, False), (2.0, 4.0, True), (2.0, 2.0, False), (0.5, 2.0, False)],
)
def test_latency_is_checked_absolutely_or_against_dense(found, dense, passed, tiny_export):
    """The claim: 1 ms against 2 ms dense, known to 10 %."""
    manifest = dataclasses.replace(
        Manifest.read(tiny_export), claimed={"latency_ms": 1.0}, dense={"latency_ms": 2.0}, latency_error=0.1
    )
    check = latency_check(manifest, lambda: LatencyPair(found, dense, 0.0, "measured"), reachable=True)
    assert check.passed is passed
    assert check.tolerance == 0.1


def test_parity_sees_a_difference_a_shape_and_nan():
    inputs = [torch.ones(1, 4), 2 * torch.ones(1, 4)]
    model = torch.nn.Identity()

    def shifted(x):
        return [x.numpy() + 0.01]

    off = parity(model, shifted, random_inputs=inputs, real_inputs=[])
    assert off.max_abs_difference == pytest.approx(0.01, rel=1e-4)
    assert off.relative == pytest.approx(0.005, rel=1e-4)
    assert not off.passed
    assert parity(model, torch_forward(model), random_inputs=inputs, real_inputs=inputs) == Parity(0.0, 0.0, 2, 2)
    assert not parity(model, lambda x: [x.numpy()[:, :2]], random_inputs=inputs, real_inputs=[]).passed
    assert not parity(model, lambda x: [x.numpy() * np.nan], random_inputs=inputs, real_inputs=inputs).passed


def test_inputs_of_any_form_survive_the_manifest():
    example = {"ids": torch.zeros(1, 5, dtype=torch.int64), "pair": (torch.zeros(1, 2), torch.ones(1))}
    again = input_from_spec(json.loads(json.dumps(input_spec(example))))
    assert again["ids"].dtype == torch.int64
    assert [t.shape for t in again["pair"]] == [(1, 2), (1,)]
    with pytest.raises(InputError, match="cannot be read"):
        input_from_spec({"shape": [1]})
    first, second = random_inputs(example["pair"], 2)
    assert not torch.equal(first[0], second[0])


def test_a_network_that_gives_nan_is_told_in_plain_json(tiny_export):
    check = Check("parity of onnx with PyTorch", 0.0, float("nan"), 1e-4, False)
    plain = Verification(tiny_export, (check,)).to_dict()
    assert plain["checks"][0]["found"] is None
    assert plain["passed"] is False
