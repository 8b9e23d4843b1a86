"""Random small networks, to try what nobody thought of: see :func:`random_network` and :func:`check_random_network`."""

from __future__ import annotations

from .check import Checked, check_random_network
from .network import RandomNetwork, random_network

__all__ = ["Checked", "RandomNetwork", "check_random_network", "random_network"]
