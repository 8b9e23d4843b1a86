from __future__ import annotations

import torch
from torch import nn

from espalier.benchmarks.int8_schemes import rows_of, table
from espalier.evaluators.task.task import Task


def test_each_scheme_has_a_row_and_its_right_accuracy_is_of_exact_products() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)).eval()
        x = torch.rand(60, 16)
    targets = network(x).argmax(1)
    task = Task(name="rows", model=lambda: network, example_input=x[:1], train=(x, targets), validation=(x, targets))
    rows = rows_of(task, samples=60, rounds=3)
    assert [row["scheme"] for row in rows] == ["fp32", "u8s7", "u8s8", "u8u8", "s8s8"]
    assert rows[0]["right"] == rows[0]["here"] == 1.0
    assert all(row["right_is_exact"] and row["right"] > 0.9 and row["latency_ms"] > 0 for row in rows[1:])
    by_name = {row["scheme"]: row for row in rows}
    for safe in ("u8s7", "u8u8"):
        assert (by_name[safe]["wrong_products"], by_name[safe]["products"]) == (0, 2)
        assert by_name[safe]["here"] == by_name[safe]["right"]
    assert table(rows).count("\n") == 6
