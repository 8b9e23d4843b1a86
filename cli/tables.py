"""Results as rows of text, for :func:`espalier.cli.output.show_table`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..reports import formatting as fmt
from ..reports.precision import device_of, is_fp32_alone, told_precision
from .output import UNKNOWN, show_table

if TYPE_CHECKING:
    from ..evaluators.hardware.base import Cost, LayerCost
    from ..evaluators.hardware.device import Device
    from ..evaluators.sensitivity import Sensitivity
    from ..evaluators.task.measure import Measure
    from ..reports.inspection import Inspection
    from ..reports.manifest import Manifest
    from ..reports.pruning_potential import Effect, Reached
    from ..reports.verify import Check, Verification
    from ..search.dry_run import DryRun
    from ..search.run_folder import Run
    from ..spaces.graph.groups import FrozenGroup

_METRICS = ("accuracy", "test_accuracy", "latency_ms", "size_bytes", "macs", "params")
VERIFICATION_COLUMNS = ("check", "claimed", "found", "tolerance", "result", "note")


def verification_rows(found: Verification) -> list[tuple[str, ...]]:
    """Return one row per check."""
    return [
        (
            _called(check.name, found.measure),
            _claim(check, check.claimed, found.measure),
            _claim(check, check.found, found.measure),
            f"{check.tolerance:.3g}" if check.tolerance else "equal",
            ("passed" if check.checked else "not checked") if check.passed else "FAILED",
            check.note,
        )
        for check in found.checks
    ]


def _called(name: str, measure: Measure) -> str:
    """Return a column's or row's title: the fields of ``front.json``, with the score called what it is."""
    own = {} if measure.name == "accuracy" else {"accuracy": measure.name, "test_accuracy": f"test {measure.name}"}
    return own.get(name, name)


def _claim(check: Check, value: float | str | None, measure: Measure) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value[:12]
    return f"{value:.2e}" if check.name.startswith("parity") else fmt.metric(check.name, value, measure)


def show_front(run: Run) -> None:
    """Print the dense network and the run's front."""
    dense, measure = run.dense.metrics, run.measure
    device = device_of(run)
    mixed = not is_fp32_alone(run, device)
    words = (told_precision("fp32", device, measure),) if mixed else ()
    rows = [("dense", *words, *(fmt.metric(name, dense.get(name), measure) for name in _METRICS), "")]
    rows += [
        (
            str(c.trial),
            *((told_precision(c.policy.precision, device, measure),) if mixed else ()),
            *(_against(name, c.metrics, dense, measure) for name in _METRICS),
            ", ".join(c.tags),
        )
        for c in run.front.configurations
    ]
    columns = ("trial", *(("precision",) if mixed else ()), *(_called(name, measure) for name in _METRICS), "picks")
    show_table(columns, rows, title=f"Front of {run.path} on {run.info.device}")
    if measure.name != "accuracy":
        print(f"The score: {measure.words}.")


def _against(
    name: str, metrics: Mapping[str, float | None], dense: Mapping[str, float | None], measure: Measure
) -> str:
    value, before = metrics.get(name), dense.get(name)
    shown, changed = fmt.metric(name, value, measure), fmt.change(name, value, before, measure)
    return f"{shown} ({changed})" if changed else shown


def show_export(manifest: Manifest) -> None:
    """Print what an export claims and what was measured on it."""
    rows = [
        (
            _called(name, manifest.measure),
            *(
                fmt.metric(name, m.get(name), manifest.measure)
                for m in (manifest.dense, manifest.claimed, manifest.measured)
            ),
        )
        for name in _METRICS
        if manifest.claimed.get(name) is not None
    ]
    title = f"{manifest.task}: trial {manifest.trial} ({manifest.pick}) for {manifest.device}"
    show_table(("metric", "dense", "claimed", "measured at export"), rows, title=title)
    title = manifest.measure.name
    told = told_precision(manifest.precision, manifest.device_told, manifest.measure)
    print(f"{title[:1].upper()}{title[1:]}, latency and size are of {manifest.claims_of} ({told}).")
    print(f"The dense network's are at: {told_precision('fp32', manifest.device_told, manifest.measure)}.")
    for name, values in manifest.parity.items():
        print(f"parity of {name} with PyTorch: {values['relative']:.1e} of the output's scale")


def show_inspection(found: Inspection) -> None:
    """Print the diagnosis, groups, frozen groups, what can be reached, cost and layers."""
    print(f"{found.task} on {found.device}: {_diagnosis(found)}\n")
    print(f"Export: {found.export.words}\n")
    _show_groups(found)
    if found.sensitivities:
        print(
            f"Half pruned: {found.measure.name} with that group alone pruned, BatchNorm recalibrated, without "
            f"fine-tuning, on at most {found.sensitivities[0].samples} validation samples; in brackets the change "
            "against dense.\n"
        )
    _show_what_stays(found)
    show_table(("pruning type", f"on {found.device}"), [(name, note) for name, note in found.type_notes.items()])
    print(f"Widths on {found.device} are multiples of {found.channel_multiple}.\n")
    _show_reach(found)
    _show_cost(found)


def _diagnosis(found: Inspection) -> str:
    diagnosis, groups = found.diagnosis, fmt.plural(len(found.graph.groups), "group")
    if not diagnosis.traceable:
        verdict = "cannot be traced"
    elif not diagnosis.prunable:
        verdict = "traced, but nothing in it can be pruned"
    else:
        verdict = f"traced, {groups} can be pruned"
    return f"{verdict}: {diagnosis.why}. {diagnosis.remedy}" if diagnosis.why else f"{verdict}."


