"""What an agent brought back, checked against the kit that it ran."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import InputError, describe
from ..runtimes.base import ProfiledNode
from . import agent
from .kit import AGENT, Kit, KitNetwork

KIND = "espalier-results"
DRIFT = 0.10
"""How much slower than usual the sentinel may be, as a fraction, before a timing is not trusted."""
_MACHINE = ("cpu", "architecture", "onnxruntime")
_SHOWN = 5


@dataclass(frozen=True)
class Timed:
    """One network as the device timed it."""

    network: KitNetwork
    latency_ms: float
    """Smallest of the blocks' medians."""
    spread: float
    """Largest minus smallest of the blocks' medians, as a fraction of the smallest."""
    sentinel_ms: float
    """What the sentinel took at best between this network's blocks."""
    nodes: tuple[ProfiledNode, ...]
    """The runtime's own profile, in execution order."""


@dataclass(frozen=True)
class Results:
    """A whole kit, timed."""

    threads: int
    machine: Mapping[str, Any]
    """What the agent could read of the device: ``cpu``, ``board``, ``onnxruntime``, ``governor``, ..."""
    timed: tuple[Timed, ...]
    failures: Mapping[str, str]
    """Files that the runtime refused, with its reason."""

    @property
    def device_name(self) -> str:
        """The board's name, or else the processor's."""
        return str(self.machine.get("board") or self.machine["cpu"])

    @property
    def drift(self) -> float:
        """How much slower the device was at its slowest than at its usual, as a fraction, by the sentinel."""
        return max((t.sentinel_ms / self.usual_ms - 1 for t in self.timed), default=0.0)

    @property
    def usual_ms(self) -> float:
        """What the sentinel takes when nothing disturbs it: the lower quartile of its times."""
        return float(np.quantile([t.sentinel_ms for t in self.timed], 0.25))

    @property
    def steady(self) -> tuple[Timed, ...]:
        """What was timed while the device was as fast as usual."""
        return tuple(t for t in self.timed if t.sentinel_ms <= (1 + DRIFT) * self.usual_ms)


def read_results(path: Path | str, kit: Kit) -> Results:
    """Return the results in the file ``path``, of exactly the networks of ``kit``.

    Raises:
        InputError: the file is torn or of another version, or of another kit or agent, networks are missing or there
            twice, or a number is not what a time can be. One message names all that is wrong.
    """
    content = _parsed(Path(path))
    faults = [*_header_faults(content, kit)]
    if not faults:
        faults = [*_row_faults(content["rows"], kit)]
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        fault = f"{path} cannot be read in: {'; '.join(faults[:_SHOWN])}{more}"
        remedy = "Run the kit's own agent on the device to its end, and bring back its results.json as it is."
        raise InputError(
            describe(fault, expected=f"each of the kit's {len(kit.networks)} networks once", remedy=remedy)
        )
    networks = {n.file: n for n in kit.networks}
    rows = content["rows"]
    return Results(
        threads=content["threads"],
        machine=content["machine"],
        timed=tuple(_timed(row, networks[row["file"]]) for row in rows if "error" not in row),
        failures={row["file"]: str(row["error"]) for row in rows if "error" in row},
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        kind, version = content["kind"], content["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fault = f"{path} holds no results ({type(error).__name__}: {error})"
        raise InputError(describe(fault, expected="the results.json of an agent", remedy="Copy it again.")) from error
    if (kind, version) != (KIND, agent.VERSION):
        expected = f"{KIND} of version {agent.VERSION}"
        remedy = "Use the Espalier that packed the kit."
        raise InputError(describe(f"{path} holds {kind} of version {version}", expected=expected, remedy=remedy))
    return content


def _header_faults(content: Mapping[str, Any], kit: Kit) -> Iterator[str]:
    if content.get("kit") != kit.identity:
        yield f"they are of another kit ({str(content.get('kit'))[:12]}, not {kit.identity[:12]})"
        return
    if content.get("agent") != kit.files[AGENT]["sha256"]:
        yield "they were made by another agent than the kit's"
    machine = content.get("machine")
    lacking = [k for k in _MACHINE if not isinstance(machine, dict) or not isinstance(machine.get(k), str)]
    if lacking:
        yield f"the machine lacks {', '.join(lacking)}"
    if not _whole(content.get("threads")):
        yield f"threads is {content.get('threads')!r}"
    if not isinstance(content.get("rows"), list) or not all(isinstance(r, dict) for r in content["rows"]):
        yield "there are no rows"


def _row_faults(rows: list[dict[str, Any]], kit: Kit) -> Iterator[str]:
    networks = {n.file: n for n in kit.networks}
    counts = Counter(str(row.get("file")) for row in rows)
    missing = [name for name in networks if name not in counts]
    if missing:
        yield f"{len(missing)} networks are missing ({', '.join(missing[:_SHOWN])}): the agent has not come to its end"
    for name, count in counts.items():
        if name not in networks:
            yield f"{name} is not in the kit"
        elif count > 1:
            yield f"{name} is there {count} times"
    for row in rows:
        network = networks.get(str(row.get("file")))
        if network is not None:
            yield from (f"{network.file}: {fault}" for fault in _faults_of(row, network, kit))


def _faults_of(row: Mapping[str, Any], network: KitNetwork, kit: Kit) -> Iterator[str]:
    if row.get("sha256") != kit.files[network.file]["sha256"]:
        yield "another file than the kit's was timed"
    if row.get("precision") != network.precision:
        yield f"precision {row.get('precision')!r}, not {network.precision}"
    if "error" in row:
        return
    if not _positive(row.get("latency_ms")):
        yield f"latency_ms is {row.get('latency_ms')!r}"
    if not _positive(row.get("spread"), zero=True):
        yield f"spread is {row.get('spread')!r}"
    if row.get("finite") is not True:
        yield "its outputs were not finite"
    sentinels = row.get("sentinel_ms")
    if not isinstance(sentinels, list) or not sentinels or not all(map(_positive, sentinels)):
        yield "the sentinel's times are no numbers"
    nodes = row.get("nodes")
    if not isinstance(nodes, list) or not nodes or not all(map(_is_node, nodes)):
        yield "its profile is empty or malformed"


def _is_node(node: Any) -> bool:
    if not isinstance(node, dict) or not _positive(node.get("latency_ms"), zero=True):
        return False
    return isinstance(node.get("name"), str) and isinstance(node.get("operator"), str)


def _positive(value: Any, *, zero: bool = False) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return number and (value > 0 or (zero and value == 0))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _timed(row: Mapping[str, Any], network: KitNetwork) -> Timed:
    nodes = tuple(ProfiledNode(n["name"], n["operator"], float(n["latency_ms"])) for n in row["nodes"])
    return Timed(network, float(row["latency_ms"]), float(row["spread"]), float(min(row["sentinel_ms"])), nodes)
