"""Exports from somebody who means harm: nothing of them is executed, read from elsewhere or believed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from espalier.cli.main import main
from espalier.errors import EvaluationError, InputError
from espalier.evaluators.task.task_loading import load_task
from espalier.reports.load import load
from espalier.reports.manifest import Manifest, digest
from espalier.reports.pt2_archive import UnsafeFileError, read_pt2
from espalier.reports.pt2_program import NotComputedError, Pt2Program, function_of
from espalier.reports.pt2_write import write_program
from espalier.reports.verify import verify


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch '{self.marker}'",)


@pytest.fixture
def marker(tmp_path):
    """Where a file appears if something was executed."""
    return tmp_path / "executed"


@pytest.fixture
def copy(tiny_export, tmp_path):
    """An export that a test may alter."""
    return Path(shutil.copytree(tiny_export, tmp_path / "copy"))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The archive of a small program, written as an export writes it."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()).eval()
    path = tmp_path_factory.mktemp("archive") / "model.pt2"
    write_program(torch.export.export(network, (torch.zeros(1, 4),)), path)
    return path


def resealed(folder: Path, **changes) -> Path:
    """Make the manifest agree with the files as they now lie there."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        manifest["files"][name] = {"sha256": digest(folder / name), "bytes": (folder / name).stat().st_size}
    path.write_text(json.dumps({**manifest, **changes}))
    return folder


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], root: str = "model") -> None:
    """Write a zip archive again after ``change`` has altered its entries, named below their root folder."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename.partition("/")[2]: archive.read(info) for info in archive.infolist()}
    change(entries)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(f"{root}/{name}", content)


def torch_pickle(marker: Path) -> bytes:
    import io

    stream = io.BytesIO()
    torch.save((Touch(marker),), stream)
    return stream.getvalue()


def _config(entries: dict[str, bytes], place: str, change: Callable[[dict], None]) -> None:
    content = json.loads(entries[place])
    change(content)
    entries[place] = json.dumps(content).encode()


def sample_inputs(entries, marker):
    entries["data/sample_inputs/model.pt"] = torch_pickle(marker)


def pickled_weight(entries, marker):
    entries["data/weights/weight_0"] = torch_pickle(marker)
    place = "data/weights/model_weights_config.json"
    _config(entries, place, lambda c: next(iter(c["config"].values())).update(use_pickle=True))


def legacy_weights(entries, marker):
    entries["data/weights/model.pt"] = torch_pickle(marker)


def legacy_constants(entries, marker):
    entries["data/constants/model.pt"] = torch_pickle(marker)


def _constant(entries, file, content):
    entries[f"data/constants/{file}"] = content
    meta = {"path_name": file, "is_param": False, "use_pickle": True, "tensor_meta": None}
    _config(entries, "data/constants/model_constants_config.json", lambda c: c["config"].update(extra=meta))


def pickled_constant(entries, marker):
    _constant(entries, "tensor_0", torch_pickle(marker))


def custom_object(entries, marker):
    _constant(entries, "custom_obj_0", torch_pickle(marker))


def opaque_object(entries, marker):
    _constant(entries, "opaque_obj_0", pickle.dumps(Touch(marker)))


def compiled(entries, marker):
    entries["data/aotinductor/model/model.so"] = b"\x7fELF"


def extra_file(entries, marker):
    entries["extra/evil.pt"] = torch_pickle(marker)


def older_format(entries, marker):
    entries.clear()
    entries.update({"version": b"8.0", "serialized_state_dict.pt": torch_pickle(marker)})


@pytest.mark.parametrize(
    "attack",
    [
        sample_inputs, pickled_weight, legacy_weights, legacy_constants, pickled_constant, custom_object,
        opaque_object, compiled, extra_file, older_format,
    ],
    ids=lambda attack: attack.__name__,
)  # fmt: skip
def test_a_pickle_anywhere_in_the_archive_is_refused_unread(archive, marker, tmp_path, attack):
    path = Path(shutil.copy(archive, tmp_path / "model.pt2"))
    rewritten(path, lambda entries: attack(entries, marker))
    with pytest.raises(UnsafeFileError, match=r"model\.pt2"):
        read_pt2(path)
    assert not marker.exists()


def _edited(change: Callable[[dict, str], None]) -> Callable[[dict[str, bytes], Path], None]:
    def attack(entries: dict[str, bytes], marker: Path) -> None:
        command = f"touch '{marker}'"
        _config(entries, "models/model.json", lambda program: change(program, command))

    return attack


def _call_of_os(program, command):
    node = program["graph_module"]["graph"]["nodes"][0]
    node.update(target="torch.os.system", inputs=[{"name": "c", "arg": {"as_string": command}, "kind": 1}])


def _guard(program, command):
    program["guards_code"] = [f"__import__('os').system({command!r}) or True"]


def _size(program, command):
    text = f"__import__('os').system({command!r})"
    program["graph_module"]["graph"]["sym_int_values"] = {"s": {"as_expr": {"expr_str": text, "hint": None}}}


def _name(program, command):
    program["graph_module"]["graph"]["nodes"][0]["name"] = f"x = __import__('os').system({command!r}); y"


@pytest.mark.parametrize("change", [_call_of_os, _guard, _size, _name], ids=lambda c: c.__name__)
def test_what_a_program_says_is_computed_and_never_run_as_code(archive, marker, tmp_path, change):
    path = Path(shutil.copy(archive, tmp_path / "model.pt2"))
    rewritten(path, lambda entries: _edited(change)(entries, marker))
    if change is _call_of_os:
        with pytest.raises(NotComputedError, match=r"torch\.os\.system"):
            Pt2Program(read_pt2(path))
    else:
        assert len(Pt2Program(read_pt2(path))(torch.ones(1, 4))) == 1
    assert not marker.exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("graph_module"), lambda p: p["graph_module"].update(graph=[]),
        lambda p: p["graph_module"]["graph"]["nodes"][0].update(inputs=[{"name": "x"}]),
        lambda p: p["graph_module"]["graph"]["nodes"][0].update(target=7),
    ],
)  # fmt: skip
def test_a_malformed_program_is_refused(archive, tmp_path, change):
    path = Path(shutil.copy(archive, tmp_path / "model.pt2"))
    rewritten(path, lambda entries: _config(entries, "models/model.json", change))
    with pytest.raises(UnsafeFileError, match="malformed"):
        Pt2Program(read_pt2(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["graph_module"]["graph"]["nodes"][0]["inputs"].clear(),
        lambda p: p["graph_module"]["graph"]["nodes"][0]["inputs"][0]["arg"].update(as_tensor={"name": "gone"}),
        lambda p: p["graph_module"]["signature"]["input_specs"].pop(),
    ],
)
def test_a_program_that_does_not_run_is_an_error_in_one_line(archive, tmp_path, change):
    path = Path(shutil.copy(archive, tmp_path / "model.pt2"))
    rewritten(path, lambda entries: _config(entries, "models/model.json", change))
    with pytest.raises(EvaluationError, match="cannot be computed"):
        Pt2Program(read_pt2(path))(torch.ones(1, 4))


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system", "torch.hub.load", "_operator.attrgetter", "_operator.methodcaller", "os.system", "#a.b",
        "torch.ops.aten.from_file.default", "torch.ops.aten.save.default", "torch.ops.aten.__class__.mro",
        "torch.ops.load_library", "torch.ops.aten._print.default", "torch.ops.aten.warn.default",
    ],
)  # fmt: skip
def test_only_operators_that_compute_have_a_function(target):
    with pytest.raises(NotComputedError):
        function_of(target)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda e: e.update({"data/weights/weight_1": e["data/weights/weight_1"] + bytes(4)}), "16 bytes in weight_1"),
        (lambda e: e.update({"data/weights/weight_9": bytes(8)}), "8 bytes in weight_9"),
        (lambda e: e.update({"models/model.json": b"{"}), "torn"),
        (lambda e: e.pop("models/model.json"), "torn"),
    ],
)
def test_a_tensor_larger_than_its_shape_and_a_torn_archive_are_refused(archive, tmp_path, fault, words):
    path = Path(shutil.copy(archive, tmp_path / "model.pt2"))
    rewritten(path, fault)
    with pytest.raises(UnsafeFileError, match=words):
        read_pt2(path)


def test_a_compressed_archive_is_refused_as_it_could_unpack_to_anything(tmp_path):
    path = tmp_path / "model.pt2"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/models/model.json", bytes(10**7))
    with pytest.raises(UnsafeFileError, match="compressed"):
        read_pt2(path)


class Joined(torch.nn.Module):
    """Two inputs by name, sizes that vary, a subgraph, in-place work and a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(20, 8)
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.register_buffer("shift", torch.arange(8.0), persistent=False)

    def forward(self, ids, mask):
        x = self.layer(self.embed(ids), src_key_padding_mask=mask == 0)
        with torch.autocast("cpu", enabled=False):
            y = x.clone()
        y += torch.arange(ids.shape[1], dtype=torch.float32)[None, :, None] / ids.shape[1]
        return {
            "mixed": torch.einsum("bij,bkj->bik", y, y),
            "top": (y + self.shift).max(-1).values,
            "parts": y.split(4, -1),
        }


