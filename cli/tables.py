"""Results as rows of text, for :func:`espalier.cli.output.show_table`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..reports import formatting as fmt
from .output import UNKNOWN, show_table

if TYPE_CHECKING:
    from ..evaluators.hardware.base import LayerCost
    from ..evaluators.sensitivity import Sensitivity
    from ..reports.inspection import Inspection
    from ..reports.manifest import Manifest
    from ..reports.verify import Check, Verification
    from ..search.dry_run import DryRun
    from ..search.run_folder import Run

_METRICS = ("accuracy", "test_accuracy", "latency_ms", "size_bytes", "macs", "params")
VERIFICATION_COLUMNS = ("check", "claimed", "found", "tolerance", "result", "note")


def verification_rows(found: Verification) -> list[tuple[str, ...]]:
    """Return one row per check."""
    return [
        (
            check.name,
            _claim(check, check.claimed),
            _claim(check, check.found),
            f"{check.tolerance:.3g}" if check.tolerance else "equal",
            "passed" if check.passed else "FAILED",
            check.note,
        )
        for check in found.checks
    ]


def _claim(check: Check, value: float | str | None) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value[:12]
    return f"{value:.2e}" if check.name.startswith("parity") else fmt.metric(check.name, value)


def show_front(run: Run) -> None:
    """Print the dense network and the run's front."""
    dense = run.dense.metrics
    mixed = run.info.options.precision != ("fp32",)
    rows = [("dense", *(("fp32",) if mixed else ()), *(fmt.metric(name, dense.get(name)) for name in _METRICS), "")]
    rows += [
        (
            str(c.trial),
            *((c.policy.precision,) if mixed else ()),
            *(_against(name, c.metrics, dense) for name in _METRICS),
            ", ".join(c.tags),
        )
        for c in run.front.configurations
    ]
    columns = ("trial", *(("precision",) if mixed else ()), *_METRICS, "picks")
    show_table(columns, rows, title=f"Front of {run.path} on {run.info.device}")


def _against(name: str, metrics: Mapping[str, float | None], dense: Mapping[str, float | None]) -> str:
    value, before = metrics.get(name), dense.get(name)
    changed = fmt.change(name, value, before)
    return f"{fmt.metric(name, value)} ({changed})" if changed else fmt.metric(name, value)


def show_export(manifest: Manifest) -> None:
    """Print what an export claims and what was measured on it."""
    rows = [
        (name, *(fmt.metric(name, m.get(name)) for m in (manifest.dense, manifest.claimed, manifest.measured)))
        for name in _METRICS
        if manifest.claimed.get(name) is not None
    ]
    title = f"{manifest.task}: trial {manifest.trial} ({manifest.pick}) for {manifest.device}"
    show_table(("metric", "dense", "claimed", "measured at export"), rows, title=title)
    print(f"Accuracy, latency and size are of {manifest.claims_of} ({manifest.precision}).")
    for name, values in manifest.parity.items():
        print(f"parity of {name} with PyTorch: {values['relative']:.1e} of the output's scale")


def show_inspection(found: Inspection) -> None:
    """Print groups, frozen groups, cost and layers."""
    graph = found.graph
    left = {entry.group: entry for entry in found.sensitivities}
    extra = ("half pruned",) if left else ()
    show_table(
        ("group", "channels", "widths", "stage", "verified", "layers", *extra),
        [
            (
                group.name,
                str(group.channels),
                _widths(found.widths(group)),
                str(group.stage),
                group.verification,
                ", ".join(group.layers),
                *((_sensitivity(left[group.name]),) if left else ()),
            )
            for group in graph.groups
        ],
        title=f"{found.task}: {fmt.plural(len(graph.groups), 'group')} that can be pruned",
    )
    if found.sensitivities:
        print(
            "Half pruned: accuracy with that group alone pruned, BatchNorm recalibrated, without fine-tuning, on at "
            f"most {found.sensitivities[0].samples} validation samples; in brackets the change against dense.\n"
        )
    if graph.frozen:
        show_table(
            ("frozen group", "channels", "reason"),
            [(frozen.name, str(frozen.channels), frozen.reason) for frozen in graph.frozen],
        )
    show_table(("pruning type", f"on {found.device}"), [(name, note) for name, note in found.type_notes.items()])
    print(f"Widths on {found.device} are multiples of {found.channel_multiple}.\n")
    _show_cost(found)


def show_dry_run(found: DryRun) -> None:
    """Print what a search would have before it."""
    show_table(
        ("group", "channels", "verified"),
        [(group.name, str(group.channels), group.verification) for group in found.groups],
        title=f"{fmt.plural(len(found.groups), 'group')} to search",
    )
    if found.frozen:
        show_table(
            ("frozen group", "channels", "reason"),
            [(frozen.name, str(frozen.channels), frozen.reason) for frozen in found.frozen],
        )
    print(f"Policies in the space: {found.size:.4g}; starting points among the trials: {found.starting_points}.")
    print(f"Fidelity: {fmt.plural(found.samples, 'training sample')} for each candidate.")
    each, whole = fmt.duration(found.evaluation_seconds), fmt.duration(found.seconds)
    print(f"Estimated time: {whole} ({each} for the one candidate tried).")


def _widths(widths: Sequence[int]) -> str:
    if len(widths) <= 4:
        return " ".join(map(str, widths))
    return f"{widths[0]} {widths[1]} .. {widths[-1]}"


def _sensitivity(entry: Sensitivity) -> str:
    return f"{entry.kept}: {fmt.metric('accuracy', entry.accuracy)} ({fmt.points(-entry.drop)})"


def _show_cost(found: Inspection) -> None:
    cost = found.cost
    error = f" (between {fmt.metric('latency_ms', cost.latency_low)} and {fmt.metric('latency_ms', cost.latency_high)})"
    rows = [
        ("latency", fmt.metric("latency_ms", cost.latency_ms) + error, cost.source),
        ("size", fmt.metric("size_bytes", cost.size_bytes), "counted"),
        ("MACs", fmt.metric("macs", cost.macs), "counted"),
        ("parameters", fmt.metric("params", cost.params), "counted"),
        ("peak memory", fmt.metric("peak_memory_bytes", cost.peak_memory_bytes), "counted"),
        ("energy", fmt.metric("energy_mj", cost.energy_mj), "power x latency" if cost.energy_mj is not None else ""),
        ("fits the device", "yes" if cost.fits else "no", "limits"),
    ]
    show_table(("dense cost", "value", "source"), rows, title=f"On {found.device}")
    show_table(
        ("layer", "kind", "MACs", "bytes moved", "latency", "share"),
        [_layer(layer, found.layers) for layer in found.layers],
    )
    if found.note:
        print(f"Note: {found.note}.")


def _layer(layer: LayerCost, layers: Sequence[LayerCost]) -> tuple[str, ...]:
    total = sum(each.latency_ms or 0.0 for each in layers)
    share = f"{100 * layer.latency_ms / total:.0f} %" if layer.latency_ms is not None and total else UNKNOWN
    return (
        layer.layer,
        layer.kind,
        fmt.metric("macs", layer.macs),
        fmt.metric("size_bytes", layer.bytes_moved),
        fmt.metric("latency_ms", layer.latency_ms),
        share,
    )
