from __future__ import annotations

import pytest

from espalier.search.options import SearchOptions
from espalier.search.run_search import search_subject
from espalier.testing.analytic import analytic_subject


@pytest.fixture
def search(tmp_path):
    """Search formulas: ``search(trials=..., channels=(...), subject={...}, resume=...)`` returns the run."""

    def run(*, channels=(8, 16, 16), folder="run", resume=False, progress=None, subject=None, **options):
        made = analytic_subject(*channels, **(subject or {}))
        checked = SearchOptions(**{"task": "analytic", "trials": 20, **options})
        return search_subject(made, checked, tmp_path / folder, resume=resume, progress=progress)

    return run
