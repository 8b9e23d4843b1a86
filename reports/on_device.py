"""What a device took for a run's front: the front packed as a kit, its results stored in the run's folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import InputError, RunFolderError, describe
from ..evaluators.configuration import Configuration
from ..evaluators.hardware.device import load_device
from ..evaluators.hardware.remote.kit import Kit, KitMember, pack_members, read_kit
from ..evaluators.hardware.remote.results import Results, Timed, read_results
from ..evaluators.onnx.onnx_export import export_onnx
from ..evaluators.onnx.onnx_network import deploy
from ..evaluators.onnx.onnx_pinning import pinned
from ..evaluators.task.example_inputs import example_inputs
from ..evaluators.task.task import Task
from ..evaluators.training.threads import torch_threads
from ..jsonfile import read_json, write_json
from ..spaces.policy import Choice, Policy
from .export import refuse_other_data, task_of_run
from .load import read_weights, rebuild_from, refuse_other_network

if TYPE_CHECKING:
    from ..search.run_folder import Run

REMOTE = "remote.json"
VERSION = 1


@dataclass(frozen=True)
class Timing:
    """One network as a device timed it."""

    trial: int | None
    """``None`` is the dense network."""
    precision: str
    latency_ms: float
    """Smallest of the blocks' medians."""
    spread: float
    """Largest minus smallest of the blocks' medians, as a fraction of the smallest."""
    steady: bool
    """Whether the device was as fast as usual meanwhile."""


@dataclass(frozen=True)
class DeviceTimings:
    """What one device took for the networks of one kit."""

    device: str
    """The board's name, or else the processor's."""
    machine: Mapping[str, Any]
    """What the agent could read of the device."""
    threads: int
    kit: str
    """The kit's identity."""
    networks: tuple[Timing, ...]
    failures: Mapping[str, str]
    """Files that the runtime refused, with its reason."""


def pack_front(
    run: Run,
    out: Path | str,
    *,
    task: Task | None = None,
    data: Path | str | None = None,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
    trust: bool = False,
) -> Kit:
    """Write a kit that times the dense network and every member of the run's front.

    With ``trust`` the task that the run's folder names is imported, whoever wrote that.

    Raises:
        InputError: ``out`` exists, the front is empty, its weights are not there, the task is not the run's, or the
            run's latencies are not of the precision that its networks have.
    """
    _check_precisions(run)
    found = task or task_of_run(run, data, trust=trust)
    dense = found.model().eval()
    refuse_other_network(dense, run.info.model_fingerprint, where=str(run.path), task=found.name)
    refuse_other_data(run, found)
    whole = Policy(run.info.model_fingerprint, {g.name: Choice.keep_all(g.channels) for g in run.graph_summary.groups})
    members = [KitMember(whole, None, export_onnx(dense, found.example_input))]
    with torch_threads(run.info.options.threads_per_worker):
        for configuration in run.front.configurations:
            members.append(_member(run, configuration, found, dense))
    return pack_members(
        members, found.example_input, out, subject=str(run.info.task_reference), threads=threads, progress=progress
    )


def import_timings(run: Run, results: Path | str, kit: Path | str) -> DeviceTimings:
    """Read what a device took for the run's front, and keep it in the run's folder as ``remote.json``.

    Results of the same kit on the same device with as many threads take the place of earlier ones.

    Raises:
        InputError: the results are not whole or not of this kit, or the kit is not of this run.
    """
    packed = read_kit(kit)
    _check_members(run, packed)
    found = _timings(read_results(results, packed), packed)
    earlier = read_timings(run)
    kept = [t for t in earlier if (t.device, t.threads, t.kit) != (found.device, found.threads, found.kit)]
    write_json(run.path / REMOTE, {"version": VERSION, "devices": [_plain(t) for t in (*kept, found)]})
    return found


def read_timings(run: Run) -> tuple[DeviceTimings, ...]:
    """Return what devices took for the run's front; empty where nothing was imported.

    Raises:
        RunFolderError: the file is torn or of another version.
    """
    path = run.path / REMOTE
    if not path.exists():
        return ()
    try:
        content = read_json(path)
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']!r}")
        return tuple(
            DeviceTimings(**{**entry, "networks": tuple(Timing(**n) for n in entry["networks"])})
            for entry in content["devices"]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            describe(f"{path} has no valid content ({error})", expected="what Espalier wrote", remedy="Import again.")
        ) from error


def _member(run: Run, configuration: Configuration, task: Task, dense: nn.Module) -> KitMember:
    weights = run.weights_path(configuration.trial)
    if weights is None:
        fault = f"{run.path} holds no weights of trial {configuration.trial}"
        remedy = "Resume the search to its end."
        raise InputError(describe(fault, expected="a front with its weights", remedy=remedy))
    rebuilt = rebuild_from(
        dense,
        example_inputs(task),
        configuration.policy,
        rankings=run.rankings,
        freeze=task.freeze,
        weights=read_weights(weights),
        where=str(run.path),
    )
    threads = run.info.options.threads_per_worker
    scheme = load_device(run.info.options.device).quantisation_scheme
    file = deploy(rebuilt.model, task, configuration.policy.precision, threads=threads, scheme=scheme).onnx
    # A kit's inputs are of one size, and called as the fixed export calls them.
    example = task.example_input
    fixed = export_onnx(rebuilt.model, example) if file is None else pinned(file, example)
    return KitMember(configuration.policy, configuration.trial, fixed)


def _check_precisions(run: Run) -> None:
    device = load_device(run.info.options.device)
    for precision in run.info.options.precision:
        deployed = device.deployed_precision(precision)
        if deployed != precision:
            fault = f"the latencies of {run.path} are told at {deployed}, its networks are {precision}"
            remedy = f"Search with --precision {deployed}, so that what is timed is what was told."
            raise InputError(describe(fault, expected="one precision", remedy=remedy))


def _check_members(run: Run, kit: Kit) -> None:
    policies = {c.trial: c.policy for c in run.configurations}
    strangers = [
        n.file
        for n in kit.networks
        if n.origin != "dense" and (n.trial is None or policies.get(n.trial) != Policy.from_dict(n.policy))
    ]
    if strangers or kit.model_fingerprint != run.info.model_fingerprint:
        fault = f"{kit.path} holds {', '.join(strangers[:3]) or 'another network'}, which is none of {run.path}"
        remedy = "Name the run that the kit was packed from."
        raise InputError(describe(fault, expected="the networks of the run's front", remedy=remedy))


def _timings(results: Results, kit: Kit) -> DeviceTimings:
    steady = {t.network.file for t in results.steady}
    networks = tuple(_timing(t, steady=t.network.file in steady) for t in results.timed)
    return DeviceTimings(
        results.device_name, results.machine, results.threads, kit.identity, networks, results.failures
    )


def _timing(timed: Timed, *, steady: bool) -> Timing:
    network = timed.network
    return Timing(network.trial, network.precision, timed.latency_ms, timed.spread, steady)


def _plain(timings: DeviceTimings) -> dict[str, Any]:
    plain = dict(vars(timings)) | {"machine": dict(timings.machine), "failures": dict(timings.failures)}
    return plain | {"networks": [asdict(network) for network in timings.networks]}
