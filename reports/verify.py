"""Verifies an export: everything that it claims is checked on the files as they lie there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from ..evaluators.hardware.device import Device
from ..evaluators.onnx.onnx_network import Deployed
from ..evaluators.onnx.output_check import OutputCheck
from ..evaluators.onnx.quantisation import digest as digest_of
from ..evaluators.onnx.quantisation import quantise, scheme_of_recipe
from ..evaluators.task.data import batches
from ..evaluators.task.example_inputs import example_inputs
from ..evaluators.task.measure import ACCURACY, Measure
from ..evaluators.task.task import Task
from ..evaluators.task.task_checks import data_fingerprint
from ..evaluators.training.threads import torch_threads
from .folder_files import FileFinding, contents, digests
from .int8 import agreement, products_of, recorded_agreement, stored_network
from .load import may_load, rebuild, refuse_other_network, task_of
from .manifest import Manifest
from .parity import TOLERANCE, Parity
from .remeasure import LatencyPair, counted, latency_of_export, parities, scores
from .without_task import checked_threads, computable, without_task

SCORE_NOISE = 1e-3
"""Allowed where a score is compared, of a share on top of one sample: sums in another order can move last digits.
Absolute for shares, else relative."""
LATENCY_ATTEMPTS = 3
"""A claim is refuted only where it fails so many measurements: other programs disturb single ones."""
PREDICTION_NOISE = 1e-6
"""A predicted latency is computed, so it must come out the same but for floating-point order."""
COUNTED = ("size_bytes", "macs", "params", "peak_memory_bytes")


@dataclass(frozen=True)
class Check:
    """One claim and what was found."""

    name: str
    claimed: float | str | None
    found: float | str | None
    tolerance: float
    """Largest difference allowed: in the metric's own unit for scores, as a share of the claim for latency."""
    passed: bool
    note: str = ""
    checked: bool = True
    """Whether the claim was held against something found: not so of the latency of a device that is not here."""


