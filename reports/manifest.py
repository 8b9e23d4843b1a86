"""The manifest of an export: what the network is, what is claimed of it, and the digest of every file beside it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import InputError, describe
from ..evaluators.hardware.device import Device
from ..evaluators.task.measure import Measure
from ..evaluators.task.task import Inputs
from ..jsonfile import read_json, write_json

VERSION = 1
MANIFEST = "manifest.json"
POLICY = "policy.json"
RANKINGS = "rankings.json"
WEIGHTS = "weights.safetensors"
ONNX = "model.onnx"
ONNX_INT8 = "model.int8.onnx"
ONNX_FIXED = "model.fixed.onnx"
ONNX_INT8_FIXED = "model.int8.fixed.onnx"
PT2 = "model.pt2"
CARD = "README.md"

Metrics = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything an export says about itself."""

    task: str
    task_reference: str | None
    """What loads the task again; ``None`` where it was a Python object, so that ``load`` must be given it."""
    device: str
    device_definition: Mapping[str, Any]
    """The device's whole definition, so that a device of one's own is known again without its file."""
    threads: int
    """Threads that latencies were measured with."""
    precision: str
    trial: int
    pick: str
    constraints: tuple[str, ...]
    model_fingerprint: str
    data_fingerprint: str | None
    example_input: Any
    """Shapes and types of the input, see :func:`input_spec`."""
    freeze: tuple[str, ...]
    samples: int
    """Fidelity: training samples seen in the search since the dense network, inherited ones included."""
    fine_tune_epochs: int
    """Epochs of fine-tuning that the export added to that."""
    claimed: Metrics
    claimed_by: str
    """``run``: the final numbers of the search; ``export``: this export's own, as it was fine-tuned further."""
    dense: Metrics
    """The network as it was brought, measured in the same session as ``claimed``."""
    latency_source: str
    latency_error: float
    measured: Metrics
    """Measured again on the exported files when they were written."""
    measured_dense: Metrics
    parity: Mapping[str, Mapping[str, float]]
    versions: Mapping[str, str]
    search: Mapping[str, Any]
    """Options of the search that found it."""
    search_command: str
    """What makes the run again."""
    command: str
    """What writes this folder again from the run."""
    created: str
    claims_of: str = ONNX
    """Which file accuracy, latency and size are claimed of."""
    int8: Mapping[str, Any] | None = None
    """How the int8 file was made, its digest, the digest of the run's own, and its agreement with fp32; ``None`` at
    fp32."""
    shapes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What each program takes, by its file: ``dynamic`` (the axes of its inputs that vary, by their names), ``fixed``
    (why others do not) and ``tried`` (the sizes at which it was compared with PyTorch). Older exports have none: they
    take a batch of 1."""
    metric: Mapping[str, Any] | None = None
    """What the score is, as in ``front.json``; ``None``, as in exports of before it was stored, is accuracy."""
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``{name: {"sha256": ..., "bytes": ...}}`` of every other file."""

    @property
    def device_told(self) -> Device:
        """The device that costs are told for."""
        return Device.from_yaml(json.dumps(self.device_definition), origin=f"the device of {self.task}")

    @property
    def measure(self) -> Measure:
        """What the score is."""
        return Measure.from_dict(self.metric)

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into ``folder``."""
        write_json(folder / MANIFEST, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data of ``manifest.json``."""
        return {"version": VERSION, **dataclasses.asdict(self)}

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of an export folder.

        Raises:
            InputError: there is none, or it is torn or of another version.
        """
        content = read_json(folder / MANIFEST, version=VERSION)
        del content["version"]
        known = {f.name for f in dataclasses.fields(cls)}
        optional = {"claims_of", "int8", "shapes", "metric"}
        content = {"claims_of": ONNX, "int8": None, **content}
        missing = sorted(known - content.keys() - optional)
        if missing:
            raise InputError(
                describe(
                    f"{folder / MANIFEST} lacks {', '.join(missing)}",
                    expected="the manifest that espalier export wrote",
                    remedy="Export again.",
                )
            )
        fields: dict[str, Any] = {name: content[name] for name in known & content.keys()}
        wrong = [name for name, kinds in _KINDS.items() if not isinstance(fields.get(name), kinds)]
        wrong += [f"files[{name!r}]" for name, e in _items(fields["files"]) if not isinstance(e, Mapping)]
        wrong += [f"parity[{name!r}]" for name, e in _items(fields["parity"]) if not isinstance(e, Mapping)]
        if wrong:
            raise InputError(
                describe(
                    f"{folder / MANIFEST} has a {', a '.join(wrong[:5])} of another type",
                    expected="the manifest that espalier export wrote",
                    remedy="Export again.",
                )
            )
        fields.update({name: tuple(content[name]) for name in ("constraints", "freeze")})
        return cls(**fields)

    @property
    def formats(self) -> tuple[str, ...]:
        """Which of the optional formats lie in the folder."""
        from .formats import formats_among  # which write files of the names that this module gives

        return formats_among(self.files)


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("files", "claimed", "dense", "measured", "measured_dense", "parity", "versions"), Mapping),
    **dict.fromkeys(("device_definition", "search"), Mapping),
    **dict.fromkeys(("constraints", "freeze"), list),
    **dict.fromkeys(("task", "device", "precision", "pick", "model_fingerprint", "latency_source", "claims_of"), str),
    **dict.fromkeys(("threads", "samples", "trial", "fine_tune_epochs"), int),
    **dict.fromkeys(("task_reference", "data_fingerprint"), (str, type(None))),
    "latency_error": (int, float),
    "int8": (Mapping, type(None)),
}
"""What a manifest's fields are, as one may come from anybody."""


def _items(content: Any) -> Any:
    return content.items() if isinstance(content, Mapping) else ()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def file_list(folder: Path) -> dict[str, dict[str, Any]]:
    """Return digest and size of each file in ``folder`` but the manifest, by name."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return {path.name: {"sha256": digest(path), "bytes": path.stat().st_size} for path in files}


def input_spec(example_input: Inputs) -> Any:
    """Return the shapes and types of an input as plain data that :func:`input_from_spec` reads."""
    if isinstance(example_input, torch.Tensor):
        return {"shape": list(example_input.shape), "dtype": str(example_input.dtype).removeprefix("torch.")}
    if isinstance(example_input, Mapping):
        return {"dict": {name: input_spec(value) for name, value in example_input.items()}}
    return {"tuple": [input_spec(value) for value in example_input]}


def input_from_spec(spec: Any) -> Any:
    """Return an input of zeros with the shapes and types of ``spec``.

    Raises:
        InputError: the spec is malformed.
    """
    try:
        if "dict" in spec:
            return {name: input_from_spec(value) for name, value in spec["dict"].items()}
        if "tuple" in spec:
            return tuple(input_from_spec(value) for value in spec["tuple"])
        dtype = getattr(torch, spec["dtype"])
        if not isinstance(dtype, torch.dtype):
            raise TypeError(f"dtype {spec['dtype']!r}")
        return torch.zeros(spec["shape"], dtype=dtype)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            describe(f"input {spec!r} cannot be read", expected="shape and dtype", remedy="Export again.")
        ) from error