def _show_groups(found: Inspection) -> None:
    left = {entry.group: entry for entry in found.sensitivities}
    if not found.graph.groups:
        return
    show_table(
        ("group", "channels", "widths", "stage", "verified", "alone", *(("half pruned",) if left else ()), "layers"),
        [
            (
                group.name,
                str(group.channels),
                _widths(found.widths(group)),
                str(group.stage),
                group.verification,
                _effect(found.effect(group.name)),
                *((_sensitivity(left[group.name], found.measure),) if left else ()),
                ", ".join(filter(None, group.layers)),
            )
            for group in found.graph.groups
        ],
        title=f"{fmt.plural(len(found.graph.groups), 'group')} that can be pruned",
    )
    idle = [(effect.group, effect.why) for effect in found.effects if not effect.has_effect]
    print("Alone: the change of latency, or of MACs, with that group alone at its narrowest width.\n")
    if idle:
        show_table((f"no effect on {found.device}", "why"), idle)


def _show_what_stays(found: Inspection) -> None:
    if found.graph.frozen:
        show_table(
            ("frozen group", "channels", "reason", "to do"),
            [(frozen.name, str(frozen.channels), frozen.reason, _to_do(frozen)) for frozen in found.graph.frozen],
        )
    share = fmt.percent(found.fixed_params / found.cost.params if found.cost.params else 0.0, 1)
    print(f"Parameters that no group reaches: {fmt.metric('params', found.fixed_params)} ({share}).")
    if found.unused:
        held = fmt.metric("params", found.unused_params)
        print(f"Never used in the forward pass, with {held} parameters: {', '.join(found.unused)}.")
    for note in found.graph.notes:
        print(f"Note: {note}.")
    print()


def _to_do(frozen: FrozenGroup) -> str:
    remedy = frozen.code.remedy
    return "" if remedy.startswith("Nothing to do") else remedy


def _effect(effect: Effect) -> str:
    if not effect.has_effect:
        return "no effect"
    if effect.latency_change is not None:
        return f"{fmt.percent(effect.latency_change)} latency"
    return f"{fmt.MINUS}{fmt.metric('macs', effect.macs_removed)} MACs"


def _show_reach(found: Inspection) -> None:
    if not found.reached:
        return
    names = ("macs", "params", "size_bytes", "latency_ms")
    rows = [
        (
            reached.name,
            *(f"{fmt.metric(name, getattr(reached, name))} ({_times(reached, name)} less)" for name in names),
            reached.source,
        )
        for reached in found.reached
    ]
    title = f"What pruning channels reaches, {found.measure.name} aside"
    show_table(("all groups", "MACs", "parameters", "size", "latency", "source"), rows, title=title)
    most = found.reached[0]
    print(
        f"On {found.device} by channels alone at most {_times(most, 'latency_ms')} faster ({most.source}), "
        f"{_times(most, 'size_bytes')} smaller and {_times(most, 'macs')} fewer MACs. {_beyond(found)}\n"
    )


def _beyond(found: Inspection) -> str:
    """Say which other pruning types may go further, with less time or with a smaller file."""
    branches = sum(group.branch is not None for group in found.graph.groups)
    dropped = f"faster where some of {fmt.plural(branches, 'residual branch', 'es')} are dropped (block); "
    return f"Not in these figures: {dropped if branches else ''}smaller where weights are zeroed too (nm, weight)."


def _times(reached: Reached, name: str) -> str:
    return fmt.ratio(reached.times_less[name], 1.0)


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
    full = " trained in full; off the path only the best are" if found.climbs else ""
    print(f"Fidelity: {fmt.plural(found.samples, 'training sample')} for each candidate{full}.")
    each, whole = fmt.duration(found.evaluation_seconds), fmt.duration(found.seconds)
    at_most = "at most " if found.climbs else ""
    print(f"Estimated time: {at_most}{whole} ({each} for the one candidate tried).")


def _widths(widths: Sequence[int]) -> str:
    if len(widths) <= 4:
        return " ".join(map(str, widths))
    return f"{widths[0]} {widths[1]} .. {widths[-1]}"


def _sensitivity(entry: Sensitivity, measure: Measure) -> str:
    moved = fmt.score_difference(measure.sign * entry.drop, measure, dense=entry.accuracy)
    return f"{entry.kept}: {fmt.metric('accuracy', entry.accuracy, measure)} ({moved})"


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
        ("fits the device", _fits(cost), "limits"),
    ]
    show_table(("dense cost", "value", "source"), rows, title=f"On {found.device}")
    show_table(
        ("layer", "kind", "MACs", "bytes moved", "latency", "share"),
        [_layer(layer, found.layers) for layer in found.layers],
    )
    if found.note:
        print(f"Note: {found.note}.")


def _fits(cost: Cost) -> str:
    over = (f"{name} exceeded by {fmt.metric('size_bytes', count)}" for name, count in cost.excess.items())
    return "yes" if cost.fits else f"no: {', '.join(over)}"


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


def show_fit(device: Device) -> None:
    """Show how far a device's cost model is from what was held out from its fit."""
    rows = [
        (
            precision,
            f"{100 * error.median_relative_error:.1f} %",
            f"{100 * error.share_within_10_percent:.0f} %",
            UNKNOWN if error.spearman is None else f"{error.spearman:.3f}",
            str(error.fitted),
            str(error.held_out),
        )
        for precision, error in device.fit.items()
    ]
    columns = ("precision", "median error", "within 10 %", "Spearman", "fitted to", "held out")
    show_table(columns, rows, title="Error on networks held out from the fit")
