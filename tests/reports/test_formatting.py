"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from espalier.reports import formatting as fmt
from espalier.reports.rank_correlation import rank_correlation


def plain(text: str) -> str:
    return text.replace("\u202f", " ").replace("\u2212", "-").replace("\u00d7", "x").replace("\u00b1", "+-")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("accuracy", 0.98765, "98.77 %"),
        ("accuracy", 23.456, "23.5"),
        ("accuracy", -0.25, "-0.250"),
        ("latency_ms", 0.41234, "0.412 ms"),
        ("latency_ms", 12.345, "12.3 ms"),
        ("latency_ms", 1234.5, "1230 ms"),
        ("size_bytes", 512, "512 B"),
        ("size_bytes", 312_744, "305 KiB"),
        ("size_bytes", 5 * 1024**2, "5.00 MiB"),
        ("macs", 12_501_632, "12.5 M"),
        ("params", 78_186, "78.2 k"),
        ("params", 999, "999"),
        ("energy_mj", 0.5, "0.500 mJ"),
        ("latency_ms", None, "not measured"),
        ("latency_ms", math.nan, "not measured"),
        ("latency_ms", math.inf, "not measured"),
        ("latency_ms", 0.0, "0 ms"),
    ],
)
def test_metric(name: str, value: float | None, expected: str) -> None:
    assert plain(fmt.metric(name, value)) == expected


@pytest.mark.parametrize(
    ("name", "value", "dense", "expected"),
    [
        ("latency_ms", 0.2, 0.4, "-50 %"),
        ("size_bytes", 150, 100, "+50 %"),
        ("latency_ms", 0.4, 0.4, "+-0 %"),
        ("accuracy", 0.97, 0.98, "-1.00 points"),
        ("accuracy", 0.98, 0.98, "+-0.00 points"),
        ("accuracy", None, 0.98, ""),
        ("latency_ms", 0.2, None, ""),
        ("latency_ms", 0.2, 0.0, ""),
    ],
)
def test_change(name: str, value: float | None, dense: float | None, expected: str) -> None:
    assert plain(fmt.change(name, value, dense)) == expected


def test_ratio_and_duration() -> None:
    assert plain(fmt.ratio(0.4, 0.2)) == "2.00x"
    assert plain(fmt.ratio(40, 2)) == "20x"
    assert fmt.ratio(None, 0.2) == fmt.ratio(0.4, None) == fmt.ratio(0.4, 0.0) == ""
    assert [plain(fmt.duration(s)) for s in (0.42, 12, 185, 7800)] == ["0.42 s", "12 s", "3 min 05 s", "2 h 10 min"]
    assert fmt.duration(None) == "not measured"


def test_rank_correlation_by_hand() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    # Rank differences 0, 1, -1, 0: 1 - 6 * 2 / (4 * 15).
    assert rank_correlation([1, 2, 3, 4], [1, 3, 2, 4]) == pytest.approx(0.8)


def test_rank_correlation_is_undefined_for_few_points_or_none_that_vary() -> None:
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    with pytest.raises(ValueError, match="pairs"):
        rank_correlation([1, 2, 3], [1, 2])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_rank_correlation_agrees_with_scipy(pairs: list[tuple[int, int]]) -> None:
    a, b = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    mine = rank_correlation(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert mine is None
    else:
        assert mine == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)
