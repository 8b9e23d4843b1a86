from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

# The tests' networks are shared by several files; with importlib's import mode a test folder is on no path.
_spec = importlib.util.spec_from_file_location("espalier_test_networks", Path(__file__).with_name("networks.py"))
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
sys.modules["espalier_test_networks"] = _module
_spec.loader.exec_module(_module)
