"""``finished.json``: the final numbers of a search's front, and of each baseline's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...errors import RunFolderError, describe
from ...evaluators.configuration import Configuration
from ...evaluators.evaluation import Evaluation
from ...evaluators.hardware.base import LayerCost
from ...evaluators.request import FinishedNetwork
from ...jsonfile import read_json, write_json

FINISHED = "finished.json"


def read_finished(folder: Path) -> dict[int | None, FinishedNetwork]:
    """Read ``finished.json``; empty where there is none yet."""
    path = folder / FINISHED
    if not path.exists():
        return {}
    try:
        entries = read_json(path)["networks"]
        networks = [_network(entry) for entry in entries]
    except (KeyError, TypeError) as error:
        raise RunFolderError(
            describe(
                f"{path} has no valid content ({error})", expected="what Espalier wrote", remedy="Delete it and resume."
            )
        ) from error
    return {network.trial: network for network in networks}


def write_finished(folder: Path, networks: Iterable[FinishedNetwork]) -> None:
    """Write ``finished.json`` atomically."""
    write_json(folder / FINISHED, {"version": 1, "networks": [_entry(network) for network in networks]})


def with_final_numbers(configuration: Configuration, finished: Mapping[int | None, FinishedNetwork]) -> Configuration:
    """Return the configuration with its final numbers, where it has any."""
    final = finished.get(configuration.trial)
    if final is None:
        return configuration
    return dataclasses.replace(configuration, evaluation=configuration.evaluation.with_final(final.evaluation))


def _entry(network: FinishedNetwork) -> dict[str, Any]:
    layers = [vars(layer) for layer in network.layers]
    rest = {"layers": layers, "int8_sha256": network.int8_sha256}
    return {"trial": network.trial, **network.evaluation.numbers(), **rest}


def _network(entry: Mapping[str, Any]) -> FinishedNetwork:
    layers = tuple(LayerCost(**layer) for layer in entry["layers"])
    evaluation = Evaluation(entry["metrics"], entry["latency_source"], entry["latency_error"])
    return FinishedNetwork(entry["trial"], evaluation, layers, entry.get("int8_sha256"))
