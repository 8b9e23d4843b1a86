"""Fit the rooflines that stand in for Arm's compiler Vela during a search, and write the Ethos-U devices' YAML files.

    python benchmarks/fit_vela.py [--networks N] [--out FOLDER] [--check] [--json FILE]

Needs the extra ``ethos-u``. Each device is fitted to what Vela tells of randomly pruned variants of the four networks
of MLPerf Tiny, whole networks and their operators; a third of the variants tells the error. ``--check`` writes nothing
and exits with 1 where what the fit comes to differs from the shipped file by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mlperf_tiny_networks import NETWORKS
from scipy.optimize import least_squares
from torch import nn

from espalier.evaluators.hardware.device import FOLDER, Device, VelaOptions, load_device
from espalier.evaluators.hardware.fitting import fit_error
from espalier.evaluators.hardware.kernels import Kernel, record_kernels
from espalier.evaluators.hardware.roofline import kernel_seconds, tiled_macs
from espalier.evaluators.hardware.speeds import Efficiencies, Overheads, Quantity, Speeds, Tile
from espalier.evaluators.hardware.vela import vela_version
from espalier.evaluators.hardware.vela_model import VelaModel
from espalier.spaces.apply import prune
from espalier.spaces.graph.trace import trace
from espalier.spaces.policy import Policy
from espalier.testing.runtimes import with_zeros

COMMAND = "python benchmarks/fit_vela.py"
TILES = ((1, 8), (8, 8), (4, 8), (16, 8), (8, 16), (16, 16))
STEPS = (1, 8, 16)
"""Widths of variants are multiples of each in turn."""


@dataclass(frozen=True)
class Target:
    """A device that Vela compiles for."""

    name: str
    title: str
    macs: int
    """Per cycle."""
    hertz: float
    options: VelaOptions
    fuses_additions: bool


TARGETS = (
    Target(
        "ethos-u55-128",
        "Ethos-U55",
        128,
        500e6,
        VelaOptions(
            accelerator="ethos-u55-128", system_config="Ethos_U55_High_End_Embedded", memory_mode="Shared_Sram"
        ),
        fuses_additions=False,
    ),
    Target(
        "ethos-u85-256",
        "Ethos-U85",
        256,
        500e6,
        VelaOptions(accelerator="ethos-u85-256", system_config="Ethos_U85_SYS_Flash_High", memory_mode="Shared_Sram"),
        fuses_additions=True,
    ),
)


@dataclass(frozen=True)
class Sample:
    """What Vela says of one network: the whole, and each operator that is a kernel of ours."""

    kernels: tuple[Kernel, ...]
    latency_ms: float
    parts: tuple[tuple[Kernel, float], ...]


def variants(count: int) -> Iterator[tuple[nn.Module, torch.Tensor]]:
    """Yield randomly pruned variants, each network in turn, the unpruned ones first."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    networks = [(build(), torch.zeros(shape)) for build, shape in NETWORKS.values()]
    graphs = [trace(model.eval(), x) for model, x in networks]
    for number in range(count):
        (model, x), graph = networks[number % len(networks)], graphs[number % len(networks)]
        turn = number // len(networks)
        step = STEPS[turn % len(STEPS)]
        widths = {g.name: g.widths(step) if turn else (g.channels,) for g in graph.groups}
        kept = {name: w[int(torch.randint(len(w), (), generator=generator))] for name, w in widths.items()}
        yield prune(model, graph, Policy.from_kept(graph, kept)), x


