from __future__ import annotations

import io
import pickle
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from espalier.errors import TaskError
from espalier.examples import cifar10, cifar10_data
from espalier.examples.cifar10_networks import ResNet8, ResNet20


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, as the published files hold them."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_bytes(self, obj: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(obj)) + obj)
        self.memoize(obj)

    dispatch[bytes] = save_bytes


def published(batch: dict[bytes, object]) -> bytes:
    """Return a batch as in cifar-10-batches-py: protocol 2, Python 2's strings, NumPy 1's names."""
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(batch)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """Twelve images, two for each file of the data set, and their labels."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8), random.integers(0, 10, 12)


def write_python(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir()
    for i, name in enumerate([f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]):
        rows = images[2 * i : 2 * i + 2].reshape(2, 3072)
        batch = {b"data": rows, b"labels": labels[2 * i : 2 * i + 2].tolist(), b"filenames": [b"x", b"y"]}
        (folder / name).write_bytes(published(batch))


def write_binary(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    folder.mkdir()
    for i, name in enumerate([f"data_batch_{k}.bin" for k in range(1, 6)] + ["test_batch.bin"]):
        rows = [bytes([labels[k]]) + images[k].tobytes() for k in (2 * i, 2 * i + 1)]
        (folder / name).write_bytes(b"".join(rows))


def write_jpeg(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    image = pytest.importorskip("PIL.Image")
    files: list[bytes] = []
    for pixels in images:
        stream = io.BytesIO()
        image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "JPEG", quality=95)
        files.append(stream.getvalue())
    content: dict[str, np.ndarray] = {}
    for part, some in (("train", slice(0, 10)), ("test", slice(10, 12))):
        content[f"{part}_jpeg"] = np.frombuffer(b"".join(files[some]), dtype=np.uint8)
        content[f"{part}_offsets"] = np.cumsum([0, *map(len, files[some])])
        content[f"{part}_labels"] = labels[some].astype(np.uint8)
    np.savez(path, **content)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize(
    ("name", "write"), [("cifar-10-batches-py", write_python), ("cifar-10-batches-bin", write_binary)]
)
def test_the_published_forms_are_read(tmp_path: Path, images, name, write, inside: bool) -> None:
    pixels, labels = images
    write(tmp_path / name, pixels, labels)
    folder = tmp_path if inside else tmp_path / name
    x, y = cifar10_data.load(folder, "train")
    assert x.dtype == torch.uint8
    assert np.array_equal(x.numpy(), pixels[:10])
    assert y.tolist() == labels[:10].tolist()
    assert np.array_equal(cifar10_data.load(folder, "test")[0].numpy(), pixels[10:])


def test_jpeg_copies_are_decoded_once(tmp_path: Path, images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache"))
    smooth = np.repeat(images[0][:, :, :1, :1], 32, axis=2).repeat(32, axis=3)  # plain colours survive JPEG
    write_jpeg(tmp_path / cifar10_data.JPEG_FILE, smooth, images[1])
    x, y = cifar10_data.load(tmp_path, "train")
    assert x.shape == (10, 3, 32, 32)
    assert int((x.short() - torch.from_numpy(smooth[:10]).short()).abs().max()) <= 3
    assert y.tolist() == images[1][:10].tolist()
    monkeypatch.setattr(cifar10_data, "_decode", lambda *_: pytest.fail("decoded again"))
    assert torch.equal(cifar10_data.load(tmp_path, "train")[0], x)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x80\x02}"])
@pytest.mark.parametrize("file", ["cifar10_jpeg.npz", "test_batch", "test_batch.bin"])
def test_a_torn_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache"))
    (tmp_path / file).write_bytes(content)
    with pytest.raises(TaskError, match=file):
        cifar10_data.load(tmp_path, "test")


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path, images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache"))
    path = tmp_path / cifar10_data.JPEG_FILE
    write_jpeg(path, *images)
    with np.load(path) as archive:
        content = dict(archive)
    content["test_jpeg"] = content["test_jpeg"].copy()
    content["test_jpeg"][content["test_offsets"][1] :] = 0
    np.savez(path, **content)
    with pytest.raises(TaskError, match="image 1 of test"):
        cifar10_data.load(tmp_path, "test")


def test_missing_data_and_weights_are_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskError, match="ESPALIER_DATA"):
        cifar10.resnet8_task(tmp_path / "absent")
    with pytest.raises(TaskError, match=r"cifar-10-batches-py"):
        cifar10.resnet8_task(tmp_path)
    monkeypatch.setenv("ESPALIER_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(TaskError, match="elsewhere"):
        cifar10.resnet20_task()


def test_weights_may_lie_elsewhere_than_the_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, weights = tmp_path / "images", tmp_path / "weights"
    images.mkdir()
    weights.mkdir()
    monkeypatch.setenv("ESPALIER_DATA", str(weights))
    assert cifar10_data.weights_file("w.safetensors", images) == images / "w.safetensors"
    (weights / "w.safetensors").touch()
    assert cifar10_data.weights_file("w.safetensors", images) == weights / "w.safetensors"
    (images / "w.safetensors").touch()
    assert cifar10_data.weights_file("w.safetensors", images) == images / "w.safetensors"


@pytest.mark.parametrize("content", [None, b"torn", {"other": torch.zeros(1)}])
def test_weights_that_do_not_fit_are_named(tmp_path: Path, content) -> None:
    path = tmp_path / cifar10.RESNET8_WEIGHTS
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        save_file(content, path)
    with pytest.raises(TaskError, match="resnet8_cifar10jpeg"):
        cifar10.trained_network(ResNet8, path)


@pytest.mark.parametrize(("build", "parameters"), [(ResNet8, 78_186), (ResNet20, 269_722)])
def test_the_networks_have_the_published_sizes(build, parameters: int) -> None:
    network = build().eval()
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_resnet20_normalises_raw_pixels_and_stores_no_normalisation() -> None:
    network = ResNet20()
    assert not {"mean", "std"} & set(network.state_dict())
    white = (torch.full((1, 3, 1, 1), 255.0) - network.mean) / network.std
    assert white.flatten().tolist() == pytest.approx([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])


@pytest.mark.data
@pytest.mark.parametrize(
    ("make", "name", "validation", "test"),
    [
        (cifar10.resnet8_task, "cifar10-resnet8", 0.8306, 0.8266),
        pytest.param(cifar10.resnet20_task, "cifar10-resnet20", 0.8754, 0.8794, marks=pytest.mark.slow),
    ],
)
def test_the_published_accuracies_are_reproduced(data_folder: Path, make, name, validation, test) -> None:
    task = make(data_folder)
    assert task.name == name
    assert task.train[0].shape == (50_000, 3, 32, 32)
    assert task.train[0].dtype == torch.uint8
    network = task.model()
    for (x, y), expected in ((task.validation, validation), (task.test, test)):
        with torch.no_grad():
            right = torch.cat([network(part.float()).argmax(1) for part in x.split(500)]) == y
        assert right.float().mean().item() == pytest.approx(expected, abs=0.002)
