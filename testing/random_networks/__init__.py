"""Random small networks, to try what nobody thought of: see :func:`random_network`."""

from __future__ import annotations

from .network import RandomNetwork, random_network

__all__ = ["RandomNetwork", "random_network"]