@dataclass(frozen=True)
class Verification:
    """All checks of one export."""

    folder: Path
    checks: tuple[Check, ...]
    not_checked: tuple[str, ...] = ()
    """What could not be checked, each with its reason."""
    measure: Measure = ACCURACY
    """What the score is."""

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """What could not be checked here."""
        return tuple(check.name for check in self.checks if not check.checked)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``--json``."""
        checks = [_plain(check) for check in self.checks]
        about = {"folder": str(self.folder), "passed": self.passed, "metric": self.measure.to_dict()}
        return {**about, "checks": checks, "not_checked": list(self.not_checked)}


def verify(
    folder: Path | str, *, task: Task | None = None, data: Path | None = None, trust: bool = False
) -> Verification:
    """Load an export afresh and check files, parity, scores, latency, size, MACs and parameters against its claims.

    Nothing of the folder is executed unless ``trust``: the task that its manifest names is imported only if it is one
    of Espalier's own, and ``model.pt2`` is read without pickle. What needs a task is left out without one, and named in
    :attr:`Verification.not_checked`. Where a file is missing, altered, or could only be read by executing it, nothing
    of the folder is loaded, and only the files are reported.

    Args:
        folder: what ``export`` wrote.
        task: the task whose network was pruned.
        data: where the task's data lies.
        trust: import the task that the manifest names, and let PyTorch load ``model.pt2``: both execute what they say.

    Raises:
        InputError: the folder is no export, or its task cannot be loaded.
    """
    folder = Path(folder)
    manifest = Manifest.read(folder)
    files = _files(digests(manifest, folder), "file")
    if all(check.passed for check in files):
        inside = _files(contents(manifest, folder, trust=trust), "contents of")
        files += tuple(check for check in inside if not check.passed)
    if not all(check.passed for check in files):
        return Verification(folder, files, measure=manifest.measure)
    if task is None and may_load(manifest, trust=trust):
        task = task_of(manifest, folder, data=data, trust=trust)
    with torch_threads(checked_threads(manifest)):
        if task is None:
            found = without_task(manifest, folder)
            checks, left_out = tuple(Check(*each) for each in found.checks), found.not_checked
        else:
            checks, left_out = _checks(manifest, folder, task, trust=trust)
    return Verification(folder, (*files, *checks), left_out, manifest.measure)


def _checks(manifest: Manifest, folder: Path, task: Task, *, trust: bool) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    dense = task.model().eval()
    refuse_other_network(dense, manifest.model_fingerprint, where=str(folder), task=manifest.task)
    rebuilt = rebuild(manifest, folder, dense, example_inputs(task))
    model = rebuilt.model
    device = Device.from_yaml(json.dumps(manifest.device_definition), origin=f"the device of {folder}")
    threads, precision = manifest.threads, manifest.precision
    deployed = stored_network(model, task, folder, precision=precision, threads=threads)
    counts = counted(deployed, task.example_input, device, threads=threads, precision=precision, masks=rebuilt.masks)

    def timed() -> LatencyPair:
        return latency_of_export(
            deployed, folder, dense, task.example_input, device, threads=threads, precision=precision
        )

    computed, left_out = computable(manifest, folder, trust=trust)
    scored = _score_checks(manifest, scores(deployed.network, task), task)
    return (
        _data_check(manifest, task, scores_hold=all(check.passed for check in scored)),
        _output_check(dense, model, task),
        *_parity_checks(manifest, parities(model, task, folder, computed, manifest.shapes, trust=trust)),
        *_product_checks(manifest, deployed, task, reachable=device.reachable),
        *_int8_checks(manifest, deployed, task),
        *scored,
        *(_equal(name, manifest.claimed.get(name), counts[name]) for name in COUNTED),
        latency_check(manifest, timed, reachable=device.reachable),
    ), left_out


def _plain(check: Check) -> dict[str, Any]:
    # A network that gives NaN has no finite difference, and JSON no word for that.
    found = check.found if isinstance(check.found, str) or check.found is None or math.isfinite(check.found) else None
    return {**asdict(check), "found": found}


def _data_check(manifest: Manifest, task: Task, *, scores_hold: bool) -> Check:
    """Check the data's fingerprint; a changed one refutes nothing by itself where the scores come out as claimed."""
    found = data_fingerprint(task)
    same = found == manifest.data_fingerprint
    note = "changed, but the scores hold on them" if scores_hold else "scores are of other data; see --data"
    return Check("data fingerprint", manifest.data_fingerprint, found, 0.0, same or scores_hold, "" if same else note)


def _output_check(dense: nn.Module, model: nn.Module, task: Task) -> Check:
    """Compare the form of the pruned network's outputs with the dense network's, which the card promises."""
    objection = OutputCheck.of(dense, task).objection(model)
    note = "shapes and types on the example inputs and on validation samples"
    return Check("outputs", "as of the dense network", objection or "as of the dense network", 0.0, not objection, note)


def _files(found: Iterable[FileFinding], what: str) -> tuple[Check, ...]:
    return tuple(Check(f"{what} {f.name}", f.claimed, f.found, 0.0, not f.fault, f.fault) for f in found)


def _parity_checks(manifest: Manifest, found: Mapping[str, Parity]) -> tuple[Check, ...]:
    return tuple(
        Check(
            f"parity of {name} with PyTorch",
            manifest.parity.get(name, {}).get("relative"),
            result.relative,
            TOLERANCE,
            result.passed,
            result.fault
            or f"largest difference on {result.random_inputs} random and {result.real_inputs} validation inputs",
        )
        for name, result in found.items()
    )


def _product_checks(manifest: Manifest, deployed: Deployed, task: Task, *, reachable: bool) -> tuple[Check, ...]:
    """Check that this processor sums the int8 file's products right, where the file was made for this machine."""
    found = products_of(deployed, task, threads=manifest.threads)
    if found is None or manifest.int8 is None:
        return ()
    scheme = scheme_of_recipe(manifest.int8["recipe"])
    note = f"{found.sentence}; the file is right on {scheme.right_on}"
    if not reachable and not found.passed:
        note = f"reported only, as it was made for {manifest.device}: {note}"
    name, told = "int8 products on this processor", f"{len(found.wrong)} wrong"
    return (Check(name, "0 wrong", told, 0.0, found.passed or not reachable, note),)


