"""A run's folder: all that is needed to resume, report, compare and export a search. Reports read nothing else of it.

``run.json`` says what the run is; ``study.journal`` holds its trials; ``policies/N.json`` and ``weights/N.safetensors``
their policies and, for members of the front, weights; ``rankings.json`` the order in which channels are kept;
``finished.json`` the final numbers; ``baselines`` what they are held against; ``log.jsonl`` what happened when.
"""

from __future__ import annotations

from ..options import SearchOptions
from .audit_record import Audit, AuditedNetwork
from .baseline_record import Baseline
from .event_log import DOUBT_EVENT
from .finished_networks import FINISHED, read_finished, write_finished
from .origin import Origin, OriginKind
from .run import Run, open_run
from .run_info import FrozenSummary, GraphSummary, GroupSummary, RunInfo
from .trial_record import TrialRecord

__all__ = [
    "DOUBT_EVENT",
    "FINISHED",
    "Audit",
    "AuditedNetwork",
    "Baseline",
    "FrozenSummary",
    "GraphSummary",
    "GroupSummary",
    "Origin",
    "OriginKind",
    "Run",
    "RunInfo",
    "SearchOptions",
    "TrialRecord",
    "open_run",
    "read_finished",
    "write_finished",
]
