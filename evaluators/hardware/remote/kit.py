"""A kit: networks to be timed on a device, the agent that times them, and a manifest with every file's hash."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ....errors import InputError, describe
from ....spaces.graph.trace import trace
from ....spaces.policy import Policy
from ...counting import ELEMENT_BYTES
from ...onnx.onnx_export import export_onnx, onnx_feed
from ...onnx.quantisation import quantise_for_timing
from ...task.own_elements import stand_in
from ...task.task import Inputs
from ..calibration_variants import VariantSource
from . import agent
from .kit_files import read_kit_file, sha256, writing_kit
from .readme import kit_readme

KIND = "espalier-kit"
AGENT = "agent.py"
README = "README.md"
NETWORKS = 31
"""The dense network and thirty variants: thirty put 92 % of held-out networks within 10 % on an x86 machine."""


@dataclass(frozen=True)
class KitNetwork:
    """One network of a kit."""

    file: str
    precision: str
    origin: str
    """``dense``, ``step 8``, or ``front`` for a member of a run's front."""
    policy: Mapping[str, Any]
    """As ``policies/N.json`` stores it."""
    trial: int | None = None
    """Of a run's front; ``None`` in other kits, and for the dense network."""


@dataclass(frozen=True)
class KitMember:
    """A network that is finished and shall be timed: a member of a run's front."""

    policy: Policy
    trial: int | None
    onnx: bytes


@dataclass(frozen=True)
class Kit:
    """What a kit's manifest says."""

    path: Path
    identity: str
    """SHA-256 of the manifest, which holds the hash of every file that is run."""
    subject: str
    """The task's reference, or what else the networks are variants of."""
    model_fingerprint: str
    threads: int
    networks: tuple[KitNetwork, ...]
    files: Mapping[str, Mapping[str, Any]]
    """By name: ``sha256`` and ``bytes``."""

    @property
    def size_bytes(self) -> int:
        """The files together, before any compression."""
        return sum(int(entry["bytes"]) for entry in self.files.values())

    def onnx(self, network: KitNetwork) -> bytes:
        """Return a network's file.

        Raises:
            InputError: it is absent, or not the one that was packed.
        """
        content = read_kit_file(self.path, network.file)
        if sha256(content) != self.files[network.file]["sha256"]:
            fault = f"{network.file} in {self.path} is not the file that was packed"
            raise InputError(describe(fault, expected="the hash of the manifest", remedy="Use the kit as it was."))
        return content