def test_a_program_is_computed_as_pytorch_computes_it(tmp_path):
    torch.manual_seed(0)
    network = Joined().eval()
    example = {"ids": torch.ones(2, 5, dtype=torch.int64), "mask": torch.ones(2, 5, dtype=torch.int64)}
    sizes = {name: {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO} for name in example}
    path = tmp_path / "model.pt2"
    write_program(torch.export.export(network, (), example, dynamic_shapes=sizes), path)
    program = Pt2Program(read_pt2(path))
    for batch, length in ((2, 5), (4, 7)):
        ids, mask = torch.randint(0, 20, (batch, length)), torch.ones(batch, length, dtype=torch.int64)
        mask[0, 3:] = 0
        with torch.no_grad():
            wanted = network(ids, mask)
        found = program({"mask": mask, "ids": ids})
        assert len(found) == 4
        for one, other in zip(found, (wanted["mixed"], wanted["top"], *wanted["parts"]), strict=True):
            torch.testing.assert_close(one, other)


def test_verify_runs_no_pickle_of_an_export_with_resealed_digests(copy, marker, tiny_task):
    rewritten(copy / "model.pt2", lambda entries: sample_inputs(entries, marker))
    resealed(copy)
    found = verify(copy, task=load_task(tiny_task))
    assert [check.name for check in found.checks if not check.passed] == ["contents of model.pt2"]
    assert main(["verify", str(copy)]) == 1
    assert not marker.exists()


