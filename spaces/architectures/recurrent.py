"""Recurrent layers: how their hidden units hang together, and how they are told their new sizes.

Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997; Cho et al., "Learning Phrase
Representations using RNN Encoder-Decoder", EMNLP 2014, arXiv:1406.1078.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ..graph.freeze_reasons import FreezeCode
from ..graph.groups import FrozenGroup, Group

_GATES = {"LSTM": 4, "GRU": 3}

State = tuple[torch.Tensor, torch.Tensor]
"""What one step hands to the next: hidden and, of an LSTM, cell values."""


class _SpelledOut(nn.RNNBase):
    """A recurrent layer that computes by operations that can be followed, right in shapes and labels alone.

    All time steps are taken at once, and twice: what the first makes, the second reads, as one step reads the other.
    All layers and directions are of one size, so their units go together; that they are added says so.
    """

    def forward(
        self,
        input: torch.Tensor | PackedSequence,  # noqa: A002 - called so by those who call it by name
        hx: torch.Tensor | State | None = None,
    ) -> object:
        """Return the outputs and the last states, in the shapes of the layer that this one stands for."""
        x = input.data if isinstance(input, PackedSequence) else input
        last: list[State] = []
        for layer in range(self.num_layers):
            states = [
                self._steps(x, f"l{layer}{suffix}", hx, layer * (1 + self.bidirectional) + i)
                for i, suffix in enumerate(("", "_reverse")[: 1 + self.bidirectional])
            ]
            last += states
            x = torch.cat([h for h, _ in states], -1) if self.bidirectional else states[0][0]
        for part in zip(*last, strict=True):
            functools.reduce(torch.add, part)
        ends = tuple(torch.stack([self._end(state, input) for state in part]) for part in zip(*last, strict=True))
        output = PackedSequence(x, *input[1:]) if isinstance(input, PackedSequence) else x
        return output, ends if self.mode == "LSTM" else ends[0]

    def _end(self, state: torch.Tensor, given: torch.Tensor | PackedSequence) -> torch.Tensor:
        if isinstance(given, PackedSequence):
            return state[: int(given.batch_sizes[0])]
        return state[:, -1] if self.batch_first and state.dim() == 3 else state[-1]

    def _steps(self, x: torch.Tensor, name: str, hx: torch.Tensor | State | None, index: int) -> State:
        width = self.proj_size or self.hidden_size
        if hx is None:
            state = tuple(x.new_zeros(*x.shape[:-1], size) for size in (width, self.hidden_size))
        else:
            given = hx if isinstance(hx, tuple | list) else (hx, hx)
            state = tuple(part[index].reshape(-1, part.shape[-1])[:1] for part in given)
        for _ in range(2):
            state = self._step(x, (state[0], state[1]), name)
        return state[0], state[1]

    def _step(self, x: torch.Tensor, state: State, name: str) -> State:
        hidden, cell = state
        biases = [getattr(self, f"bias_{part}_{name}") if self.bias else None for part in ("ih", "hh")]
        read = F.linear(x, getattr(self, f"weight_ih_{name}"), biases[0])
        kept = F.linear(hidden, getattr(self, f"weight_hh_{name}"), biases[1])
        if self.mode == "LSTM":
            enter, forget, new, leave = (read + kept).chunk(4, -1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            return F.linear(hidden, getattr(self, f"weight_hr_{name}")) if self.proj_size else hidden, cell
        if self.mode == "GRU":
            (reset, update, new), (old_reset, old_update, old) = read.chunk(3, -1), kept.chunk(3, -1)
            share = (update + old_update).sigmoid()
            new = (new + (reset + old_reset).sigmoid() * old).tanh()
            hidden = (1 - share) * new + share * hidden
        else:
            hidden = (read + kept).tanh()
        return hidden, hidden


class _SpelledOutLSTM(_SpelledOut, nn.LSTM):
    pass


class _SpelledOutGRU(_SpelledOut, nn.GRU):
    pass


class _SpelledOutRNN(_SpelledOut, nn.RNN):
    pass


def spell_out_(module: nn.Module) -> None:
    """Let a recurrent layer of a copy that is only traced show its operations, in place; others stay as they are."""
    found: dict[type, type] = {nn.LSTM: _SpelledOutLSTM, nn.GRU: _SpelledOutGRU, nn.RNN: _SpelledOutRNN}
    if type(module) in found:
        module.__class__ = found[type(module)]


def update_recurrent_(module: nn.RNNBase) -> None:
    """Make the sizes of a recurrent layer agree with its parameters, and its list of them hold those it has."""
    first, across = module.get_parameter("weight_ih_l0"), module.get_parameter("weight_hh_l0")
    module.input_size = first.shape[1]
    module.hidden_size = across.shape[0] // _GATES.get(module.mode, 1)
    if module.proj_size:
        module.proj_size = across.shape[1]
    module._init_flat_weights()


def without_projected(model: nn.Module, groups: Iterable[Group]) -> tuple[list[Group], list[FrozenGroup]]:
    """Return the groups, and frozen those of hidden units that an LSTM projects: PyTorch tells them by their number."""
    kept, frozen = [], []
    for group in groups:
        projected = any(
            isinstance(model.get_submodule(piece.layer), nn.LSTM)
            and piece.tensor.rpartition(".")[2].startswith("weight_hr")
            and piece.dim == 1
            for piece in group.slices
        )
        if projected:
            frozen.append(FrozenGroup.because(FreezeCode.PROJECTED.because(), group.name, group.layers, group.channels))
        else:
            kept.append(group)
    return kept, frozen
