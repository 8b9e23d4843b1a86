"""Pages that stand alone: a template with the shared styles, scripts and charting library inlined."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, *, scripts: Sequence[str], **values: Any) -> str:
    """Return the text of ``template`` with ``values`` escaped into it.

    Args:
        template: file name in ``templates/``.
        scripts: file names in ``templates/``, run in this order after the charting library.
        values: what the template shows.
    """
    import jinja2
    from plotly.offline import get_plotlyjs

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        **values,
        css=_own("report.css"),
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the charting library's own code
        scripts=[_own(name) for name in scripts],
    )


def _own(name: str) -> Markup:
    """Return a file of this package as it is; all that a user gave is escaped."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - no user's text is in it


def finite(value: Any) -> Any:
    """Return ``value`` with every NaN and infinity as None, as JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
