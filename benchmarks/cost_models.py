"""How well latencies are told here: networks held out from a calibration, predicted and then measured twice.

    python benchmarks/cost_models.py [--seconds 60] [--held-out 100] [--only resnet8 ...] [--threads 1]
                                     [--precision fp32] [--json FILE]

For each network the learned cost model is calibrated in situ, on pruned variants of it, then asked about variants that
it has not seen. Beside it stand what measuring the same network again allows, and what MACs, a roofline fitted to the
same calibration, and a forest on the raw shapes of kernels measured on their own tell. The last rows are of a family of
networks that a calibration for networks in general never saw. Times are of this machine in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cost_networks import NETWORKS
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestRegressor
from torch import nn

from espalier.evaluators.counting import ELEMENT_BYTES
from espalier.evaluators.hardware.calibrate import calibrate
from espalier.evaluators.hardware.calibrated import CalibratedDevice
from espalier.evaluators.hardware.calibration_bench import Bench
from espalier.evaluators.hardware.calibration_networks import FAMILIES, diverse_networks
from espalier.evaluators.hardware.calibration_table import CalibrationRow
from espalier.evaluators.hardware.calibration_variants import Variant, VariantSource
from espalier.evaluators.hardware.features import NUMBERS, numbers_of
from espalier.evaluators.hardware.kernel_regressor import totals
from espalier.evaluators.hardware.learned import LearnedModel
from espalier.evaluators.hardware.operations import COMPUTE, CONVOLUTIONS

Row = dict[str, Any]
Rows = list[tuple[CalibrationRow, ...]]


def study(name: str, options: argparse.Namespace) -> list[Row]:
    """Return a row per way to tell the latencies of one network's variants."""
    model, example_input = NETWORKS[name]()
    source = VariantSource.of(model, example_input)
    started = time.process_time()
    device = calibrate(
        model,
        example_input,
        graph=source.graph,
        seconds=options.seconds,
        threads=options.threads,
        precisions=(options.precision,),
        target=None,
    )
    spent = time.process_time() - started
    drawn = source.policies(torch.Generator().manual_seed(options.seed))
    seen = {p for p, _ in islice(source.policies(torch.Generator().manual_seed(0)), 1000)}
    variants = (source.variant(policy, origin) for policy, origin in drawn if policy not in seen)
    return _compare(name, device, variants, spent, options)


def family(name: str, options: argparse.Namespace) -> list[Row]:
    """Return the same for a family of networks, calibrated on the other families."""
    others = [f for f in FAMILIES if f != name]
    started = time.process_time()
    device = calibrate(
        seconds=options.seconds,
        threads=options.threads,
        families=others,
        precisions=(options.precision,),
        target=None,
    )
    spent = time.process_time() - started
    variants = diverse_networks(torch.Generator().manual_seed(options.seed), (name,))
    return _compare(f"family {name}", device, variants, spent, options)


def _compare(
    name: str, device: CalibratedDevice, variants: Iterator[Variant], spent: float, options: argparse.Namespace
) -> list[Row]:
    rows, measured, again = _held_out(variants, options)
    calibration = device.measurements
    fitted = list(calibration.by_network().values())
    truth = np.array([t.latency_ms for t in calibration.timings])
    precision = options.precision
    model = LearnedModel(device)
    learned = totals(model.regressor(precision), rows)
    width = model.error(precision)
    told = {
        "measured again": again,
        "learned": learned,
        "roofline": _roofline_alone(model, rows, precision),
        "MACs": _macs(rows) * float(np.median(truth / np.maximum(_macs(fitted), 1))),
        "raw features, isolated kernels": _isolated(fitted, rows, options),
    }
    shared = {
        "network": name,
        "fitted": len(fitted),
        "held_out": len(measured),
        "processor_seconds": round(spent, 1),
        "interval_90": width,
        "in_interval": round(float(np.mean(np.abs(again - learned) <= width * learned)), 3),
        "load": round(os.getloadavg()[0], 1),
    }
    return [{**shared, "model": way, **_score(predicted, measured)} for way, predicted in told.items()]


