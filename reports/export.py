"""Writes a configuration of a run as a folder that can be handed over."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..errors import InputError, describe
from ..evaluators.hardware.device import load_device
from ..evaluators.objectives import Constraint
from ..evaluators.task.data import batches
from ..evaluators.task.example_inputs import example_inputs
from ..evaluators.task.task import Task
from ..evaluators.task.task_checks import data_fingerprint, is_same_score
from ..evaluators.task.task_loading import load_task
from ..evaluators.task.trust import refuse_untrusted
from ..evaluators.training.fine_tune import fine_tune
from ..evaluators.training.scoring import score
from ..evaluators.training.threads import torch_threads
from .export_files import Subject, write_files
from .formats import DEFAULT, checked_formats
from .load import Rebuilt, read_weights, rebuild_from, refuse_other_network

if TYPE_CHECKING:
    from ..search.run_folder import Run


def export(
    run: Run,
    pick: str | int,
    out: Path | str,
    *,
    constraints: Sequence[Constraint | str] = (),
    formats: Sequence[str] = DEFAULT,
    fine_tune_epochs: int = 0,
    task: Task | None = None,
    data: Path | str | None = None,
    trust: bool = False,
) -> Path:
    """Write the configuration ``pick`` of ``run`` to the folder ``out`` and return its path.

    The folder appears whole or not at all. The network is measured again as exported, beside what the run claims.

    Args:
        run: the run.
        pick: ``knee``, ``fastest``, ``smallest``, ``most-accurate`` or a trial's number.
        out: absent, or an empty folder.
        constraints: further bounds under which the pick is taken.
        formats: of ``onnx``, ``pt2`` and ``safetensors``; weights and policy always are, for ``load``.
        fine_tune_epochs: epochs over the training data that the network is trained further before it is written.
        task: the task, where the search was given a Python object or was not run by this user on this machine.
        data: where the task's data lies; by default where the search found it.
        trust: import the task that the run's folder names, whoever wrote that.

    Raises:
        InputError: ``out`` cannot be used, a format or pick is unknown, the task is not the one that was searched, or
            is named by a run that is not the user's own.
        EvaluationError: an exported program does not compute what the PyTorch network computes.
    """
    out = Path(out)
    wanted = checked_formats(formats)
    _check_epochs(fine_tune_epochs)
    check_free(out)
    with torch_threads(run.info.options.threads_per_worker):
        subject = _subject(
            run, str(pick), _parsed(constraints), task or task_of_run(run, data, trust=trust), fine_tune_epochs
        )
        with _beside(out) as folder:
            write_files(subject, folder, wanted, command_out=out)
    return out


def check_free(out: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        InputError: ``out`` is a file or a folder with content.
    """
    if out.is_dir() and not any(out.iterdir()):
        return
    if out.exists():
        raise InputError(
            describe(f"{out} exists already", expected="an absent or empty folder", remedy="Choose another --out.")
        )


def _check_epochs(epochs: int) -> None:
    if epochs < 0:
        raise InputError(
            describe(f"{epochs} epochs of fine-tuning", expected="0 or more", remedy="Give --fine-tune 0 or more.")
        )


def _parsed(constraints: Sequence[Constraint | str]) -> tuple[Constraint, ...]:
    return tuple(c if isinstance(c, Constraint) else Constraint.parse(c) for c in constraints)


def task_of_run(run: Run, data: Path | str | None = None, *, trust: bool = False) -> Task:
    """Return the task of a run, loaded again: what the user searched with here, or whatever it names with ``trust``.

    Raises:
        InputError: the run was searched with a Python object, names somebody else's task, or it cannot be loaded.
    """
    if run.info.task_reference is None:
        raise InputError(
            describe(
                f"{run.path} was searched with a task given as a Python object ({run.info.task_name!r})",
                expected="that task",
                remedy="From Python, call export(run, pick, out, task=...).",
            )
        )
    if not trust:
        remedy = "Name it with --task, or give --trust (from Python task=... or trust=True)."
        refuse_untrusted(run.info.task_reference, run.path, run=run.info.study_name, remedy=remedy)
    place = data or run.info.options.data
    return load_task(run.info.task_reference, data=None if place is None else Path(place))


def _subject(run: Run, pick: str, constraints: tuple[Constraint, ...], task: Task, epochs: int) -> Subject:
    configuration = run.pick(pick, constraints)
    dense = task.model().eval()
    refuse_other_network(dense, run.info.model_fingerprint, where=str(run.path), task=task.name)
    refuse_other_data(run, task)
    weights = run.weights_path(configuration.trial)
    if weights is None:
        raise InputError(
            describe(
                f"{run.path} holds no weights of trial {configuration.trial}",
                expected="a member of the front with its weights",
                remedy="Resume the search to its end, or pick another trial.",
            )
        )
    rebuilt = rebuild_from(
        dense,
        example_inputs(task),
        configuration.policy,
        rankings=run.rankings,
        freeze=task.freeze,
        weights=read_weights(weights),
        where=str(run.path),
    )
    return Subject(
        run=run,
        pick=pick,
        constraints=constraints,
        configuration=configuration,
        task=task,
        device=load_device(run.info.options.device),
        dense=dense,
        model=_trained(rebuilt, task, epochs, seed=run.info.seed),
        masks=rebuilt.masks,
        fine_tune_epochs=epochs,
    )


def refuse_other_data(run: Run, task: Task) -> None:
    """Check that ``task`` holds the data that ``run`` was searched with.

    Data that look changed pass with a warning where the dense network scores on them as it did in the run.

    Raises:
        InputError: it holds other data.
    """
    found = data_fingerprint(task)
    if found == run.info.data_fingerprint:
        return
    changed = f"the data of task {task.name!r} have fingerprint {found}, {run.path} has {run.info.data_fingerprint}"
    known = run.info.dense.metrics.get("accuracy")
    if is_same_score(score(task.model().eval(), task, task.validation), known):
        warnings.warn(f"{changed}; the dense network scores on them as it did in the run.", stacklevel=2)
        return
    raise InputError(
        describe(
            changed,
            expected="the data that was searched with, as the scores are of it",
            remedy="Restore it, or name its folder with --data.",
        )
    )


def _trained(rebuilt: Rebuilt, task: Task, epochs: int, *, seed: int) -> torch.nn.Module:
    if epochs == 0:
        return rebuilt.model
    samples = epochs * batches(task.train, name="train", task=task).samples
    return fine_tune(rebuilt.model, task, samples, torch.Generator().manual_seed(seed), masks=rebuilt.masks)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """Yield a folder beside ``out`` that takes its place once it is whole; a kill leaves ``out`` as it was."""
    folder = out.absolute().with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        folder.mkdir(parents=True)
        yield folder
        folder.replace(out)
    except OSError as error:
        raise InputError(
            describe(f"{out} cannot be written ({error})", expected="a writable place", remedy="Choose another --out.")
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
