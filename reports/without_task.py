"""What of an export can be checked without its task: that its files load and compute the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EspalierError, InputError, describe
from ..spaces.inputs import tensors_of
from .manifest import ONNX, ONNX_INT8, PT2, Manifest, input_from_spec
from .parity import TOLERANCE, onnx_forward, pt2_forward, random_inputs
from .pt2_archive import read_pt2
from .pt2_program import NotComputedError, Pt2Program

INPUTS = 16
_MOST_THREADS = 1024
_MOST_ELEMENTS = 2**28
"""Of an input, so that a manifest cannot ask for all memory."""

Row = tuple[str, float | str | None, float | str | None, float, bool, str]


@dataclass(frozen=True)
class Partial:
    """Checks as rows of :class:`~espalier.reports.verify.Check`, and what is left."""

    checks: tuple[Row, ...]
    not_checked: tuple[str, ...]


def computable(manifest: Manifest, folder: Path, *, trust: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the formats that can be computed here, and why the others are not."""
    if "pt2" not in manifest.formats or trust:
        return manifest.formats, ()
    try:
        Pt2Program(read_pt2(folder / PT2))
    except NotComputedError as error:
        return tuple(name for name in manifest.formats if name != "pt2"), (f"parity of pt2: {error}",)
    return manifest.formats, ()


def checked_threads(manifest: Manifest) -> int:
    """Return the manifest's number of threads.

    Raises:
        InputError: it is no number of threads.
    """
    if not isinstance(manifest.threads, int) or not 1 <= manifest.threads <= _MOST_THREADS:
        raise InputError(
            describe(f"the manifest says {manifest.threads!r} threads", expected="1 or more", remedy="Export again.")
        )
    return manifest.threads


def without_task(manifest: Manifest, folder: Path) -> Partial:
    """Run what can be run, on random inputs.

    Raises:
        InputError: the manifest's input cannot be made.
    """
    inputs = random_inputs(_example(manifest), INPUTS)
    formats, left_out = computable(manifest, folder, trust=False)
    rows = [_runs(file, folder, inputs) for file in (ONNX, ONNX_INT8) if file in manifest.files]
    if {"onnx", "pt2"} <= set(formats):
        rows.append(_parity(folder, inputs))
    missing = "accuracy, latency, size, MACs, parameters and parity with PyTorch need the task"
    named = "" if manifest.task_reference is None else f" (the folder names {manifest.task_reference})"
    remedy = "Give --task TASK, or --trust to import what the folder names."
    return Partial(tuple(rows), (*left_out, f"{missing}{named}. {remedy}"))


def _example(manifest: Manifest) -> Any:
    _refuse_large(manifest.example_input)
    try:
        return input_from_spec(manifest.example_input)
    except (RuntimeError, ValueError) as error:
        got = f"the manifest's input cannot be made ({error})"
        raise InputError(describe(got, expected="shapes", remedy="Export again.")) from error


def _refuse_large(spec: Any) -> None:
    parts = [spec]
    total = 0
    while parts:
        part = parts.pop()
        inner = part.get("dict", part.get("tuple")) if isinstance(part, dict) else None
        if inner is not None:
            parts += inner.values() if isinstance(inner, dict) else inner
        elif isinstance(part, dict) and isinstance(part.get("shape"), list):
            total += int(np.prod([float(n) for n in part["shape"] if isinstance(n, int)]))
    if total > _MOST_ELEMENTS:
        got = f"an input of {total:.0e} numbers"
        raise InputError(describe(got, expected=f"at most {_MOST_ELEMENTS}", remedy="Export again."))


def _runs(file: str, folder: Path, inputs: list[Any]) -> Row:
    name = f"{file} runs"
    try:
        outputs = onnx_forward(folder / file)(inputs[0])
    except (EspalierError, RuntimeError, ValueError) as error:
        return name, None, None, 0.0, False, str(error).splitlines()[0]
    except Exception as error:  # noqa: BLE001 - the runtime's own exceptions share no base
        return name, None, None, 0.0, False, f"ONNX Runtime: {str(error).splitlines()[0]}"
    finite = all(np.isfinite(output).all() for output in outputs)
    count = len(tensors_of(inputs[0]))
    note = f"{len(outputs)} outputs for {count} random inputs" if finite else "its outputs are not finite"
    return name, None, None, 0.0, finite, note


def _parity(folder: Path, inputs: list[Any]) -> Row:
    name, note = "parity of pt2 with onnx", f"largest difference on {len(inputs)} random inputs"
    try:
        one, other = onnx_forward(folder / ONNX), pt2_forward(folder / PT2)
        pairs = [pair for each in inputs for pair in zip(one(each), other(each), strict=True)]
        worst = max((float(np.abs(a - b).max(initial=0.0)) for a, b in pairs), default=0.0)
        scale = max((float(np.abs(a).max(initial=0.0)) for a, _ in pairs), default=0.0) or 1.0
    except Exception as error:  # noqa: BLE001 - the runtime's own exceptions share no base
        return name, None, None, TOLERANCE, False, f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return name, None, worst / scale, TOLERANCE, worst / scale <= TOLERANCE, note
