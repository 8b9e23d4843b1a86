"""One run as one HTML file that stands alone: styles, scripts, data and the charting library are all inside."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError
from ..evaluators.hardware.device import load_device
from ..jsonfile import write_text
from . import formatting as fmt
from .fidelity import fidelity_words
from .page import finite, render
from .sections.baselines import baselines
from .sections.choice import choice
from .sections.gain import gain
from .sections.networks import dense_network, latency_words
from .sections.progress import progress
from .sections.removed import removed
from .sections.reproduce import reproduce
from .sections.trust import trust

if TYPE_CHECKING:
    from ..search.run_folder import Run

OPTIMIZER_TITLES = {"sgd": "SGD", "adamw": "AdamW"}
_SCRIPTS = ("theme.js", "plot.js", "charts.js", "finder.js", "removed.js")


def render_report(run: Run, out: Path | None = None) -> Path:
    """Write the report of ``run`` to ``out`` (``report.html`` in the run folder unless told) and return its path."""
    path = Path(run.path) / "report.html" if out is None else out
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, report_html(run))
    return path


def report_html(run: Run) -> str:
    """Return the report of ``run`` as HTML text (about 5 MB, nearly all of it the charting library)."""
    sections = {
        "gain": gain(run),
        "choice": choice(run),
        "baselines": baselines(run),
        "trust": trust(run),
        "removed": removed(run),
        "progress": progress(run),
        "reproduce": reproduce(run),
    }
    drawn = ("choice", "baselines", "trust", "removed", "progress")
    return render(
        "report.html.j2",
        scripts=_SCRIPTS,
        title=run.info.task_name,
        facts=_facts(run),
        conditions=_conditions(run),
        samples=fidelity_words(run),
        data=finite({name: sections[name] for name in drawn}),
        version=run.info.versions.get("espalier", metadata.version("espalier")),
        **sections,
    )


def _facts(run: Run) -> list[dict[str, str]]:
    complete = sum(t.state == "complete" for t in run.trials)
    return [
        {"label": "Device", "text": run.info.device},
        {"label": "Evaluated", "text": fmt.plural(complete, "configuration")},
        {"label": "Front", "text": fmt.plural(len(run.front.configurations), "configuration")},
        {"label": "Started", "text": run.info.created.replace("T", " ")[:16] + " UTC"},
    ]


def _conditions(run: Run) -> list[dict[str, str]]:
    options, dense = run.info.options, dense_network(run)
    facts = {
        "Device": run.info.device,
        "Runtime": _runtime(run),
        "Threads": str(options.threads_per_worker) + (" (per worker)" if options.workers > 1 else ""),
        "Workers": str(options.workers),
        "Precision": ", ".join(options.precision),
        "Dense latency": latency_words(dense.evaluation.latency_source, dense.evaluation.latency_error),
        "Fidelity": f"{fidelity_words(run)} of fine-tuning",
        "Metric": run.measure.words,
        **_training(run),
        "Seed": str(run.info.seed),
        "Sampler": options.sampler,
        "Data": f"fingerprint {run.info.data_fingerprint[:12]}",
    }
    return [{"label": label, "text": text} for label, text in facts.items()]


def _training(run: Run) -> dict[str, str]:
    """Return what networks were fine-tuned with; nothing where the run does not say."""
    found = run.info.training
    if found is None:
        return {}
    named = OPTIMIZER_TITLES.get(found["optimizer"], found["optimizer"])
    rate = "" if found["learning_rate"] is None else f", learning rate {found['learning_rate']:g}"
    return {"Optimiser": f"{named}{rate}, {found['schedule']} schedule"}


def _runtime(run: Run) -> str:
    """Return the runtime and version that latencies belong to."""
    try:
        device = load_device(run.info.device)
    except InputError:  # a device's own file may have moved since
        return fmt.NOT_MEASURED
    version = run.info.versions.get(device.runtime, "") if device.reachable else device.runtime_version
    return f"{device.runtime} {version}".strip()