def pack_kit(
    model: nn.Module,
    example_input: Inputs,
    out: Path | str,
    *,
    subject: str = "a network",
    networks: int = NETWORKS,
    threads: int = 1,
    precisions: Sequence[str] = ("fp32",),
    freeze: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Kit:
    """Write a kit that calibrates a device for ``model``: the network, and pruned variants as a search would try them.

    Args:
        model: the network that costs are wanted for.
        example_input: what it takes, a batch of 1.
        out: a new folder, or a new ``.zip`` file.
        subject: what the network is; a task's reference lets ``espalier calibrate --import`` find it again.
        networks: how many to time, the dense one among them, per precision.
        threads: of the runtime, unless the agent is told another number.
        precisions: of ``fp32`` and ``int8``.
        freeze: layers that a search never prunes.
        seed: of the widths drawn.
        progress: told how many files of how many are done.

    Raises:
        InputError: ``out`` exists, or a number or precision is out of range.
        EvaluationError: the network cannot be traced or exported.
    """
    _check(networks, threads, precisions)
    graph = trace(model, example_input, freeze=freeze)
    source = VariantSource.of(model, example_input, graph)
    variants = _different(source, networks, seed)
    total = len(variants) * len(precisions)

    def files() -> Iterable[tuple[KitNetwork, bytes]]:
        for number, (policy, origin) in enumerate(variants):
            network = source.variant(policy, origin).network
            for precision in precisions:
                exported = _exported(network, example_input, precision)
                yield KitNetwork(f"n{number:03d}-{precision}.onnx", precision, origin, policy.to_dict()), exported

    return _write(Path(out), files(), example_input, graph.fingerprint, subject, threads, total, progress)


def pack_members(
    members: Sequence[KitMember],
    example_input: Inputs,
    out: Path | str,
    *,
    subject: str,
    threads: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Kit:
    """Write a kit that times the dense network and the members of a run's front, as they would be exported.

    Raises:
        InputError: there is no member, or ``out`` exists.
    """
    if not members:
        raise InputError(describe("no network to pack", expected="a front with members", remedy="Search first."))
    fingerprint = members[0].policy.model_fingerprint

    def files() -> Iterable[tuple[KitNetwork, bytes]]:
        for member in members:
            name = "dense" if member.trial is None else f"trial{member.trial}"
            origin = "dense" if member.trial is None else "front"
            policy = member.policy
            file = f"{name}-{policy.precision}.onnx"
            yield KitNetwork(file, policy.precision, origin, policy.to_dict(), member.trial), member.onnx

    return _write(Path(out), files(), example_input, fingerprint, subject, threads, len(members), progress)


def read_kit(path: Path | str) -> Kit:
    """Return what the kit at ``path``, a folder or a zip file, holds.

    Raises:
        InputError: it is none, of another version or damaged.
    """
    place = Path(path)
    text = read_kit_file(place, agent.MANIFEST)
    try:
        content = json.loads(text)
        version, kind = content["version"], content["kind"]
        if (version, kind) != (agent.VERSION, KIND):
            raise ValueError(f"kind {kind!r} of version {version!r}")
        networks = tuple(KitNetwork(**entry) for entry in content["networks"])
        subject, fingerprint, threads = content["subject"], content["model_fingerprint"], int(content["threads"])
        return Kit(place, sha256(text), subject, fingerprint, threads, networks, content["files"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        fault = f"{place} holds no valid manifest ({error})"
        remedy = "Pack it again with this Espalier."
        raise InputError(describe(fault, expected=f"a kit of version {agent.VERSION}", remedy=remedy)) from error


def _check(networks: int, threads: int, precisions: Sequence[str]) -> None:
    unknown = [p for p in precisions if p not in ELEMENT_BYTES]
    if networks < 1 or threads < 1 or unknown or not precisions:
        got = f"{networks} networks, {threads} threads and the precisions {', '.join(precisions) or 'none'}"
        expected = f"at least one network and thread, and precisions of {', '.join(ELEMENT_BYTES)}"
        raise InputError(describe(got, expected=expected, remedy="Correct them."))


def _different(source: VariantSource, count: int, seed: int) -> list[tuple[Policy, str]]:
    """Return the dense network and ``count - 1`` others, no two alike; fewer where the network has no more."""
    drawn = source.policies(torch.Generator().manual_seed(seed))
    found: dict[Policy, str] = {}
    for policy, origin in islice(drawn, 20 * count):
        found.setdefault(policy, origin)
        if len(found) == count:
            break
    return list(found.items())


def _exported(network: nn.Module, example_input: Inputs, precision: str) -> bytes:
    if precision == "int8":
        return quantise_for_timing(network, example_input)
    return export_onnx(network, example_input)


def _write(
    out: Path,
    networks: Iterable[tuple[KitNetwork, bytes]],
    example_input: Inputs,
    fingerprint: str,
    subject: str,
    threads: int,
    total: int,
    progress: Callable[[int, int], None] | None,
) -> Kit:
    entries: list[KitNetwork] = []
    hashes: dict[str, dict[str, Any]] = {}
    with writing_kit(out) as folder:

        def write(name: str, content: bytes) -> None:
            (folder / name).write_bytes(content)
            hashes[name] = {"sha256": sha256(content), "bytes": len(content)}

        for name, content in _common_files(example_input):
            write(name, content)
        for done, (network, content) in enumerate(networks, 1):
            write(network.file, content)
            entries.append(network)
            if progress is not None:
                progress(done, total)
        manifest = {
            "version": agent.VERSION,
            "kind": KIND,
            "subject": subject,
            "model_fingerprint": fingerprint,
            "threads": threads,
            "networks": [asdict(entry) for entry in entries],
            "files": hashes,
        }
        (folder / agent.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        (folder / README).write_text(kit_readme(subject, entries, hashes, threads), encoding="utf-8")
    return read_kit(out)


def _common_files(example_input: Inputs) -> Iterable[tuple[str, bytes]]:
    sentinel, image = _sentinel()
    yield AGENT, Path(agent.__file__).read_bytes()
    # The example may be a sample of somebody's data, and the kit goes to another machine.
    yield agent.INPUTS, _npz(onnx_feed(stand_in(example_input)))
    yield agent.SENTINEL, export_onnx(sentinel, image)
    yield agent.SENTINEL_INPUTS, _npz(onnx_feed(image))


def _sentinel() -> tuple[nn.Module, torch.Tensor]:
    """Return a small network that is the same in every kit: 2.8 million MACs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
    return layers.eval(), torch.zeros(1, 3, 32, 32)


def _npz(feed: Mapping[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    # The stubs take every name for allow_pickle; passed by name, it would be stored as an array by older releases.
    np.savez(stream, **dict(feed))  # pyright: ignore[reportArgumentType]
    return stream.getvalue()
