"""Was the latency right? What a device took for the front, beside what the run claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import formatting as fmt
from ..on_device import DeviceTimings, Timing, read_timings
from ..rank_correlation import rank_correlation
from .networks import dense_network

if TYPE_CHECKING:
    from ...search.run_folder import Run


def on_device(run: Run) -> list[dict[str, Any]]:
    """Return one entry for each device whose timings were imported: a line for each network, and how many agree."""
    claims = {c.trial: (c.metrics.get("latency_ms"), c.latency_error) for c in run.configurations}
    dense = dense_network(run)
    named = {None: (dense.metrics.get("latency_ms"), dense.evaluation.latency_error), **claims}
    return [_device(timings, named) for timings in read_timings(run)]


def _device(timings: DeviceTimings, claims: dict[int | None, tuple[float | None, float]]) -> dict[str, Any]:
    known = [(t, *_claim(claims[t.trial])) for t in timings.networks if claims[t.trial][0]]
    inside = [abs(t.latency_ms - claimed) <= error * claimed for t, claimed, error in known]
    rank = rank_correlation([claimed for _, claimed, _ in known], [t.latency_ms for t, _, _ in known])
    return {
        "device": timings.device,
        "runtime": f"ONNX Runtime {timings.machine.get('onnxruntime', '')}".strip(),
        "threads": fmt.plural(timings.threads, "thread"),
        "rows": [_row(*entry, within=within) for entry, within in zip(known, inside, strict=True)],
        "inside": sum(inside),
        "count": len(inside),
        "share": fmt.percent(sum(inside) / len(inside)) if inside else fmt.NOT_MEASURED,
        "rank": fmt.NOT_MEASURED if rank is None else f"{rank:.2f}",
        "unsteady": sum(not t.steady for t in timings.networks),
        "failed": len(timings.failures),
    }


def _claim(claim: tuple[float | None, float]) -> tuple[float, float]:
    return claim[0] or 0.0, claim[1]


def _row(timing: Timing, claimed: float, error: float, *, within: bool) -> dict[str, Any]:
    ms = "latency_ms"
    return {
        "name": "Dense" if timing.trial is None else f"Trial {timing.trial}",
        "claimed": fmt.metric(ms, claimed),
        "interval": f"{fmt.metric(ms, max(0.0, claimed * (1 - error)))} to {fmt.metric(ms, claimed * (1 + error))}",
        "measured": fmt.metric(ms, timing.latency_ms),
        "change": fmt.change(ms, timing.latency_ms, claimed),
        "within": "yes" if within else "no",
        "steady": timing.steady,
    }
