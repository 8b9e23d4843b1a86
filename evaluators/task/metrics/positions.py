"""Which tensor of the outputs counts, and which positions of it: classes, targets, masks and labels to ignore."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ....errors import EvaluationError, describe

LOGITS = "logits"
_TARGETS = ("labels", "label", "targets", "target")


@dataclass(frozen=True)
class Positions:
    """Lines outputs up with targets, for built-in metrics and losses."""

    ignore_index: int | None = None
    """A label whose positions do not count, such as -100."""
    mask: str | None = None
    """The entry of targets that are a dict which is above zero where a position counts."""
    class_dim: int | None = None
    """The outputs' dimension of classes: 1 as in ``F.cross_entropy``, -1 as in token classification. ``None``: found
    by the shapes."""

    def labelled(self, outputs: Any, targets: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scores and labels that count, for classification.

        Args:
            outputs: logits, shape ``(N, C)``, ``(N, C, ...)`` or ``(N, ..., C)``; for two classes ``(N, ...)`` or with
                one channel; or a structure of which they are the ``logits`` or the only tensor.
            targets: class indices, shape ``(N, ...)``; or a dict of them and a mask.

        Returns:
            Scores of shape ``(M, C)``, or ``(M,)`` where one logit tells two classes, and labels of shape ``(M,)``.

        Raises:
            EvaluationError: shapes do not fit, or a label is no class.
        """
        scores, labels, mask = self._parts(outputs, targets)
        if labels.dim() > 1 and labels.shape[1] == 1 and labels.dim() >= scores.dim() and labels.shape != scores.shape:
            mask = mask.squeeze(1) if mask is not None and mask.shape == labels.shape else mask
            labels = labels.squeeze(1)
        scores = self.classes_last(scores, labels)
        if scores.shape == labels.shape and scores.dim() == 2 and _one_hot(labels):
            labels = labels.argmax(-1)
        if scores.shape[:-1] == labels.shape:
            flat = scores.flatten(0, -2) if scores.dim() > 1 else scores[None]
            flat = flat[:, 0] if flat.shape[-1] == 1 else flat
        elif scores.shape == labels.shape:
            flat = scores.flatten()
        else:
            raise _unfit(scores, labels, "logits (N, C), (N, C, ...) or (N, ..., C) and class indices (N, ...)")
        counted = self._counted(labels, mask)
        flat, labels = flat[counted], labels.flatten()[counted]
        _check_labels(labels, flat)
        return flat, labels.long()

    def paired(self, outputs: Any, targets: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the values that count and their targets, for regression: both of shape ``(M,)``, in fp64.

        Raises:
            EvaluationError: the shapes do not fit; nothing is broadcast.
        """
        values, wanted, mask = self._parts(outputs, targets)
        if values.shape != wanted.shape:
            values, wanted = (t.squeeze(-1) if t.dim() > 1 and t.shape[-1] == 1 else t for t in (values, wanted))
        if values.shape != wanted.shape:
            raise _unfit(values, wanted, "outputs and targets of the same shape")
        if mask is not None:
            rows = mask.bool()
            if rows.shape != wanted.shape[: rows.dim()]:
                raise _unfit(rows, wanted, "a mask over the targets' first dimensions")
            values, wanted = values[rows], wanted[rows]
        return values.flatten().double(), wanted.flatten().double()

    def classes_last(self, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return ``scores`` with their classes in the last dimension, or as they are where there is no such dimension.

        Raises:
            EvaluationError: the shapes do not say which dimension that is.
        """
        if scores.dim() != labels.dim() + 1 or scores.dim() == 2:
            return scores
        first = scores.shape[:1] + scores.shape[2:] == labels.shape
        last = scores.shape[:-1] == labels.shape
        if self.class_dim is None and first and last and scores.dim() == 3:
            raise EvaluationError(
                describe(
                    f"outputs of shape {tuple(scores.shape)}, in which either of two dimensions may be the classes",
                    expected="shapes that tell",
                    remedy="Say which by the task's class_dim: 1, or -1 for the last.",
                )
            )
        in_front = first if self.class_dim is None else self.class_dim == 1
        return scores.movedim(1, -1) if in_front else scores

    def _parts(self, outputs: Any, targets: Any) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        labels, mask = self._targets(targets)
        return main_output(outputs), labels, mask

    def targets_of(self, targets: Any) -> torch.Tensor:
        """Return what the outputs are held against, without a mask."""
        return self._targets(targets)[0]

    def mask_of(self, targets: Any) -> torch.Tensor | None:
        """Return the mask among the targets; ``None`` where the task names none."""
        return self._targets(targets)[1]

    def _targets(self, targets: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        if isinstance(targets, torch.Tensor):
            if self.mask is not None:
                raise _no_entry(self.mask, "a tensor")
            return targets, None
        if not isinstance(targets, Mapping):
            raise EvaluationError(
                describe(
                    f"targets of type {type(targets).__name__}",
                    expected="a tensor, or a dict of tensors",
                    remedy="Give the task a loss and a metric of its own.",
                )
            )
        if self.mask is not None and self.mask not in targets:
            raise _no_entry(self.mask, f"a dict of {', '.join(map(str, targets))}")
        mask = None if self.mask is None else targets[self.mask]
        found = {name: t for name, t in targets.items() if name != self.mask and isinstance(t, torch.Tensor)}
        named = next((found[name] for name in _TARGETS if name in found), None)
        if named is None and len(found) != 1:
            raise EvaluationError(
                describe(
                    f"targets with {', '.join(map(str, found)) or 'no tensor'}",
                    expected="one tensor, or one called labels or targets",
                    remedy="Name it so, name the mask by the task's mask, or give a loss and a metric of its own.",
                )
            )
        return (next(iter(found.values())) if named is None else named), mask

    def _counted(self, labels: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        counted = torch.ones(labels.numel(), dtype=torch.bool)
        if mask is not None:
            if mask.shape != labels.shape:
                raise _unfit(mask, labels, "a mask of the targets' shape")
            counted &= mask.flatten().bool()
        if self.ignore_index is not None:
            counted &= labels.flatten() != self.ignore_index
        return counted


def main_output(outputs: Any) -> torch.Tensor:
    """Return the tensor that built-in metrics and losses look at: the only one, or that called ``logits``.

    Raises:
        EvaluationError: there are several, and none is called so.
    """
    if isinstance(outputs, torch.Tensor):
        return outputs
    named = _fields(outputs)
    if isinstance(named.get(LOGITS), torch.Tensor):
        return named[LOGITS]
    tensors = {name: value for name, value in named.items() if isinstance(value, torch.Tensor)}
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    raise EvaluationError(
        describe(
            f"outputs with {', '.join(map(str, tensors)) or 'no tensor of their own'}",
            expected=f"one tensor, or one called {LOGITS}",
            remedy="Give the task a loss and a metric that take the outputs as they are.",
        )
    )


def _fields(outputs: Any) -> Mapping[Any, Any]:
    """Return what a structure holds, by name or place."""
    if isinstance(outputs, Mapping):
        return outputs
    if dataclasses.is_dataclass(outputs):
        return {field.name: getattr(outputs, field.name) for field in dataclasses.fields(outputs)}
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return dict(zip(outputs._fields, outputs, strict=True))  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(outputs, (tuple, list)):
        return dict(enumerate(outputs))
    return vars(outputs) if hasattr(outputs, "__dict__") else {}


def _one_hot(labels: torch.Tensor) -> bool:
    if not labels.is_floating_point() or labels.shape[1] == 1:
        return False
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())


def _check_labels(labels: torch.Tensor, scores: torch.Tensor) -> None:
    if not len(labels):
        return
    classes = scores.shape[1] if scores.dim() == 2 else 2
    low, high = float(labels.min()), float(labels.max())
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise EvaluationError(
            describe(
                f"target {wrong:g} among {classes} classes",
                expected=f"class indices in 0..{classes - 1}",
                remedy=f"If such positions do not count, say ignore_index={wrong:g} in the task.",
            )
        )


def _unfit(outputs: torch.Tensor, targets: torch.Tensor, expected: str) -> EvaluationError:
    return EvaluationError(
        describe(
            f"shapes {tuple(outputs.shape)} and {tuple(targets.shape)} do not fit",
            expected=expected,
            remedy="Give the task a loss and a metric of its own, or other targets.",
        )
    )


def _no_entry(mask: str, found: str) -> EvaluationError:
    return EvaluationError(
        describe(
            f"no mask {mask!r} in targets that are {found}",
            expected="targets as a dict with that entry",
            remedy="Put the mask beside the labels, or leave the task's mask out.",
        )
    )
