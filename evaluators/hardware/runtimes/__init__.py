"""Runtimes, by name: each in a file of its own, whose library is imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from ....registry import Registry
from .base import Network, ProfiledNode, Run, Runtime

__all__ = ["RUNTIMES", "Network", "ProfiledNode", "Run", "Runtime", "runtime_called"]

RUNTIMES: Registry[Callable[[], Runtime]] = Registry("runtime", group="espalier.runtimes")
"""What makes each runtime. An absent library shows, with how to install it, when the runtime is first used."""


def _add(name: str, module: str, implementation: str) -> None:
    RUNTIMES.add(name, lambda: getattr(import_module(f".{module}", __name__), implementation)())


_add("onnxruntime", "onnxruntime", "OnnxRuntime")
_add("openvino", "openvino", "OpenVino")
_add("executorch", "executorch", "ExecuTorch")
_add("litert", "litert", "LiteRt")
_add("torch", "pytorch", "PyTorch")
_add("cuda", "cuda", "Cuda")


def runtime_called(name: str) -> Runtime:
    """Return the runtime called ``name``.

    Raises:
        UnknownNameError: no runtime has that name; near names are suggested.
    """
    return RUNTIMES.get(name)()
