"""Down to zero in a straight line."""

from __future__ import annotations


def linear(gone: float) -> float:
    """Return the share of the peak once ``gone`` of the way is behind."""
    return 1.0 - gone