def _held_out(variants: Iterator[Variant], options: argparse.Namespace) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Return kernels, latencies and latencies measured again of variants measured while the machine was steady."""
    bench = Bench("onnxruntime", options.threads)
    rows: Rows = []
    first, second = [], []
    found = []
    for number, variant in enumerate(islice(variants, options.held_out)):
        measured = bench.measure(
            variant.network, variant.example_input, number=number, precision=options.precision, origin=variant.origin
        )
        if not bench.drifted(measured.sentinel_ms):
            rows.append(measured.rows)
            first.append(measured.timing.latency_ms)
            found.append(variant)
    for variant in found:
        second.append(bench.again(variant.network, variant.example_input, precision=options.precision))
    return rows, np.array(first), np.array(second)


def _score(predicted: np.ndarray, measured: np.ndarray) -> Row:
    errors = np.abs(predicted / measured - 1)
    return {
        "within_10": round(float(np.mean(errors <= 0.1)), 3),
        "within_5": round(float(np.mean(errors <= 0.05)), 3),
        "median_error": round(float(np.median(errors)), 4),
        "spearman": round(float(np.corrcoef(rankdata(predicted), rankdata(measured))[0, 1]), 4),
    }


def _macs(networks: Rows) -> np.ndarray:
    return np.array([sum(row.macs for row in rows) for rows in networks], dtype=float)


def _roofline_alone(model: LearnedModel, rows: Rows, precision: str) -> np.ndarray:
    return model.regressor(precision).roofline_totals(rows)


def _isolated(fitted: Rows, rows: Rows, options: argparse.Namespace) -> np.ndarray:
    """Return what a forest on raw shapes tells, fitted to kernels that were measured on their own."""
    kernels = [r for network in fitted for r in network if r.kind in COMPUTE and _alone(r) is not None]
    chosen = torch.randperm(len(kernels), generator=torch.Generator().manual_seed(0))[: options.isolated].tolist()
    bench = Bench("onnxruntime", options.threads)
    inputs, times = [], []
    for index in chosen:
        alone = _alone(kernels[index])
        if alone is not None:
            inputs.append(_raw(kernels[index]))
            times.append(bench.again(*alone, precision=options.precision))
    if not times:
        return np.full(len(rows), np.nan)
    forest = RandomForestRegressor(100, random_state=0).fit(inputs, times)
    return np.array([forest.predict([_raw(r) for r in network if r.kind in COMPUTE]).sum() for network in rows])


def _raw(row: CalibrationRow) -> list[float]:
    return [float(COMPUTE.index(row.kind)), *(v for v, n in zip(numbers_of(row), NUMBERS, strict=True) if n != "reads")]


def _alone(row: CalibrationRow) -> tuple[nn.Module, torch.Tensor] | None:
    """Return a network of one kernel of the same shape."""
    if row.kind in CONVOLUTIONS and len(row.kernel_size) == 2 and row.kind != "transposed_conv":
        (kernel_h, kernel_w), (stride_h, stride_w) = row.kernel_size, row.stride
        height, width = row.output_shape[-2] * stride_h, row.output_shape[-1] * stride_w
        layer = nn.Conv2d(
            row.in_channels,
            row.out_channels,
            (kernel_h, kernel_w),
            (stride_h, stride_w),
            (kernel_h // 2, kernel_w // 2),
            groups=row.groups,
        )
        return nn.Sequential(layer, nn.ReLU()).eval(), torch.zeros(1, row.in_channels, height, width)
    if row.kind == "linear":
        rows = int(np.prod(row.output_shape[:-1]))
        return nn.Linear(row.in_channels, row.out_channels).eval(), torch.zeros(rows, row.in_channels)
    return None


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of each calibration")
    parser.add_argument("--held-out", type=int, default=100, help="networks to predict and measure")
    parser.add_argument("--isolated", type=int, default=80, help="kernels measured on their own")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=sorted(ELEMENT_BYTES))
    parser.add_argument("--seed", type=int, default=1, help="of what is held out")
    parser.add_argument("--only", nargs="+", choices=[*NETWORKS, *FAMILIES], default=[*NETWORKS, "residual"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[Row] = []
    told = {"seconds": options.seconds, "threads": options.threads, "precision": options.precision}
    columns = ("network", "model", "fitted", "held_out", "within_10", "within_5", "median_error", "spearman")
    print("  ".join(f"{c:>12}" for c in columns))
    for name in options.only:
        found = family(name, options) if name in FAMILIES else study(name, options)
        rows += found
        for row in found:
            print("  ".join(f"{row[c]!s:>12}" for c in columns), flush=True)
        print(f"  {found[0]['in_interval']:.0%} of fresh measurements in the interval of {found[0]['interval_90']:.1%}")
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            content = {"version": 1, **told, "rows": rows}
            options.json.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
