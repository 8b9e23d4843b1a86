"""Fit the speeds of the shipped devices to published measurements, and write their YAML files.

    python benchmarks/fit_devices.py [--data FOLDER] [--device NAME] [--out FOLDER] [--check] [--json FILE]

The data folder holds ``nasbench201_latency.csv`` and ``mlperf_tiny_v1.1_results.csv``; it is found through ``--data``,
the environment variable ``ESPALIER_DATA``, or as ``../shared/data`` beside the repository. ``--check`` writes nothing
and exits with 1 where a fit differs from the shipped file by more than 2 %.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from pathlib import Path
from statistics import mean

import nasbench201
import numpy as np
import torch
from mlperf_tiny_networks import NETWORKS

from espalier.evaluators.hardware.device import FOLDER, Device, FitError, Limits, Quantity, Speeds, Tile, load_device
from espalier.evaluators.hardware.fitting import FitSample, Prior, fit_error, fit_speeds, predict_ms
from espalier.evaluators.hardware.kernels import record_kernels

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python benchmarks/fit_devices.py"
NASBENCH = (
    "NAS-Bench-201 latencies on a Raspberry Pi 4 published with HELP (Lee et al., NeurIPS 2021, "
    "github.com/HayeonLee/HELP, MIT)"
)
MLPERF = (
    "MLPerf Tiny v1.1, closed division, STMicroelectronics NUCLEO_L4R5ZI, X-CUBE-AI v8.1.0, int8 "
    "(github.com/mlcommons/tiny_results_v1.1, Apache-2.0)"
)


def data_folder(given: Path | None) -> Path:
    """Return the folder of the measurements."""
    return given or Path(os.environ.get("ESPALIER_DATA") or ROOT.parent / "shared" / "data")


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return a CSV file's rows."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def fit_raspberry_pi_4(data: Path) -> Device:
    """Fit half of the NAS-Bench-201 rows, hold out the other half."""
    samples = []
    for row in read_rows(data / "nasbench201_latency.csv"):
        network = nasbench201.build(row["architecture"])
        if network is not None:
            graph = record_kernels(network, torch.zeros(1, 3, 32, 32), fuse_additions=False)
            samples.append(FitSample(graph.kernels, float(row["raspi4_ms"])))
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).tolist()
    half = len(samples) // 2
    fitted, held_out = [samples[i] for i in order[:half]], [samples[i] for i in order[half:]]
    prior = Prior(
        peak_macs_per_s=6e9,
        bandwidth_bytes_per_s=4e9,
        overhead_us=5,
        efficiency=0.4,
        peak_source="nominal: one Cortex-A72 core at 1.5 GHz, four fp32 multiply-accumulates per cycle (128-bit NEON)",
        tile=Tile(input=1, output=1, source="the measured networks have 16, 32 and 64 channels, which tell no tiles"),
        weight=0.3,
    )
    speeds = fit_speeds(fitted, prior, source=f"fitted to {half} of: {NASBENCH}", element_bytes=4)
    error = _held_out_error(held_out, speeds, half)
    return Device(
        name="raspberry-pi-4",
        description=(
            "Raspberry Pi 4 (Cortex-A72, 1.5 GHz). The measurements state neither runtime nor threads; their speed, at "
            "most 2.2 GMAC/s, is that of one thread."
        ),
        runtime="unstated",
        runtime_version="unstated",
        threads=1,
        precisions=("fp32",),
        fuses_additions=False,
        channel_multiple={"fp32": 4},
        channel_multiple_source="four fp32 lanes of 128-bit NEON; not measured",
        limits=Limits(ram_bytes=Quantity(value=4e9, source="the board's 4 GB model (raspberrypi.com)")),
        speeds={"fp32": speeds},
        fit={"fp32": error},
    )


def _held_out_error(held_out: list[FitSample], speeds: Speeds, fitted: int) -> FitError:
    return fit_error(
        predict_ms(held_out, speeds, element_bytes=4),
        np.array([s.latency_ms for s in held_out]),
        fitted=fitted,
        method="held-out",
        source=NASBENCH,
        command=f"{COMMAND} --device raspberry-pi-4",
    )


def fit_cortex_m4(data: Path) -> Device:
    """Fit all four networks; the error is that of each, fitted to the other three."""
    rows = {
        row["benchmark"]: row
        for row in read_rows(data / "mlperf_tiny_v1.1_results.csv")
        if row["submitter"] == "STMicroelectronics" and row["system"] == "NUCLEO_L4R5ZI"
    }
    samples = [_tiny_sample(name, float(rows[name]["latency_ms"])) for name in NETWORKS]
    prior = Prior(
        peak_macs_per_s=240e6,
        bandwidth_bytes_per_s=120e6,
        overhead_us=20,
        efficiency=0.25,
        peak_source="nominal: 120 MHz, two 16-bit multiply-accumulates a cycle (SMLAD, Cortex-M4 reference manual)",
        tile=Tile(
            input=4,
            output=1,
            source="one 32-bit load holds four int8 inputs; of 1, 2 and 4 the best on the same four networks",
        ),
        weight=0.5,
    )
    speeds = fit_speeds(samples, prior, source=f"fitted, pulled to nominal values: {MLPERF}", element_bytes=1)
    watts = [float(r["energy_uj"]) / float(r["energy_run_latency_ms"]) * 1e-3 for r in rows.values()]
    return Device(
        name="cortex-m4",
        description=(
            "NUCLEO-L4R5ZI: Cortex-M4 at 120 MHz, 2 MB flash, 640 KB RAM. It runs int8: costs are of the network "
            "deployed as int8; accuracy is of the precision asked for."
        ),
        runtime="X-CUBE-AI",
        runtime_version="8.1.0",
        threads=1,
        precisions=("int8",),
        deployed_as={"fp32": "int8"},
        fuses_additions=False,
        channel_multiple={"int8": 4, "fp32": 4},
        channel_multiple_source="one 32-bit load holds four int8 values; not measured",
        limits=_board_limits(),
        speeds={"int8": speeds},
        power_w=Quantity(
            value=float(f"{mean(watts):.4g}"), source=f"mean of energy / latency over ad, ic, kws, vww: {MLPERF}"
        ),
        fit={"int8": _leave_one_out(samples, prior)},
    )


def _tiny_sample(name: str, latency_ms: float) -> FitSample:
    build, shape = NETWORKS[name]
    graph = record_kernels(build().eval(), torch.zeros(shape), fuse_additions=False)
    return FitSample(graph.kernels, latency_ms)


def _board_limits() -> Limits:
    source = "STM32L4R5ZI data sheet: 2 Mbytes of flash, 640 Kbytes of SRAM; runtime and stack are not subtracted"
    return Limits(
        flash_bytes=Quantity(value=2 * 2**20, source=source), ram_bytes=Quantity(value=640 * 2**10, source=source)
    )


def _leave_one_out(samples: list[FitSample], prior: Prior) -> FitError:
    predicted = []
    for sample in samples:
        speeds = fit_speeds([s for s in samples if s is not sample], prior, source=MLPERF, element_bytes=1)
        predicted.append(predict_ms([sample], speeds, element_bytes=1)[0])
    return fit_error(
        np.array(predicted),
        np.array([s.latency_ms for s in samples]),
        fitted=len(samples) - 1,
        method="leave-one-out",
        source=MLPERF,
        command=f"{COMMAND} --device cortex-m4",
    )


FITS = {"raspberry-pi-4": fit_raspberry_pi_4, "cortex-m4": fit_cortex_m4}


def differences(fitted: Device, shipped: Device, tolerance: float = 0.02) -> list[str]:
    """Return what differs by more than ``tolerance`` between two devices' speeds and errors."""
    found: list[str] = []
    for precision, speeds in fitted.speeds.items():
        new, old = _numbers(speeds, fitted.fit[precision]), _numbers(shipped.speeds[precision], shipped.fit[precision])
        for name in sorted(new.keys() | old.keys()):
            a, b = new.get(name, float("nan")), old.get(name, float("nan"))
            if not abs(a - b) <= tolerance * max(abs(a), abs(b)):
                found.append(f"{fitted.name} {precision} {name}: fitted {a}, shipped {b}")
    return found


