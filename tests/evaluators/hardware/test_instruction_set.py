from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from espalier.evaluators.hardware.instruction_set import InstructionSet, extensions_of, instruction_set

EPYC_WITHOUT_VNNI = "processor\t: 0\nflags\t\t: fpu sse2 ssse3 sse4_1 avx f16c fma avx2 rdpid\n\nflags\t: avx512f\n"
XEON = "flags : sse2 ssse3 sse4_1 fma avx avx2 avx512f avx512_vnni amx_int8 amx_tile avx512_bf16\n"
CORTEX = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes asimddp i8mm\n"


def test_flags_are_those_of_the_first_processor_weakest_first() -> None:
    assert extensions_of(EPYC_WITHOUT_VNNI, "x86_64") == ("ssse3", "sse4_1", "avx", "avx2", "fma", "f16c")
    assert extensions_of(XEON, "x86_64")[-3:] == ("avx512_bf16", "avx512_vnni", "amx_int8")
    assert extensions_of(CORTEX, "aarch64") == ("asimd", "asimddp", "i8mm")


def test_none_told_is_not_none_there() -> None:
    assert extensions_of("processor : 0\nmodel name : X\n", "x86_64") is None
    assert extensions_of("flags : fpu\n", "x86_64") == ()
    assert InstructionSet("x86_64", None, {}).vnni is None
    assert InstructionSet("x86_64", (), {}).vnni is False


@pytest.mark.parametrize("flag", ["avx_vnni", "avx512_vnni"])
def test_vnni_has_two_encodings(flag: str) -> None:
    assert InstructionSet("x86_64", ("avx2", flag), {}).vnni is True
    assert "no VNNI" not in InstructionSet("x86_64", ("avx2", flag), {}).words


def test_the_line_says_what_is_there_what_is_not_and_what_is_held_down() -> None:
    found = InstructionSet("x86_64", ("avx", "avx2"), {"ATEN_CPU_CAPABILITY": "default"})
    assert str(found) == "x86_64 AVX AVX2, no VNNI, ATEN_CPU_CAPABILITY=default"
    assert str(InstructionSet("aarch64", ("asimd", "asimddp"), {})) == "aarch64 NEON dot product"
    assert "unknown: this system does not tell" in str(InstructionSet("x86_64", None, {}))


def test_this_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    found = instruction_set()
    assert found.limits["ONEDNN_MAX_CPU_ISA"] == "SSE41"
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["vnni"] == found.vnni
    if Path("/proc/cpuinfo").exists() and platform.machine() == "x86_64":
        assert found.architecture == "x86_64"
        assert found.extensions is not None
        assert ("avx2" in found.extensions) == (" avx2 " in Path("/proc/cpuinfo").read_text())


def test_it_can_be_told_without_a_heavy_import() -> None:
    code = (
        "import sys; from espalier.evaluators.hardware.instruction_set import instruction_set; instruction_set(); "
        "print(sorted({'torch', 'numpy', 'onnxruntime'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
