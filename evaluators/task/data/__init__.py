"""A task's data: batches from whatever form they have, what of them is input and target, and what tells them apart."""

from __future__ import annotations

from .base import Batch, Batches, count_of, several
from .datasets import DatasetBatches
from .fingerprint import fingerprint_of_data, is_random
from .forms import PARTS, DataOfTask, batches, single_inputs
from .loaders import LoaderBatches, ReadyBatches
from .memory import KEPT_BYTES
from .network_input import as_network_input, as_targets, is_cross_entropy
from .roles import TARGET_KEYS
from .tensors import TensorBatches

__all__ = [
    "KEPT_BYTES",
    "PARTS",
    "TARGET_KEYS",
    "Batch",
    "Batches",
    "DataOfTask",
    "DatasetBatches",
    "LoaderBatches",
    "ReadyBatches",
    "TensorBatches",
    "as_network_input",
    "as_targets",
    "batches",
    "count_of",
    "fingerprint_of_data",
    "is_cross_entropy",
    "is_random",
    "several",
    "single_inputs",
]
