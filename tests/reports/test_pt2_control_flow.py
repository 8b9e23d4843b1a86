"""Programs with loops and branches of their own, computed from the archive as PyTorch computes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._higher_order_ops.map import map as over_rows
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop

from espalier.reports.pt2_archive import read_pt2
from espalier.reports.pt2_program import NotComputedError, Pt2Program
from espalier.reports.pt2_write import write_program

Body = Callable[[nn.Module, Tensor], Tensor]


def cond(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.cond(x.sum() > 0, lambda x: layer(x), lambda x: x - 1, (x,))


def counted(layer: nn.Module, x: Tensor) -> Tensor:
    def step(number: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return number + 1, torch.tanh(layer(state)) * x  # x is no part of what is carried

    return while_loop(lambda number, state: number < 3, step, (torch.zeros((), dtype=torch.int64), x))[1]


def endless(layer: nn.Module, x: Tensor) -> Tensor:
    return while_loop(lambda state: state.isfinite().all(), lambda state: (torch.tanh(layer(state)),), (x,))[0]


def rows(layer: nn.Module, x: Tensor) -> Tensor:
    return over_rows(lambda row: torch.relu(layer(row)), x)


def _step(layer: nn.Module) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return lambda state, row: (torch.tanh(state + layer(row)), state * 2)


def stacked(layer: nn.Module, x: Tensor) -> Tensor:
    return scan(_step(layer), torch.zeros(4), x, dim=0)[1]


def carried(layer: nn.Module, x: Tensor) -> Tensor:
    return scan(_step(layer), torch.zeros(4), x, dim=0)[0]


def backwards(layer: nn.Module, x: Tensor) -> Tensor:
    return scan(_step(layer), torch.zeros(4), x, dim=0, reverse=True)[1]


def several(layer: nn.Module, x: Tensor) -> Tensor:
    def step(state: dict[str, Tensor], row: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        return {"a": state["a"] + row["u"], "b": state["b"] * 2}, row["v"] + state["b"] - state["a"]

    begin = {"a": torch.zeros(4), "b": torch.ones(4)}
    return scan(step, begin, {"u": x, "v": layer(x)}, dim=0)[1]


def spectrum(layer: nn.Module, x: Tensor) -> Tensor:
    return torch.stft(layer(x).flatten(), 8, window=torch.hann_window(8), return_complex=True).abs()


class Network(nn.Module):
    def __init__(self, body: Body) -> None:
        super().__init__()
        self.layer, self.body = nn.Linear(4, 4), body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self.layer, x)


def stored(body: Body, path: Path) -> tuple[nn.Module, Pt2Program]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Network(body).eval()
        with torch.no_grad():
            write_program(torch.export.export(network, (torch.randn(5, 4),)), path)
    return network, Pt2Program(read_pt2(path))


@pytest.mark.parametrize("body", [cond, counted, rows, stacked, carried, backwards, several, spectrum])
def test_control_flow_is_computed_as_pytorch_computes_it(body: Body, tmp_path: Path) -> None:
    network, program = stored(body, tmp_path / "model.pt2")
    for seed in range(3):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            wanted = network(x)
        (found,) = program(x)
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_a_loop_that_never_ends_is_given_up(tmp_path: Path) -> None:
    stored(endless, tmp_path / "model.pt2")
    program = Pt2Program(read_pt2(tmp_path / "model.pt2"), loop_nodes=2000)
    with pytest.raises(NotComputedError, match=r"loops that compute more than 2,000 nodes.*--trust"):
        program(torch.ones(5, 4))


def test_an_operator_with_graphs_that_is_not_known_is_not_computed(tmp_path: Path) -> None:
    from torch._higher_order_ops.associative_scan import associative_scan

    def summed(layer: nn.Module, x: Tensor) -> Tensor:
        return associative_scan(lambda a, b: a + b, layer(x), dim=0, combine_mode="generic")

    with pytest.raises(NotComputedError, match=r"operators that only compute.*--trust"):
        stored(summed, tmp_path / "model.pt2")
