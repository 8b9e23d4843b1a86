from __future__ import annotations

import ast
from pathlib import Path

SEARCH = Path(__file__).resolve().parents[3] / "search"
OTHER = {"cost_filter_audit.py": {"SHARE"}, "coarse_proposals.py": {"SHARE"}}
"""Shares of trials, not of time."""


def test_no_other_module_shares_out_the_time():
    for path in sorted(SEARCH.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        names = {t.id for node in body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)}
        shares = {name for name in names if name.endswith("SHARE")}
        if path.name == "shares.py":
            assert len(shares) >= 6
        else:
            assert shares <= OTHER.get(path.name, set()), path


def test_path_refinement_and_the_rest_are_one_whole():
    from espalier.search.budget.shares import PATH_SHARE, REFINEMENT_SHARE

    assert 0 < 1 - PATH_SHARE - REFINEMENT_SHARE < 0.1