def test_verify_and_load_import_no_task_that_only_the_folder_names(copy, marker, tmp_path, capsys):
    evil = tmp_path / "evil.py"
    evil.write_text(f"import os\nos.system(\"touch '{marker}'\")\n")
    for reference in (f"{evil}:task", f"{copy / 'evil.py'}:task", "os:system", "antigravity:task"):
        resealed(copy, task_reference=reference)
        assert main(["verify", str(copy)]) == 0
        assert "Not checked: accuracy" in capsys.readouterr().out
        with pytest.raises(InputError, match="--task"):
            load(copy)
    assert not marker.exists()
    assert "antigravity" not in sys.modules
    resealed(copy, task_reference=f"{evil}:task")
    assert main(["verify", str(copy), "--trust"]) == 2
    assert marker.exists()


def test_verify_without_a_task_checks_what_it_can(tiny_export, copy):
    found = verify(tiny_export)
    names = [check.name for check in found.checks]
    assert found.passed
    assert {"file model.onnx", "model.onnx runs", "parity of pt2 with onnx"} <= set(names)
    assert "accuracy" in found.to_dict()["not_checked"][0]

    def louder(entries):
        for name in [n for n in entries if n.startswith("data/weights/weight_")]:
            if len(entries[name]) >= 32 * 4:
                entries[name] = (np.frombuffer(entries[name], dtype=np.float32) * 3).tobytes()

    rewritten(copy / "model.pt2", louder)
    failed = [check.name for check in verify(resealed(copy)).checks if not check.passed]
    assert failed == ["parity of pt2 with onnx"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../secret", "a/../../secret", "..", "", "sub/file", "back\\slash"])
def test_a_manifest_names_plain_files_only(copy, name):
    (copy.parent / "secret").write_text("secret")
    files = dict(Manifest.read(copy).files) | {name: {"sha256": "0" * 64, "bytes": 6}}
    path = copy / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": files}))
    failed = [check for check in verify(copy).checks if not check.passed]
    assert [check.note for check in failed] == ["no plain file name"]
    assert failed[0].found is None


def test_links_are_not_followed(copy, tmp_path):
    (tmp_path / "elsewhere").write_bytes((copy / "policy.json").read_bytes())
    (copy / "policy.json").unlink()
    (copy / "policy.json").symlink_to(tmp_path / "elsewhere")
    failed = [check for check in verify(copy).checks if not check.passed]
    assert [(check.name, check.found) for check in failed] == [("file policy.json", None)]


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": "many"}, {"threads": 10**9}, {"files": ["model.onnx"]}, {"files": {"model.onnx": "x"}},
        {"freeze": 3}, {"claimed": None}, {"example_input": {"shape": [2**20, 2**20]}},
        {"example_input": {"shape": [1], "dtype": "load"}},
    ],
)  # fmt: skip
def test_a_manifest_of_other_types_is_bad_input(copy, changes, capsys):
    path = copy / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert main(["verify", str(copy)]) in (1, 2)
    assert "Traceback" not in capsys.readouterr().err