def _int8_checks(manifest: Manifest, deployed: Deployed, task: Task) -> tuple[Check, ...]:
    """Report, and never fail, how the int8 file relates to the fp32 network: nobody promised that they are equal."""
    if deployed.onnx is None or manifest.int8 is None:
        return ()
    found, claimed = agreement(deployed, task), recorded_agreement(manifest.int8)
    note = f"reported only: same predictions on {found.samples} validation samples"
    if found.same_predictions is None:
        note = f"reported only: largest difference on {found.samples} validation samples"
    scheme = scheme_of_recipe(manifest.int8["recipe"])
    requantised = quantise(deployed.model, task, threads=manifest.threads, scheme=scheme)
    stored, again = digest_of(deployed.onnx), digest_of(requantised)
    same = "the same bytes" if stored == again else "other bytes: another processor, version or number of threads"
    return (
        Check("agreement of int8 with fp32", claimed.words, found.words, 0.0, True, note),
        Check("int8 file quantised again", stored, again, 0.0, True, f"reported only: {same}"),
    )


def _score_checks(manifest: Manifest, found: Mapping[str, float | None], task: Task) -> tuple[Check, ...]:
    checks = []
    for name, data in (("accuracy", task.validation), ("test_accuracy", task.test)):
        claimed, value = manifest.claimed.get(name), found[name]
        if claimed is None or value is None:
            # A search that was interrupted has read no test accuracy; the export then claims its own.
            continue
        share = manifest.measure.share
        # Of a share one sample more or less may be right; any other score moves by its last digits alone.
        samples = batches(data, name=name, task=task).samples
        tolerance = 1 / samples + SCORE_NOISE if share else SCORE_NOISE * abs(claimed)
        checks.append(Check(name, claimed, value, tolerance, abs(value - claimed) <= tolerance))
    return tuple(checks)


def _equal(name: str, claimed: float | None, found: float | None) -> Check:
    return Check(name, claimed, found, 0.0, claimed == found)


def latency_check(manifest: Manifest, timed: Callable[[], LatencyPair], *, reachable: bool) -> Check:
    """Check the latency, or its ratio to the dense network's where the machine drifted since the claim.

    Args:
        manifest: holds the claims.
        timed: measures (or predicts) the exported and the dense network together.
        reachable: whether the device is this machine, so that ``timed`` measures.
    """
    claimed, dense = manifest.claimed.get("latency_ms"), manifest.dense.get("latency_ms")
    if claimed is None:
        return Check("latency_ms", None, None, 0.0, False, "the manifest claims no latency")
    if not reachable:
        pair = timed()
        close = abs(pair.latency_ms / claimed - 1) <= PREDICTION_NOISE
        note = f"not checked: {manifest.device} is not here; predicted again ({pair.source})"
        return Check("latency_ms", claimed, pair.latency_ms, PREDICTION_NOISE, close, note, checked=False)
    tolerance = manifest.latency_error
    check = Check("latency_ms", claimed, None, tolerance, False)
    for _ in range(LATENCY_ATTEMPTS):
        check = _judge(timed(), claimed, dense, tolerance)
        if check.passed:
            break
    return check


def _judge(pair: LatencyPair, claimed: float, dense: float | None, tolerance: float) -> Check:
    off = pair.latency_ms / claimed - 1
    note = f"{off:+.0%} of the claim"
    if abs(off) <= tolerance:
        return Check("latency_ms", claimed, pair.latency_ms, tolerance, True, note)
    if dense is None:
        return Check("latency_ms", claimed, pair.latency_ms, tolerance, False, note)
    ratio, claimed_ratio = pair.latency_ms / pair.dense_ms, claimed / dense
    note += f"; of dense: {ratio:.3f}, claimed {claimed_ratio:.3f}"
    passed = abs(ratio / claimed_ratio - 1) <= tolerance
    if passed:
        note += f" (this machine now runs the dense network in {pair.dense_ms / dense:.2f} of the time)"
    return Check("latency_ms", claimed, pair.latency_ms, tolerance, passed, note)
