"""Whether a device is the one that a run was searched on: a digest of what the run uses of it.

Where a number comes from is no part of it, nor are the precisions that the run does not search. What has its default
value is left out, so that a field that a later version adds changes nothing until a device sets it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..onnx.quantisation_scheme import U8S8
from .device import Device

_PROSE = frozenset(("description", "source"))
_BY_PRECISION = ("channel_multiple", "sparse_kernels", "speeds", "fit")
_LISTS_OF_PRECISIONS = ("precisions", "in_place")
_SCHEME = ("int8_scheme", "int8_scheme_source")
_DIGITS = 16


def device_fingerprint(device: Device, precisions: Sequence[str]) -> str:
    """Return the digest of what a run that searches ``precisions`` uses of ``device``, in hexadecimal."""
    used = _used(device, precisions)
    data = device.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    for name in _BY_PRECISION:
        data[name] = {p: value for p, value in data.get(name, {}).items() if p in used}
    for name in _LISTS_OF_PRECISIONS:
        data[name] = sorted(used & set(data.get(name, ())))
    data["deployed_as"] = {asked: runs for asked, runs in data.get("deployed_as", {}).items() if asked in used}
    if "int8" not in used:
        data.pop("int8_scheme", None)
    if device.calibration is not None:
        data["calibration"] = _content(Path(device.calibration))
    counts = {name: value for name, value in _without_prose(data).items() if value not in ({}, [])}
    return _digest(json.dumps(counts, sort_keys=True))


def earlier_fingerprints(device: Device, precisions: Sequence[str]) -> tuple[str, ...]:
    """Return the digests by which earlier versions would have known ``device``: of the whole of its file.

    The first of them knew no int8 schemes: all files were of ``u8s8``. Later ones wrote the scheme down whether or not
    a run searched int8. A run that does is told by its recipe too, so that here the device alone is compared.
    """
    whole = device.model_dump(mode="json", exclude_none=True)
    before_schemes = {name: value for name, value in whole.items() if name not in _SCHEME}
    unused = "int8" not in _used(device, precisions)
    found = [whole]
    if unused or device.int8_scheme == U8S8.name or "int8" in precisions:
        found.append(before_schemes)
    if unused:
        defaults = {name: Device.model_fields[name].default for name in _SCHEME}
        found.append({name: defaults.get(name, value) for name, value in whole.items()})
    return tuple(_digest(yaml.safe_dump(d, sort_keys=False, allow_unicode=True, width=110)) for d in found)


def _used(device: Device, precisions: Sequence[str]) -> set[str]:
    """Return the precisions that a run asks for, and those that the device runs in their place."""
    asked = {"fp32", *precisions}  # whatever is searched, candidates are probed at fp32
    return asked | {runs for p in asked if (runs := device.deployed_precision(p)) is not None}


def _content(path: Path) -> str:
    """Return the digest of a file of measurements, wherever it lies; its name where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else path.name


def _without_prose(data: Any) -> Any:
    if not isinstance(data, Mapping):
        return data
    said = {name: value for name, value in data.items() if name not in _PROSE and not name.endswith("_source")}
    return {name: _without_prose(value) for name, value in said.items()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]
