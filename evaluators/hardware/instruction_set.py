"""Which instructions this processor has for the arithmetic of networks: what int8 sums and their speed depend on.

Read from what Linux tells of the processor. Nothing heavy is imported, so that a test's header can print it too.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_CPU_INFO = Path("/proc/cpuinfo")
_ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
_NAMES: Mapping[str, Mapping[str, str]] = {
    "x86_64": {
        "ssse3": "SSSE3",
        "sse4_1": "SSE4.1",
        "avx": "AVX",
        "avx2": "AVX2",
        "fma": "FMA",
        "f16c": "F16C",
        "avx512f": "AVX-512",
        "avx512_bf16": "AVX-512 BF16",
        "avx_vnni": "AVX-VNNI",
        "avx512_vnni": "AVX-512 VNNI",
        "amx_int8": "AMX-INT8",
        "amx_bf16": "AMX-BF16",
    },
    "aarch64": {"asimd": "NEON", "asimddp": "dot product", "i8mm": "I8MM", "bf16": "BF16", "sve": "SVE", "sme": "SME"},
}
"""Flags of ``/proc/cpuinfo`` that matter here, weakest first, and what their makers call them."""
_VNNI = frozenset({"avx_vnni", "avx512_vnni"})
_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


@dataclass(frozen=True)
class InstructionSet:
    """What a processor can do, as far as the system tells."""

    architecture: str
    """Such as ``x86_64`` or ``aarch64``."""
    extensions: tuple[str, ...] | None
    """The flags that matter here, weakest first; ``None`` where the system does not tell any."""
    limits: Mapping[str, str]
    """Environment variables that hold PyTorch's kernels below what the processor has; ONNX Runtime heeds none."""

    @property
    def vnni(self) -> bool | None:
        """Whether it sums int8 products in 32 bits in one instruction; ``None`` where the system does not tell.

        An x86 processor without it sums pairs of such products in 16 bits, which saturate (``pmaddubsw``).
        """
        return None if self.extensions is None else bool({*self.extensions} & _VNNI)

    @property
    def words(self) -> str:
        """One line for people: the architecture, its extensions, what is missing, and what is held down."""
        limits = "".join(f", {name}={value}" for name, value in self.limits.items())
        if self.extensions is None:
            return f"{self.architecture}, extensions unknown: this system does not tell{limits}"
        names = _NAMES.get(self.architecture, {})
        told = " ".join(names[flag] for flag in self.extensions) or "no extensions known here"
        lacking = ", no VNNI" if self.architecture == "x86_64" and not self.vnni else ""
        return f"{self.architecture} {told}{lacking}{limits}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "architecture": self.architecture,
            "extensions": None if self.extensions is None else list(self.extensions),
            "vnni": self.vnni,
            "limits": dict(self.limits),
        }

    def __str__(self) -> str:
        return self.words


def instruction_set() -> InstructionSet:
    """Return this processor's instruction set, and what the environment holds it down to."""
    limits = {name: os.environ[name] for name in _LIMITS if os.environ.get(name)}
    return InstructionSet(_architecture(), _own_extensions(), limits)


def extensions_of(cpu_info: str, architecture: str) -> tuple[str, ...] | None:
    """Return the flags that matter here of the first processor in the text of a ``/proc/cpuinfo``.

    ``None`` where the text has no line of flags, so that "none" and "not told" differ.
    """
    for line in cpu_info.splitlines():
        key, found, value = line.partition(":")
        if found and key.strip().lower() in ("flags", "features"):
            flags = {*value.split()}
            return tuple(flag for flag in _NAMES.get(architecture, {}) if flag in flags)
    return None


def _architecture() -> str:
    machine = platform.machine().lower() or "unknown architecture"
    return _ARCHITECTURES.get(machine, machine)


@cache
def _own_extensions() -> tuple[str, ...] | None:
    try:
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux, or a sandbox without /proc
        return None
    return extensions_of(text, _architecture())
