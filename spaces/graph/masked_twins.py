"""Comparing one pruned copy of a network with the original in which the same channels are zeroed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import nn

from ..architectures.head_dims import rescale_
from ..inputs import map_tensors
from .comparison import difference, finite_alike, values_of
from .copying import copied
from .freeze_reasons import FreezeCode, FreezeReason
from .outcomes import DenseOutcome, fault_of, gradients_of, with_integers
from .output_shapes import OutputShapes
from .passes import ForwardPass, Outcome, run
from .random_numbers import Draws
from .slicing import Removed, positions_of, without, zeroed

TOLERANCE = 1e-5
"""Largest difference, relative to the largest output, between a pruned network and its masked twin."""
_ROUNDING = 1e-2
"""A difference below this in single precision may be rounding; double precision decides."""
_TRAINING_TOLERANCE = 1e-3
"""The same in training mode, where BatchNorm divides by what two samples differ in: 3e-5 for a ResNet."""


@dataclass
class MaskedTwins:
    """Compares pruned copies of one network with their masked twins."""

    model: nn.Module
    """One's own: its parameters may move in memory."""
    moved: set[str]
    """Parameters of which some output was seen to depend."""

    def objection(
        self,
        removed: Removed,
        forward: ForwardPass,
        dense: DenseOutcome,
        *,
        exact: bool,
        gradients: bool,
        rescaled: bool = False,
    ) -> FreezeReason | None:
        """Return why ``removed`` cannot go, or ``None`` where the pruned network agrees with its masked twin.

        Args:
            removed: what is cut.
            forward: how both networks run.
            dense: what the dense network gives then.
            exact: whether values are compared; else shapes alone, and that nothing is infinite.
            gradients: whether the pruned network also runs backwards.
            rescaled: whether the masked twin divides attention by the width that the pruned network has.
        """
        found: list[tuple[Outcome, list[torch.Tensor]]] = []

        def attempt() -> None:
            small = without(self.model, removed, lazy=True)
            outcome = run(small, forward, like=dense.draws, gradients=gradients, watch_integers=dense.all_integers)
            if gradients:
                self._note_gradients(small, outcome)
            found.append((outcome, values_of(outcome.outputs)))

        fault = fault_of(attempt)
        if fault is not None:
            return FreezeCode.DOES_NOT_RUN.because(fault=fault)
        outcome, values = found[0]
        objection = dense.shapes.objection(outcome.outputs) if not exact else None
        if objection is not None:
            return FreezeCode.OUTPUT_SHAPE.because(objection=objection)
        if not exact:
            return None if finite_alike(values, dense.values) else FreezeCode.NOT_FINITE.because()
        twin = self._twin(self.model, removed, rescaled=rescaled)
        double = partial(self._difference_in_double, removed, forward, dense.draws, rescaled=rescaled)
        return self._against_twin(twin, forward, outcome, values, double)

    def _against_twin(
        self,
        masked: nn.Module,
        forward: ForwardPass,
        small: Outcome,
        values: list[torch.Tensor],
        in_double: Callable[[float], float],
    ) -> FreezeReason | None:
        twin = run(masked, forward, like=small.draws, watch_integers=bool(small.decided_by))
        objection = OutputShapes.of(twin.outputs).objection(small.outputs)
        if objection is not None:
            return FreezeCode.OUTPUT_SHAPE.because(objection=objection)
        wanted = values_of(twin.outputs)
        if not finite_alike(values, wanted):
            return FreezeCode.NOT_FINITE.because()
        apart = difference(*with_integers(small, values, twin, wanted))
        if apart is None:
            return FreezeCode.NOTHING_COMPARED.because()
        tolerance, rounding = (_TRAINING_TOLERANCE, 1.0) if forward.training else (TOLERANCE, _ROUNDING)
        if tolerance < apart < rounding:
            apart = in_double(apart)
        if apart <= tolerance:
            return None
        if small.draws.unaligned or twin.draws.unaligned:
            return FreezeCode.RANDOM.because()
        return FreezeCode.DIFFERS.because(difference=f"{apart:.1e}")

    def _note_gradients(self, network: nn.Module, outcome: Outcome) -> None:
        self.moved.update(name for name, g in gradients_of(network, outcome).items() if bool(g.any()))

    @staticmethod
    def _twin(model: nn.Module, removed: Removed, *, rescaled: bool) -> nn.Module:
        twin = zeroed(model, positions_of(removed), lazy=True)
        if rescaled:
            rescale_(twin, removed)
        return twin

    @cached_property
    def _double(self) -> nn.Module:
        return copied(self.model).double()

    def _difference_in_double(
        self, removed: Removed, forward: ForwardPass, draws: Draws, single: float, *, rescaled: bool
    ) -> float:
        wide = map_tensors(lambda t: t.double() if t.is_floating_point() else t, forward.inputs)
        forward = replace(forward, inputs=wide)
        found: list[float | None] = []

        def compare() -> None:
            small = run(without(self._double, removed, lazy=True), forward, like=draws)
            twin = run(self._twin(self._double, removed, rescaled=rescaled), forward, like=small.draws)
            found.append(difference(values_of(small.outputs), values_of(twin.outputs)))

        # A network that is written for single precision alone keeps what that precision says.
        return single if fault_of(compare) is not None or found[0] is None else found[0]
