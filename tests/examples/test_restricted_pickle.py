from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from espalier.errors import TaskError
from espalier.examples.restricted_pickle import read_arrays


class Calls:
    """Pickles as a call of a function: what a hostile file does."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def read(path: Path, content: object, *, protocol: int = 2) -> dict[str, object]:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return read_arrays(path)


@pytest.mark.parametrize("order", ["C", "F"])
def test_lists_texts_and_byte_arrays_are_read(tmp_path: Path, order) -> None:
    array = np.asarray(np.arange(12, dtype=np.uint8).reshape(3, 4), order=order)
    batch = read(tmp_path / "batch", {b"data": array, b"labels": [1, 2, 3], b"batch_label": b"one", "text": "two"})
    assert np.array_equal(batch.pop("data"), array)
    assert batch == {"labels": [1, 2, 3], "batch_label": b"one", "text": "two"}


@pytest.mark.parametrize("protocol", range(6))
def test_no_function_that_a_file_names_is_ever_called(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path / "canary"
    with pytest.raises(TaskError, match="the name"):
        read(tmp_path / "batch", {b"data": Calls(os.mkdir, str(canary))}, protocol=protocol)
    assert not canary.exists()


@pytest.mark.parametrize(
    "function", [eval, exec, getattr, __import__, os.system, pickle.loads, np.load, np.frombuffer, OrderedDict, object]
)
def test_names_beyond_the_few_are_refused(tmp_path: Path, function) -> None:
    with pytest.raises(TaskError, match="cannot be read safely"):
        read(tmp_path / "batch", {b"data": Calls(function, "1")})


def test_names_reached_through_an_admitted_module_are_refused(tmp_path: Path) -> None:
    attack = b"\x80\x04\x8c\x05numpy\x8c\x13dtype.__init_subclass__\x93)R."
    with pytest.raises(TaskError, match="cannot be read safely"):
        read(tmp_path / "batch", attack)


@pytest.mark.parametrize("dtype", ["O", "<f8", "S4", "i1"])
def test_arrays_of_anything_but_bytes_are_refused(tmp_path: Path, dtype: str) -> None:
    with pytest.raises(TaskError, match="does not hold bytes"):
        read(tmp_path / "batch", {b"data": np.zeros(4, dtype=dtype)})


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps({b"data": np.zeros((2, 3), dtype=np.uint8)}, protocol=2)
    with pytest.raises(TaskError, match="does not hold bytes"):
        read(tmp_path / "batch", content.replace(b"K\x02K\x03\x86", b"K\x02K\x63\x86"))


def test_a_file_cannot_change_the_reader(tmp_path: Path) -> None:
    # GLOBAL numpy.dtype, then BUILD with a slot state that sets __call__ and code on whatever stands for it.
    attack = b"\x80\x02cnumpy\ndtype\nN}(U\x04codeU\x02f8u\x86b."
    with pytest.raises(TaskError):
        read(tmp_path / "attack", attack)
    array = np.arange(4, dtype=np.uint8)
    assert np.array_equal(read(tmp_path / "batch", {b"data": array})["data"], array)


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", b"\x80\x02", b"\x80\x02]q\x00.", b"\x80\x02K\x01.", b"\x80\x02P1\n."]
)
def test_what_is_torn_or_no_dictionary_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(TaskError, match="cifar-10-batches-bin"):
        read(tmp_path / "batch", content)


def test_an_array_without_its_state_is_empty_handed(tmp_path: Path) -> None:
    assert read(tmp_path / "batch", b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\n)Rs.") == {"data": None}


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="absent"):
        read_arrays(tmp_path / "absent")


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_file_torn_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    content = pickle.dumps({b"data": np.zeros((2, 3), dtype=np.uint8), b"labels": [1, 2]}, protocol=2)
    with pytest.raises(TaskError):
        read(tmp_path / "batch", content[: min(cut, len(content) - 1)])
