"""The example of a regression, from ``inspect`` to an export that ONNX Runtime runs at any batch."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from .whole_path import EXAMPLES, differences, run_path


def test_a_regression_goes_from_inspect_to_a_verified_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(EXAMPLES / "regression.py", tmp_path)
    printed = run_path("regression.py:task", capsys)
    assert "RMSE in points, lower is better" in printed["search"]
    for name in ("inspect", "search", "pick", "export", "verify"):
        assert "RMSE" in printed[name], name
        assert "accuracy" not in printed[name].replace("most-accurate", ""), name
    report = re.sub(r"<script.*?</script>|<[^>]*>", "", (tmp_path / "run/report.html").read_text(), flags=re.DOTALL)
    assert "RMSE" in report
    assert "accuracy" not in report.lower()
    worst = differences(tmp_path / "out", [(1, 10), (8, 10)])
    assert max(worst.values()) < 1e-4 * 300, worst  # of outputs of up to 300 points
