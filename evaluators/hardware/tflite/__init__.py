"""Networks as TensorFlow Lite files, for runtimes and compilers that read nothing else.

Written from the ONNX file that runs elsewhere, so that weights, scales and zero points are the same numbers.
"""

from __future__ import annotations
