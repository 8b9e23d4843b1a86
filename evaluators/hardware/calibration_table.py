"""What a calibration measured: networks with their latencies, and their fused kernels with their shares, as CSV.

One file holds three kinds of lines, told by their first column: ``calibration`` says what the measurements belong to,
``network`` is one network's latency, ``kernel`` is one fused kernel with the numbers that every feature can be computed
from again. Columns that a line has no use for are empty; lists are separated by semicolons.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ...errors import InputError, describe
from ...jsonfile import write_text
from .kernels import Kernel, KernelGraph

VERSION = 1


@dataclass(frozen=True)
class CalibrationRow:
    """One fused kernel of a measured network."""

    network: int
    """Number of the network that it belongs to."""
    node: int
    """Its place among the network's kernels, from 0."""
    operator: str
    """The runtime's operators whose time it is, joined by ``+``; empty where the runtime ran none for it."""
    layer: str
    kind: str
    latency_ms: float
    """Its share of the network's latency; the shares of a network add up to it."""
    macs: int
    in_channels: int
    out_channels: int
    groups: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    read_elements: int
    write_elements: int
    weight_elements: int
    output_shape: tuple[int, ...]
    fused: tuple[str, ...]
    """The ATen operators in it, in order."""
    reads_from: tuple[int, ...]
    """Places of the kernels that wrote its inputs; -1 is the network's input."""


@dataclass(frozen=True)
class NetworkTiming:
    """One measured network."""

    network: int
    precision: str
    latency_ms: float
    """Minimum over the blocks' medians, measured without a profiler."""
    spread: float
    """Largest minus smallest of the blocks' medians, as a fraction of the smallest."""
    origin: str = ""
    """How it came to be measured: ``dense``, ``step 8``, ``active``, ..."""


