"""Where candidates come from: one source to a file, asked in the order that ``steps.py`` says."""

from __future__ import annotations

from .assembly import AssembledSteps, StepParts, assemble
from .base import Candidate, GenerationStep, Running, Source, Suggestion

__all__ = [
    "AssembledSteps",
    "Candidate",
    "GenerationStep",
    "Running",
    "Source",
    "StepParts",
    "Suggestion",
    "assemble",
]
