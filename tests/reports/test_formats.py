"""Formats of an export: those built in, and one of a user's own from the search's run to `verify`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from espalier import open_run, verify
from espalier.errors import EvaluationError, UnknownNameError
from espalier.reports.export import export
from espalier.reports.formats import DEFAULT, FORMATS, checked_formats, formats_among
from espalier.reports.manifest import Manifest
from espalier.reports.parity import torch_forward


class Archive:
    """The module itself, as TorchScript."""

    file, description = "model.ts", "the network as TorchScript"

    def write(self, model, task, folder):
        with torch.no_grad():
            torch.jit.save(torch.jit.trace(model, task.example_input, check_trace=False), str(folder / self.file))
        return {}

    def forward(self, file, *, trust):
        return torch_forward(torch.jit.load(str(file)))

    def usage(self, file, input_names):
        return f"`torch.jit.load({file!r})`"


def test_formats_come_in_the_order_in_which_they_are_written():
    assert checked_formats(["safetensors", "pt2", "onnx", "pt2"]) == ("onnx", "pt2", "safetensors") == DEFAULT
    assert formats_among({"model.pt2": {}, "README.md": {}}) == ("pt2",)
    with pytest.raises(UnknownNameError, match="Did you mean 'onnx'"):
        checked_formats(["onxx"])


@pytest.mark.parametrize("name", FORMATS.names())
def test_each_names_its_file_and_says_what_it_is_and_how_to_run_it(name):
    made = FORMATS.get(name)
    assert made.file.startswith("model.")
    assert made.description
    usage = made.usage(made.file, ("first", "second"))
    assert made.file in usage
    assert "```python" in usage


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_format_of_ones_own_is_written_compared_described_and_verified(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMATS._entries, "archive", Archive())
    run = open_run(tiny_run)
    out = export(run, run.front.configurations[0].trial, tmp_path / "out", formats=("archive",), trust=True)
    manifest = Manifest.read(out)
    assert manifest.formats == ("archive",)
    assert manifest.parity["archive"]["relative"] < 1e-4
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "`model.ts`: the network as TorchScript" in card
    assert "`torch.jit.load('model.ts')`" in card
    names = {check.name: check.passed for check in verify(out, trust=True).checks}
    assert names["parity of archive with PyTorch"]


def test_what_a_format_computes_wrong_is_no_export(tiny_run, tmp_path, monkeypatch):

    class Wrong(Archive):
        def forward(self, file, *, trust):
            right = super().forward(file, trust=trust)
            return lambda inputs: [output + np.float64(0.5) for output in right(inputs)]

    monkeypatch.setitem(FORMATS._entries, "archive", Wrong())
    run = open_run(tiny_run)
    with pytest.raises(EvaluationError, match="archive"):
        export(run, run.front.configurations[0].trial, tmp_path / "out", formats=("archive",), trust=True)
    assert not (tmp_path / "out").exists()
