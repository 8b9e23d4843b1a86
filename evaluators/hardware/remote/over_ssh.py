"""Calibrating a device over SSH: the kit goes there, its results come back and are read in, in one step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from torch import nn

from ....errors import EvaluationError, InputError, describe
from ...task.task import Inputs
from . import agent
from .importing import Imported, import_results
from .kit import NETWORKS, Kit, pack_kit
from .ssh import SshHost


def calibrate_over_ssh(
    host: SshHost,
    model: nn.Module,
    example_input: Inputs,
    *,
    name: str,
    subject: str = "a network",
    networks: int = NETWORKS,
    threads: int = 1,
    precisions: Sequence[str] = ("fp32",),
    freeze: Sequence[str] = (),
    seed: int = 0,
    progress: Callable[[str], None],
) -> Imported:
    """Return the device at ``host``, calibrated for ``model``: :func:`pack_kit`, :func:`time_over_ssh` and
    :func:`import_results` in one step.

    Args:
        host: the device.
        model: the network that costs are wanted for.
        example_input: what it takes, a batch of 1.
        name: of the device.
        subject: what the network is.
        networks: how many to time, per precision.
        threads: of the runtime there.
        precisions: of ``fp32`` and ``int8``.
        freeze: layers that a search never prunes.
        seed: of the widths drawn; the same gives the same kit, with which a broken connection is taken up again.
        progress: told each line of what is going on.
    """
    _check_python(host)
    with tempfile.TemporaryDirectory(prefix="espalier-ssh-") as scratch:
        kit, results = Path(scratch) / "kit", Path(scratch) / agent.RESULTS
        progress(f"Packing {networks} networks ...")
        packed = pack_kit(
            model,
            example_input,
            kit,
            subject=subject,
            networks=networks,
            threads=threads,
            precisions=precisions,
            freeze=freeze,
            seed=seed,
        )
        time_over_ssh(host, packed, results, progress=progress)
        return import_results(results, kit, model, example_input, name=name, freeze=freeze)


def time_over_ssh(
    host: SshHost, kit: Kit, results: Path, *, threads: int | None = None, progress: Callable[[str], None]
) -> None:
    """Copy a kit's folder to ``host``, run its agent there and bring back what it finds to the file ``results``.

    The folder there is named after the kit, so that a broken connection costs nothing: the next call goes on where the
    agent was. It is removed once the results are here.

    Raises:
        InputError: the host cannot be reached, or its Python lacks a package.
        EvaluationError: copying or the agent fails there.
    """
    folder = f".espalier-kit-{kit.identity[:16]}"
    _check_python(host)
    found = host.run("sh", "-c", f"test -f {folder}/{agent.MANIFEST} && echo there || true").strip()
    if found == "there":
        progress(f"{host.target} has the kit already.")
    else:
        progress(f"Copying {kit.size_bytes / 1e6:.1f} MB to {host.target} ...")
        draft = f"{folder}.part"
        host.run("rm", "-rf", draft)
        host.copy_there(kit.path, draft)
        host.run("mv", draft, folder)
    words = [host.python, "-u", f"{folder}/agent.py", folder]
    code = host.follow(*words, *([] if threads is None else ["--threads", str(threads)]), progress=progress)
    if code not in (0, 1):
        fault = f"the agent ends with exit code {code} on {host.target}"
        remedy = "It says above why. The same command goes on where it was."
        raise EvaluationError(describe(fault, expected="0, or 1 where some networks failed", remedy=remedy))
    host.copy_back(f"{folder}/{agent.RESULTS}", results)
    with suppress(EvaluationError):
        host.run("rm", "-rf", folder)


def _check_python(host: SshHost) -> None:
    try:
        host.run(host.python, "-c", "import numpy, onnxruntime")
    except EvaluationError as error:
        remedy = "Install them there (python3 -m pip install numpy onnxruntime), or name another --ssh-python."
        fault = f"{host.python} on {host.target} cannot import NumPy and ONNX Runtime ({_last_line(str(error))})"
        raise InputError(describe(fault, expected="a Python that has both", remedy=remedy)) from error


def _last_line(text: str) -> str:
    lines = [line for line in text.split("; expected")[0].splitlines() if line.strip()]
    return lines[-1].strip() if lines else text
