"""Arm's compiler for Ethos-U: what it says of a network, read back from the tables that it writes.

Vela (PyPI: ethos-u-vela) reads an int8 TensorFlow Lite file. Its cycles are estimates of the compiler: Arm asks to take
performance from its simulators or from hardware.
"""

from __future__ import annotations

import csv
import importlib.util
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import EvaluationError, MissingExtraError, describe
from .device import VelaOptions

MODULE = "ethosu.vela"
CONFIGURATIONS = "Arm/vela.ini"
"""The file of systems and memory modes that comes with the compiler."""
TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class VelaLayer:
    """One operator as the compiler runs it."""

    name: str
    """Of its output in the TensorFlow Lite file."""
    operator: str
    """Of the file; one operator may take several rows."""
    cycles: float
    macs: int


@dataclass(frozen=True)
class VelaReport:
    """What the compiler says of a network."""

    latency_ms: float
    cycles: float
    sram_bytes: int
    """Largest use by activations and the compiler's own buffers."""
    flash_bytes: int
    """Encoded weights and the command stream."""
    layers: tuple[VelaLayer, ...]


def is_installed() -> bool:
    """Return whether the compiler is there."""
    try:
        return importlib.util.find_spec(MODULE) is not None
    except ModuleNotFoundError:
        return False


def vela_version() -> str:
    """Return the compiler's version.

    Raises:
        MissingExtraError: it is not installed.
    """
    require_vela()
    from importlib.metadata import version

    return version("ethos-u-vela")


def require_vela() -> None:
    """Check that the compiler is there.

    Raises:
        MissingExtraError: it is not.
    """
    if not is_installed():
        raise MissingExtraError(
            describe(
                "Arm's compiler Vela is not installed",
                expected=f"the module {MODULE}",
                remedy="Install it: pip install 'espalier[ethos-u]'.",
            )
        )


def compile_network(tflite: bytes, options: VelaOptions) -> VelaReport:
    """Return what the compiler says of an int8 TensorFlow Lite file; 0.3 s for a ResNet-8 on an idle core.

    Raises:
        MissingExtraError: the compiler is not installed.
        EvaluationError: it refuses the network, or leaves an operator to the processor.
    """
    require_vela()
    with tempfile.TemporaryDirectory(prefix="espalier-vela-") as folder:
        path = Path(folder) / "network.tflite"
        path.write_bytes(tflite)
        # In a process of its own: the compiler writes to standard output, and a crash of it must cost a candidate only.
        command = [sys.executable, "-m", MODULE, str(path), "--output-dir", folder, "--config", CONFIGURATIONS]
        command += ["--accelerator-config", options.accelerator, "--system-config", options.system_config]
        command += ["--memory-mode", options.memory_mode, "--verbose-performance"]
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter, arguments from a checked device file
                command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise _refused(f"takes more than {TIMEOUT_SECONDS} s") from error
        layers = Path(folder) / "network_per-layer.csv"
        summaries = sorted(Path(folder).glob("network_summary_*.csv"))
        if done.returncode or not summaries or not layers.is_file():
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise _refused(" ".join(lines[-4:])[:500] or f"ends with {done.returncode}")
        return _report(_rows(summaries[0])[0], _rows(layers), done.stdout)


def _report(summary: dict[str, str], layers: list[dict[str, str]], output: str) -> VelaReport:
    unmapped = [row for row in layers if row["Target"].strip() != "NPU"]
    if unmapped:
        names = ", ".join(f"{row['Original Operator'].strip()} ({row['Name'].strip()})" for row in unmapped[:4])
        reasons = " ".join(line.strip() for line in output.splitlines() if line.startswith(("Reason", "Warning")))
        raise _refused(f"leaves {len(unmapped)} operators to the processor: {names}. {reasons}"[:500])
    clock = float(summary["core_clock"])
    cycles = float(summary["cycles_total"])
    flash = sum(float(summary[f"{place}_memory_used"]) for place in ("on_chip_flash", "off_chip_flash"))
    dram = float(summary["dram_memory_used"])
    # Systems without flash keep the weights in DRAM.
    weights, activations = (flash, dram) if flash else (dram, 0.0)
    found = (
        VelaLayer(r["Name"].strip(), r["Original Operator"].strip(), float(r["Op Cycles"]), int(float(r["MAC Count"])))
        for r in layers
    )
    return VelaReport(
        latency_ms=1e3 * cycles / clock,
        cycles=cycles,
        sram_bytes=round(1024 * (float(summary["sram_memory_used"]) + activations)),
        flash_bytes=round(1024 * weights),
        layers=tuple(found),
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _refused(what: str) -> EvaluationError:
    return EvaluationError(
        describe(
            f"Vela {what}",
            expected="an int8 network that it maps to the Ethos-U as a whole",
            remedy="Replace the operator named, or choose another device.",
        )
    )
