"""Whether a random network, exported to ONNX, computes in ONNX Runtime what it computes in PyTorch."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ...errors import EspalierError
from ...evaluators.onnx.onnx_export import export_onnx, onnx_feed
from .network import RandomNetwork
from .written_outputs import Written, distance, written

_PARITY = 1e-4


def exportable(model: nn.Module, example: torch.Tensor) -> bool:
    """Return whether the dense network can be exported; only an error made for it says that it cannot."""
    try:
        export_onnx(model, example)
    except EspalierError:
        return False
    return True


def check_export(model: nn.Module, example: torch.Tensor, *, where: str) -> None:
    """Export a network and run it.

    Where single precision alone moves the network's outputs, as normalising what is nearly zero does, the outputs may
    be as far apart as that. Indices are compared where the scores that they rank are apart by more.

    Raises:
        AssertionError: outputs have another shape or other values.
    """
    from onnxruntime import InferenceSession

    session = InferenceSession(export_onnx(model, example), providers=["CPUExecutionProvider"])
    found = [torch.as_tensor(value) for value in session.run(None, onnx_feed(example))]
    wanted, scores = _run(model, example)
    precise, precise_scores = _run(copy.deepcopy(model).double(), example.double())
    assert len(found) == len(wanted), f"{where}: {len(found)} outputs of ONNX for {len(wanted)}"
    rounding = distance(scores, precise_scores)
    sure = _sure(scores, max(_PARITY, 10 * rounding))
    for one, other, exact in zip(found, wanted, precise, strict=True):
        assert one.shape == other.tensor.shape, f"{where}: ONNX gives {other.place} the shape {tuple(one.shape)}"
        if other.tensor.is_floating_point():
            tolerance = max(_PARITY, 10 * distance(other.tensor, exact.tensor))
            apart = distance(one, other.tensor)
            assert apart <= tolerance, f"{where}: ONNX gives {other.place} {apart:.1e} apart"
        else:
            mask = sure if one.dim() == sure.dim() else sure.unsqueeze(-1)
            assert bool(((one == other.tensor) | ~mask).all()), f"{where}: ONNX gives {other.place} other numbers"


def _run(model: nn.Module, example: torch.Tensor) -> tuple[list[Written], torch.Tensor]:
    """Return the outputs, and the head's scores that any index among them ranks."""
    assert isinstance(model, RandomNetwork)
    seen: list[torch.Tensor] = []
    handle = model.head.register_forward_hook(lambda _module, _inputs, scores: seen.append(scores))  # pyright: ignore[reportArgumentType]
    try:
        with torch.no_grad():
            return written(model.eval()(example)), seen[0]
    finally:
        handle.remove()


def _sure(scores: torch.Tensor, tolerance: float) -> torch.Tensor:
    """Return, for each place, whether the three best scores are told apart whatever is rounded."""
    best = scores.topk(min(3, scores.shape[-1]), dim=-1).values
    close = (best[..., :-1] - best[..., 1:]) <= tolerance * (float(scores.abs().max()) or 1.0)
    return ~close.any(-1)
