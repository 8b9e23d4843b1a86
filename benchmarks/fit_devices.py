"""Fit the speeds of the shipped devices to published measurements, and write their YAML files.

    python benchmarks/fit_devices.py [--data FOLDER] [--device NAME] [--out FOLDER] [--check] [--json FILE]

The data folder holds ``nasbench201_latency.csv`` and ``mlperf_tiny_v1.1_results.csv``; it is found through ``--data``,
the environment variable ``ESPALIER_DATA``, or as ``../shared/data`` beside the repository. ``--check`` writes nothing
and exits with 1 where a fit differs from the shipped file by more than 2 %.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from fit_mlperf_tiny import BOARDS, fit_board
from fit_nasbench201 import DEVICES, fit
from nominal_devices import NOMINAL

from espalier.evaluators.hardware.device import FOLDER, Device, load_device
from espalier.evaluators.hardware.speeds import FitError, Speeds

ROOT = Path(__file__).resolve().parent.parent


def data_folder(given: Path | None) -> Path:
    """Return the folder of the measurements."""
    return given or Path(os.environ.get("ESPALIER_DATA") or ROOT.parent / "shared" / "data")


def _fitted(name: str, data: Path) -> Device:
    return fit(name, data).device


FITS: dict[str, Callable[[Path], Device]] = {
    **{name: partial(fit_board, name) for name in BOARDS},
    **{name: partial(_fitted, name) for name in DEVICES},
    **NOMINAL,
}


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
    own, weights = speeds.overheads_us, speeds.weight_bytes_per_s
    return {
        "bandwidth": speeds.bandwidth_bytes_per_s.value,
        "overhead": speeds.overhead_us.value,
        **{f"overhead of {k}": v for k, v in ({} if own is None else own.values).items()},
        "bandwidth of weights": 0.0 if weights is None else weights.value,
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
    for precision, error in device.fit.items():
        within, median = error.share_within_10_percent, error.median_relative_error
        print(f"{device.name:16} {precision}  {error.method} {error.held_out}: within 10 % {within:.1%}, ", end="")
        print(f"median error {median:.1%}, Spearman {error.spearman or 0:.3f}, interval {error.interval_90:.1%}")


if __name__ == "__main__":
    sys.exit(main())