def samples(target: Target, networks: Sequence[tuple[nn.Module, torch.Tensor]]) -> list[Sample]:
    """Compile each network."""
    model = VelaModel(_compiled_for(target))
    found = []
    for number, (network, x) in enumerate(networks):
        latency, matched = model.matched(network, x)
        kernels = record_kernels(network, x, fuse_additions=target.fuses_additions).kernels
        parts = tuple((m.kernel, m.node.latency_ms) for m in matched if m.kernel is not None and m.node.latency_ms > 0)
        found.append(Sample(kernels, latency, parts))
        print(f"\r{target.name}: {number + 1}/{len(networks)}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return found


def _compiled_for(target: Target) -> Device:
    changes = {"vela": target.options, "cost_model": "vela", "fuses_additions": target.fuses_additions}
    return load_device(target.name).model_copy(update=changes)


def fitted(found: Sequence[Sample], target: Target, tile: tuple[int, int], source: str) -> Speeds:
    """Return the speeds that bring the roofline closest to whole networks and to their operators, in log error."""
    kinds = tuple(dict.fromkeys(("conv", "elementwise", *sorted({k.kind for s in found for k in s.kernels}))))
    rows = [(i, k) for i, s in enumerate(found) for k in s.kernels]
    rows += [(len(found) + j, k) for j, (k, _) in enumerate(p for s in found for p in s.parts)]
    owner = np.array([i for i, _ in rows])
    measured = np.array([s.latency_ms for s in found] + [ms for s in found for _, ms in s.parts]) * 1e-3
    parts = [(ms / s.latency_ms) for s in found for _, ms in s.parts]
    weight = np.array([1.0] * len(found) + [math.sqrt(share / 2) for share in parts])
    shape = Tile(input=tile[0], output=tile[1], source="the best of those tried on the networks fitted")
    kind = np.array([kinds.index(k.kind) for _, k in rows])
    macs = np.array([tiled_macs(k.work, shape) for _, k in rows], dtype=float)
    moved = np.array([k.bytes_moved(1) for _, k in rows], dtype=float)
    weights = np.array([k.weight_elements for _, k in rows], dtype=float)
    peak = target.macs * target.hertz
    count = len(kinds)

    def predict(x: np.ndarray) -> np.ndarray:
        efficiency, overhead = np.exp(x[2 : 2 + count])[kind], np.exp(x[2 + count :])[kind]
        moving = moved / np.exp(x[0])
        busy = np.where(macs > 0, np.maximum(macs / (peak * efficiency), moving), moving / efficiency)
        return np.bincount(owner, weights=busy + overhead + weights / np.exp(x[1]))

    start = np.log(np.array([4e9, 1e9, *(1.0 if k == "elementwise" else 0.5 for k in kinds), *(5e-7 for _ in kinds)]))

    def residuals(x: np.ndarray) -> np.ndarray:
        return np.concatenate([weight * np.log(predict(x) / measured), 0.02 * (x - start)])

    lower, upper = start - math.log(1000), start + math.log(1000)
    upper[2 : 2 + count] = math.log(4.0)
    fixed = 2 + kinds.index("elementwise")  # it defines the bandwidth
    lower[fixed], upper[fixed] = -1e-6, 1e-6
    best = least_squares(residuals, start, bounds=(lower, upper), loss="soft_l1", f_scale=0.1, max_nfev=300)
    values = [_rounded(v) for v in np.exp(best.x)]
    nominal = f"nominal: {target.macs} int8 multiply-accumulates a cycle, at {target.hertz / 1e6:.0f} MHz (Arm)"
    return Speeds(
        peak_macs_per_s=Quantity(value=peak, source=nominal),
        bandwidth_bytes_per_s=Quantity(value=values[0], source=source),
        weight_bytes_per_s=Quantity(value=values[1], source=source),
        overhead_us=Quantity(value=_rounded(1e6 * float(np.median(values[2 + count :]))), source=source),
        overheads_us=Overheads(
            values={k: _rounded(1e6 * v) for k, v in zip(kinds, values[2 + count :], strict=True)}, source=source
        ),
        tile=shape,
        efficiency=Efficiencies(values=dict(zip(kinds, values[2 : 2 + count], strict=True)), source=source),
    )


def predicted(found: Sequence[Sample], speeds: Speeds) -> np.ndarray:
    """Return the roofline's latency in ms of each whole network."""
    return np.array([1e3 * sum(kernel_seconds(k, speeds, element_bytes=1) for k in s.kernels) for s in found])


def gain_of_zeros(device: Device) -> str:
    """Return what Vela says of zeros where weights bound a network, and where they do not."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(640, 256), nn.ReLU(), nn.Linear(256, 640)).eval()
    image, _ = NETWORKS["ic"]
    words = []
    for title, network, x in (
        ("two linear layers of 640 x 256", layers, torch.rand(1, 640)),
        ("a ResNet-8", image().eval(), torch.rand(1, 3, 32, 32)),
    ):
        networks = [network, with_zeros(network, "weight"), with_zeros(network, "2:4")]
        told = [VelaModel(device).estimate(n, x).latency_ms for n in networks]
        words.append(
            f"{title} take {told[1] / told[0]:.2f} of the time with 95 % zeros, {told[2] / told[0]:.2f} with 2:4"
        )
    return f"Vela {vela_version()}, whose encoding of weights stores no zeros: " + "; ".join(words)


def device_of(target: Target, found: Sequence[Sample]) -> Device:
    """Return the device, fitted to two thirds of the samples, with the error on the other third."""
    held_out = [s for i, s in enumerate(found) if i % 3 == 2]
    used = [s for i, s in enumerate(found) if i % 3 != 2]
    version = vela_version()
    source = f"fitted to what Vela {version} tells of {len(used)} pruned variants of the networks of MLPerf Tiny"
    options = [fitted(used, target, tile, source) for tile in TILES]

    def loss(speeds: Speeds) -> float:
        return float(np.mean(np.abs(np.log(predicted(used, speeds) / np.array([s.latency_ms for s in used])))))

    speeds = min(options, key=loss)
    measured = np.array([s.latency_ms for s in held_out])
    error = fit_error(
        predicted(held_out, speeds),
        measured,
        fitted=len(used),
        method="held-out",
        source=f"Vela {version}: pruned variants of the networks of MLPerf Tiny",
        command=f"{COMMAND} --networks {len(found)}",
    )
    before = load_device(target.name)
    system = f"{target.options.system_config}, {target.options.memory_mode}"
    return Device.model_validate(
        before.model_dump()
        | {
            "description": (
                f"Arm {target.title} with {target.macs} MACs a cycle at {target.hertz / 1e6:.0f} MHz, int8, in the "
                f"system that Vela calls {system}. Latency, SRAM and flash are the compiler's estimates, not "
                "measurements. Candidates of a search are told by a roofline fitted to them; the front is compiled. "
                "Memories are the system's to choose: no limits are set."
            ),
            "runtime": "Vela",
            "runtime_version": version,
            "fuses_additions": target.fuses_additions,
            "sparse_kernels": {"int8": ("weight", "2:4")},
            "sparse_kernels_source": gain_of_zeros(_compiled_for(target)),
            "cost_model": "vela",
            "vela": target.options.model_dump(),
            "speeds": {"int8": speeds.model_dump()},
            "fit": {"int8": error.model_dump()},
        }
    )


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=60)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = list(variants(options.networks))
    devices = [device_of(target, samples(target, networks)) for target in TARGETS]
    faults = []
    for device in devices:
        fit, shipped = device.fit["int8"], load_device(device.name).fit.get("int8")
        print(
            f"{device.name:14} held out {fit.held_out}: within 10 % {fit.share_within_10_percent:.1%}, median error "
            f"{fit.median_relative_error:.1%}, Spearman {fit.spearman or 0:.3f}, interval {fit.interval_90:.1%}"
        )
        if not options.check:
            (options.out / f"{device.name}.yaml").write_text(device.to_yaml(), encoding="utf-8")
        elif shipped is None or abs(shipped.median_relative_error - fit.median_relative_error) > 0.05:
            faults.append(f"{device.name}: {fit} is not what is shipped, {shipped}")
    if options.json:
        options.json.write_text(json.dumps([d.model_dump(mode="json") for d in devices], indent=2), encoding="utf-8")
    print("\n".join(faults))
    return 1 if faults else 0


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


if __name__ == "__main__":
    sys.exit(main())