def _numbers(speeds: Speeds, fit: FitError) -> dict[str, float]:
    return {
        "bandwidth": speeds.bandwidth_bytes_per_s.value,
        "overhead": speeds.overhead_us.value,
        **{f"efficiency of {kind}": value for kind, value in speeds.efficiency.values.items()},
        "median relative error": fit.median_relative_error,
        "within 10 %": fit.share_within_10_percent,
        "Spearman": fit.spearman or 0.0,
        "interval": fit.interval_90,
    }


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", choices=sorted(FITS), action="append")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = data_folder(options.data)
    devices = [FITS[name](data) for name in options.device or sorted(FITS)]
    faults: list[str] = []
    for device in devices:
        _print(device)
        if options.check:
            faults += differences(device, load_device(device.name))
        else:
            (options.out / f"{device.name}.yaml").write_text(device.to_yaml(), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps([d.model_dump(mode="json") for d in devices], indent=2), encoding="utf-8")
    print("\n".join(faults))
    return 1 if faults else 0


def _print(device: Device) -> None:
    for precision, fit in device.fit.items():
        within, median = fit.share_within_10_percent, fit.median_relative_error
        print(f"{device.name:16} {precision}  {fit.method} {fit.held_out}: within 10 % {within:.1%}, ", end="")
        print(f"median error {median:.1%}, Spearman {fit.spearman or 0:.3f}, interval {fit.interval_90:.1%}")


if __name__ == "__main__":
    sys.exit(main())