@dataclass(frozen=True)
class Calibration:
    """Everything that the cost model ``learned`` is fitted to."""

    runtime: str
    runtime_version: str
    threads: int
    processor: str
    """The processor's name, as its system tells it."""
    subject: str
    """What the networks are, such as ``pruned variants of the network given``."""
    timings: tuple[NetworkTiming, ...]
    rows: tuple[CalibrationRow, ...]

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions measured, each once."""
        return tuple(dict.fromkeys(t.precision for t in self.timings))

    def of(self, precision: str) -> Calibration:
        """Return the part that was measured at one precision."""
        timings = tuple(t for t in self.timings if t.precision == precision)
        numbers = {t.network for t in timings}
        return self._with(timings, tuple(r for r in self.rows if r.network in numbers))

    def plus(self, other: Calibration) -> Calibration:
        """Return both calibrations as one, the networks of ``other`` numbered after those of this one."""
        shift = 1 + max((t.network for t in self.timings), default=-1)
        timings = tuple(replace(t, network=t.network + shift) for t in other.timings)
        rows = tuple(replace(r, network=r.network + shift) for r in other.rows)
        return self._with((*self.timings, *timings), (*self.rows, *rows))

    def by_network(self) -> dict[int, tuple[CalibrationRow, ...]]:
        """Return each network's rows in the order of its kernels."""
        found: dict[int, list[CalibrationRow]] = {t.network: [] for t in self.timings}
        for row in self.rows:
            found[row.network].append(row)
        return {number: tuple(sorted(rows, key=lambda r: r.node)) for number, rows in found.items()}

    def _with(self, timings: tuple[NetworkTiming, ...], rows: tuple[CalibrationRow, ...]) -> Calibration:
        return replace(self, timings=timings, rows=rows)

    def to_csv(self) -> str:
        """Return the text that :meth:`from_csv` reads back as an equal calibration."""
        stream = io.StringIO()
        writer = csv.DictWriter(stream, _COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        head = {name: getattr(self, name) for name in _HEAD}
        writer.writerow({"record": "calibration", "version": VERSION, **head})
        for timing in self.timings:
            writer.writerow({"record": "network", **_plain(timing)})
        for row in self.rows:
            writer.writerow({"record": "kernel", **_plain(row)})
        return stream.getvalue()

    def write(self, path: Path) -> None:
        """Write the CSV file, whole or not at all."""
        write_text(path, self.to_csv())

    @classmethod
    def from_csv(cls, text: str, *, origin: str = "the text given") -> Calibration:
        """Return the calibration that a CSV text holds.

        Raises:
            InputError: it is no calibration, of another version, or a number is malformed.
        """
        lines = list(csv.DictReader(io.StringIO(text)))
        heads = [line for line in lines if line.get("record") == "calibration"]
        if len(heads) != 1 or heads[0].get("version") != str(VERSION):
            found = [head.get("version") for head in heads]
            raise _malformed(origin, f"not one line `calibration` of version {VERSION} but {found}")
        try:
            head = {name: _KINDS[kind](heads[0][name]) for name, kind in _HEAD.items()}
            timings = tuple(_parsed(NetworkTiming, line) for line in lines if line["record"] == "network")
            rows = tuple(_parsed(CalibrationRow, line) for line in lines if line["record"] == "kernel")
        except (KeyError, ValueError, TypeError) as error:
            raise _malformed(origin, f"a malformed line ({error})") from error
        strangers = {r.network for r in rows} - {t.network for t in timings}
        if strangers or len({t.network for t in timings}) != len(timings):
            raise _malformed(origin, f"kernels of networks without a line, or networks twice ({sorted(strangers)})")
        return cls(**head, timings=timings, rows=rows)

    @classmethod
    def read(cls, path: Path) -> Calibration:
        """Read a CSV file.

        Raises:
            InputError: it is absent or no calibration.
        """
        if not path.is_file():
            remedy = "Restore it beside the device's file, or calibrate again."
            raise InputError(describe(f"no file {path}", expected="a calibration's CSV file", remedy=remedy))
        return cls.from_csv(path.read_text(encoding="utf-8"), origin=str(path))


def rows_of(
    network: int, graph: KernelGraph, latencies_ms: Sequence[float], operators: Sequence[str]
) -> tuple[CalibrationRow, ...]:
    """Return a row per kernel of ``graph``, given what each takes and which of the runtime's operators that is."""
    producers = producers_of(graph)
    return tuple(
        row_of(kernel, network=network, node=node, latency_ms=float(time), operator=operator, reads_from=sources)
        for node, (kernel, sources, time, operator) in enumerate(
            zip(graph.kernels, producers, latencies_ms, operators, strict=True)
        )
    )


def row_of(
    kernel: Kernel, *, network: int, node: int, latency_ms: float, operator: str, reads_from: tuple[int, ...]
) -> CalibrationRow:
    """Return one kernel's row."""
    work = kernel.work
    return CalibrationRow(
        network=network,
        node=node,
        operator=operator,
        layer=kernel.layer,
        kind=kernel.kind,
        latency_ms=latency_ms,
        macs=int(work.macs),
        in_channels=int(work.in_channels),
        out_channels=int(work.out_channels),
        groups=int(work.groups),
        kernel_size=tuple(int(k) for k in work.kernel_size),
        stride=tuple(int(s) for s in work.stride),
        read_elements=sum(v.elements for v in kernel.reads),
        write_elements=sum(v.elements for v in kernel.writes),
        weight_elements=kernel.weight_elements,
        output_shape=tuple(int(s) for s in kernel.output_shape),
        fused=kernel.operators,
        reads_from=reads_from,
    )


def producers_of(graph: KernelGraph) -> tuple[tuple[int, ...], ...]:
    """Return, for each kernel, the places of the kernels that wrote its inputs; -1 is the network's input."""
    writer = {number: place for place, kernel in enumerate(graph.kernels) for number in kernel.outputs}
    return tuple(tuple(writer.get(number, -1) for number in kernel.inputs) for kernel in graph.kernels)


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(";") if part)


def _words(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(";") if part)


_KINDS: Mapping[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "tuple[int, ...]": _ints,
    "tuple[str, ...]": _words,
}
_HEAD = {"runtime": "str", "runtime_version": "str", "threads": "int", "processor": "str", "subject": "str"}
_COLUMNS = tuple(
    dict.fromkeys(
        (
            "record",
            "version",
            *_HEAD,
            *(f.name for f in fields(NetworkTiming)),
            *(f.name for f in fields(CalibrationRow)),
        )
    )
)


def _parsed(kind: Any, line: Mapping[str, str]) -> Any:
    return kind(**{f.name: _KINDS[str(f.type)](line[f.name]) for f in fields(kind)})


def _plain(value: NetworkTiming | CalibrationRow) -> dict[str, object]:
    return {f.name: _cell(getattr(value, f.name)) for f in fields(value)}


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return ";".join(str(part) for part in value)
    return value


def _malformed(origin: str, fault: str) -> InputError:
    remedy = "Restore the file that `espalier calibrate` wrote, or calibrate again."
    return InputError(describe(f"{origin} has {fault}", expected="a calibration as CSV", remedy=remedy))


def merged(parts: Iterable[Calibration]) -> Calibration:
    """Return several calibrations of one machine as one.

    Raises:
        InputError: there is none.
    """
    found: Calibration | None = None
    for part in parts:
        found = part if found is None else found.plus(part)
    if found is None:
        raise InputError(describe("no calibration", expected="at least one", remedy="Measure first."))
    return found
