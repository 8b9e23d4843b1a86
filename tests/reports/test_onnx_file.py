"""ONNX files from somebody who means harm: nothing beside them is read, and no library loaded."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from espalier.reports.onnx_file import check_onnx
from espalier.reports.pt2_archive import UnsafeFileError


def onnx_model(**changes) -> onnx.ModelProto:
    tensor = onnx.numpy_helper.from_array(np.ones(4, dtype=np.float32), "w")
    for name, value in changes.pop("tensor", {}).items():
        setattr(tensor, name, value)
    if "location" in changes:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=changes["location"])
    node = onnx.helper.make_node("Add", ["x", "w"], ["y"], domain=changes.get("domain", ""))
    shape = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [4]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", shape[:1], shape[1:], [tensor])
    if changes.get("nested"):
        constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
        inner = onnx.helper.make_graph([constant], "inner", [], [])
        branch = onnx.helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
        graph = onnx.helper.make_graph([branch], "g", shape[:1], shape[1:])
    return onnx.helper.make_model(graph)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"location": "/etc/passwd"}, "reads 'w' from /etc/passwd"),
        ({"location": "../weights.bin"}, r"\.\./weights\.bin"),
        ({"location": "weights.bin", "nested": True}, r"weights\.bin"),
        ({"domain": "evil.ops"}, "only a library"),
        ({"tensor": {"raw_data": bytes(32)}}, "32 bytes in 'w'"),
    ],
)
def test_onnx_files_that_reach_out_are_refused(tmp_path, changes, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_model(**changes).SerializeToString())
    with pytest.raises(UnsafeFileError, match=words):
        check_onnx(path)


def test_a_plain_onnx_file_passes_and_a_torn_one_does_not(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(onnx_model().SerializeToString())
    check_onnx(path)
    path.write_bytes(b"\xff" * 40)
    with pytest.raises(UnsafeFileError, match="torn"):
        check_onnx(path)
