from __future__ import annotations

import pytest
import torch

from espalier.errors import InputError
from espalier.evaluators.hardware.calibration_table import Calibration
from espalier.evaluators.hardware.device import load_device
from espalier.evaluators.hardware.estimate import estimate
from espalier.evaluators.hardware.remote.importing import import_results
from espalier.evaluators.hardware.remote.results import read_results
from espalier.testing.cost_models import chain

from .conftest import IMAGE

FAULTS = {
    "missing": (lambda c: c["rows"].pop(), "1 networks are missing"),
    "twice": (lambda c: c["rows"].append(c["rows"][0]), "is there 2 times"),
    "unknown": (lambda c: c["rows"].append({**c["rows"][0], "file": "n999-fp32.onnx"}), "n999-fp32.onnx is not in"),
    "nan": (lambda c: c["rows"][2].update(latency_ms=float("nan")), "latency_ms is nan"),
    "negative": (lambda c: c["rows"][2].update(latency_ms=-1.0), "latency_ms is -1.0"),
    "text": (lambda c: c["rows"][2].update(spread="small"), "spread is 'small'"),
    "infinite outputs": (lambda c: c["rows"][2].update(finite=False), "not finite"),
    "no sentinel": (lambda c: c["rows"][2].update(sentinel_ms=[]), "sentinel"),
    "no profile": (lambda c: c["rows"][2].update(nodes=[]), "profile"),
    "bad profile": (lambda c: c["rows"][2]["nodes"][0].update(latency_ms=None), "profile"),
    "another file": (lambda c: c["rows"][2].update(sha256="0" * 64), "another file than the kit's"),
    "another kit": (lambda c: c.update(kit="0" * 64), "of another kit"),
    "another agent": (lambda c: c.update(agent="0" * 64), "another agent"),
    "version": (lambda c: c.update(version=2), "of version 2"),
    "no machine": (lambda c: c["machine"].pop("cpu"), "lacks cpu"),
    "threads": (lambda c: c.update(threads=True), "threads is True"),
    "rows": (lambda c: c.update(rows=3), "no rows"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named(kit, changed, fault):
    change, message = FAULTS[fault]
    with pytest.raises(InputError, match=message):
        read_results(changed(change), kit)


def test_one_message_names_all_faults(kit, changed):
    def change(content):
        content["rows"].pop()
        content["rows"][0]["latency_ms"] = 0
        content["rows"][1]["spread"] = None

    with pytest.raises(InputError) as refused:
        read_results(changed(change), kit)
    assert all(text in str(refused.value) for text in ("missing", "latency_ms is 0", "spread is None"))


def test_torn_results(kit, tmp_path):
    (tmp_path / "torn.json").write_text('{"version": 1, "ki')
    for name in ("torn.json", "absent.json"):
        with pytest.raises(InputError, match="holds no results"):
            read_results(tmp_path / name, kit)


def test_what_was_timed_on_a_hot_device_is_left_out(kit, changed, network):
    def change(content):
        usual = min(content["rows"][0]["sentinel_ms"])
        for index, row in enumerate(content["rows"]):
            row["sentinel_ms"] = [usual * (2 if index in (3, 7) else 1)]

    path = changed(change)
    found = read_results(path, kit)
    assert [t.network.file for t in found.timed if t not in found.steady] == [kit.networks[i].file for i in (3, 7)]
    assert found.drift == pytest.approx(1.0)
    imported = import_results(path, kit.path, network, IMAGE, name="hot")
    assert len(imported.device.measurements.timings) == 10
    assert "2 of 12 networks" in imported.notes[0]


def test_too_few_networks_are_no_calibration(kit, changed, network):
    def change(content):
        for row in content["rows"][:6]:
            row["error"] = "NotImplemented: Conv"

    with pytest.raises(InputError, match="6 at fp32 timed") as refused:
        import_results(changed(change), kit.path, network, IMAGE, name="poor")
    assert "NotImplemented: Conv" in str(refused.value)


def test_another_network_is_refused(kit, results):
    with pytest.raises(InputError, match="another network"):
        import_results(results, kit.path, chain(24), IMAGE, name="other")


def test_the_device_and_its_calibration_are_stored(kit, results, network, tmp_path):
    imported = import_results(results, kit.path, network, IMAGE, name="board")
    imported.device.save(tmp_path / "board.yaml")
    device = load_device(tmp_path / "board.yaml")
    table = Calibration.read(tmp_path / "board.csv")
    assert table == imported.device.measurements
    assert table.timings[0].latency_ms == pytest.approx(sum(row.latency_ms for row in table.by_network()[0]), rel=1e-3)
    assert table.threads == 1
    told = [estimate(model, IMAGE, device=device).latency_ms for model in (network, chain(8))]
    assert told == [estimate(model, IMAGE, device=imported.device).latency_ms for model in (network, chain(8))]
    assert told[0] > told[1]
    with pytest.raises(InputError, match="exists already"):
        imported.device.save(tmp_path / "board.yaml")


def test_the_network_is_left_as_it_was(kit, results, network):
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    import_results(results, kit.path, network, IMAGE, name="board")
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
