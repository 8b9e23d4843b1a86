"""The example of a text network, from ``inspect`` to an export that ONNX Runtime runs at two lengths."""

from __future__ import annotations

from pathlib import Path

import pytest

from .whole_path import EXAMPLES, differences, run_path


def test_a_padded_text_network_goes_from_inspect_to_a_verified_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source = (EXAMPLES / "text_classifier.py").read_text(encoding="utf-8")
    smaller = source.replace("loader(2000,", "loader(256,").replace("loader(500,", "loader(64,")
    smaller = smaller.replace("num_layers=2", "num_layers=1")
    (tmp_path / "text_classifier.py").write_text(smaller, encoding="utf-8")
    assert (smaller.count("loader(256,"), smaller.count("loader(64,"), smaller.count("num_layers=1")) == (1, 2, 1)
    printed = run_path("text_classifier.py:task", capsys)
    assert "for any batch and length" in printed["inspect"]
    assert "AdamW" in printed["search"]
    assert "macro-F1" in printed["search"]
    assert "accuracy" not in printed["search"].replace("most-accurate", "")
    worst = differences(tmp_path / "out", [(1, 5), (8, 5), (1, 17), (8, 17)])
    assert set(worst) == {(1, 5), (8, 5), (1, 17), (8, 17)}
    assert max(worst.values()) < 1e-4, worst
