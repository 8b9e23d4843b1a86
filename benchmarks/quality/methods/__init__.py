"""The methods that are compared. Each module registers its own; what is imported here is known."""

from __future__ import annotations

from . import (
    eagleeye,
    espalier_search,
    fastnas,
    iterative_uniform,
    netadapt,
    optuna_nsga2,
    optuna_tpe,
    torch_pruning_global,
    torch_pruning_isomorphic,
    torch_pruning_taylor,
    torch_pruning_uniform,
)

__all__ = [
    "eagleeye",
    "espalier_search",
    "fastnas",
    "iterative_uniform",
    "netadapt",
    "optuna_nsga2",
    "optuna_tpe",
    "torch_pruning_global",
    "torch_pruning_isomorphic",
    "torch_pruning_taylor",
    "torch_pruning_uniform",
]
