from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from espalier.errors import InputError, UnknownNameError
from espalier.evaluators.hardware.calibrate import calibrate
from espalier.evaluators.hardware.calibration_networks import random_networks
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.hardware.estimate import estimate
from espalier.evaluators.hardware.fitting import FitSample, Prior, fit_error, fit_speeds, predict_ms
from espalier.evaluators.hardware.kernels import record_kernels
from espalier.evaluators.hardware.roofline import RooflineModel
from espalier.evaluators.hardware.speeds import Tile
from espalier.testing.cost_models import chain

IMAGE = torch.zeros(1, 3, 32, 32)
PRIOR = Prior(
    peak_macs_per_s=1e10,
    bandwidth_bytes_per_s=5e9,
    overhead_us=5,
    efficiency=0.5,
    peak_source="a nominal peak for tests",
    tile=Tile(input=1, output=1, source="no tiles in tests"),
    weight=1e-3,
)


def test_a_fit_recovers_the_device_that_made_the_latencies() -> None:
    truth = load_device("raspberry-pi-4")
    networks = random_networks(torch.Generator().manual_seed(0), multiple=4)
    samples = []
    for _ in range(40):
        network, image = next(networks)
        kernels = record_kernels(network, image, fuse_additions=False).kernels
        samples.append(FitSample(kernels, RooflineModel(truth).estimate(network, image).latency_ms))
    speeds = fit_speeds(samples[:25], PRIOR, source="made for this test", element_bytes=4)
    predicted = predict_ms(samples[25:], speeds, element_bytes=4)
    np.testing.assert_allclose(predicted, [s.latency_ms for s in samples[25:]], rtol=0.05)


def test_a_prediction_is_what_the_roofline_tells() -> None:
    device = load_device("raspberry-pi-4")
    kernels = record_kernels(chain(24), IMAGE, fuse_additions=False).kernels
    (predicted,) = predict_ms([FitSample(kernels, 1.0)], device.speeds["fp32"], element_bytes=4)
    assert predicted == pytest.approx(estimate(chain(24), IMAGE, device=device).latency_ms)


def test_a_fit_error_by_hand() -> None:
    measured = np.array([1.0, 2.0, 4.0, 8.0])
    predicted = np.array([1.05, 2.0, 5.0, 10.0])
    error = fit_error(predicted, measured, fitted=3, method="held-out", source="made by hand", command="none")
    assert error.share_within_10_percent == 0.5
    assert error.median_relative_error == pytest.approx(0.15)
    assert error.spearman == pytest.approx(1.0)
    assert error.interval_90 == pytest.approx(0.2)
    alike = fit_error(np.ones(3), np.ones(3), fitted=1, method="held-out", source="made by hand", command="none")
    assert alike.spearman is None


@pytest.mark.timed
def test_this_machine_for_networks_in_general(tmp_path: Path) -> None:
    device = calibrate(seconds=1.0)
    assert (device.runtime, device.cost_model, device.reachable) == ("onnxruntime", "learned", False)
    assert device.fit["fp32"].held_out >= 9
    families = {t.origin.partition(",")[0] for t in device.measurements.timings}
    assert families >= {"plain", "residual", "separable", "transformer", "perceptron"}
    device.save(tmp_path / "here.yaml")
    again = load_device(tmp_path / "here.yaml")
    for width in (16, 128):
        told, repeated = (estimate(chain(width), IMAGE, device=d) for d in (device, again))
        assert repeated == told
        assert told.source == "learned"
    assert estimate(chain(16), IMAGE, device=again).latency_ms < estimate(chain(128), IMAGE, device=again).latency_ms
    with pytest.raises(InputError, match="exists already"):
        device.save(tmp_path / "here.yaml")


@pytest.mark.timed
def test_this_machine_for_one_network() -> None:
    network = chain(64)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    device = calibrate(network, IMAGE, seconds=1.0, precisions=("fp32", "int8"))
    assert "pruned variants" in device.description
    assert device.precisions == ("fp32", "int8")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    for precision in device.precisions:
        part = device.measurements.of(precision)
        assert part.timings[0].origin == "dense"
        for timing, rows in zip(part.timings, part.by_network().values(), strict=True):
            assert sum(row.latency_ms for row in rows) == pytest.approx(timing.latency_ms, rel=1e-3)
        told = estimate(network, IMAGE, device=device, precision=precision)
        assert told.latency_ms == pytest.approx(part.timings[0].latency_ms, rel=0.2)
        assert told.latency_low < told.latency_ms < told.latency_high


def test_a_calibrated_device_refuses_what_was_not_calibrated() -> None:
    device = calibrate(chain(16), IMAGE, seconds=0.5)
    with pytest.raises(InputError):
        estimate(chain(16), IMAGE, device=device, precision="int8")
    with pytest.raises(InputError, match="calibration"):
        estimate(chain(16), IMAGE, device=device.model_copy(update={"measurements": None, "calibration": "gone.csv"}))


@pytest.mark.parametrize(
    "options", [{"threads": 0}, {"seconds": 0}, {"seconds": float("nan")}, {"model": chain(8)}, {"precisions": ()}]
)
def test_bad_input(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        calibrate(**options)  # type: ignore[arg-type]


def test_an_unknown_runtime() -> None:
    with pytest.raises(UnknownNameError):
        calibrate(runtime="tflite")


def test_the_same_seed_gives_the_same_networks() -> None:
    first, second = (random_networks(torch.Generator().manual_seed(7), multiple=8) for _ in range(2))
    for (a, x), (b, y), _ in zip(first, second, range(5), strict=False):
        assert x.shape == y.shape
        assert [p.shape for p in a.parameters()] == [p.shape for p in b.parameters()]
