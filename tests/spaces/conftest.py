from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _register(file: str, name: str) -> None:
    """Make a module of this folder importable: with importlib's import mode a test folder is on no path."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(file))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


_register("networks.py", "espalier_test_networks")
_register("architectures.py", "espalier_test_architectures")
