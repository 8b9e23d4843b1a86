"""SSH: through stand-ins for ``ssh`` and ``scp`` that do on this machine what they are told, and through a real server.

The stand-ins are processes of their own: they get the very words that OpenSSH would get, keep them, and give the
command to a shell in the board's home, as a server does.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from espalier.errors import EvaluationError, InputError
from espalier.evaluators.hardware.remote.kit import Kit
from espalier.evaluators.hardware.remote.over_ssh import calibrate_over_ssh, time_over_ssh
from espalier.evaluators.hardware.remote.results import read_results
from espalier.evaluators.hardware.remote.ssh import SshHost

from .conftest import IMAGE, Board, bare_python

STAND_IN = """#!{python} -I
import json, os, shutil, subprocess, sys

words, home = sys.argv[1:], {home!r}
with open({log!r}, "a") as stream:
    stream.write(json.dumps([{name!r}, *words]) + "\\n")
rest = words[words.index("--") + 1 :]
if {name!r} == "ssh":
    host, command = rest
    environment = {{"PATH": "/usr/bin:/bin", "HOME": home, "OMP_NUM_THREADS": "1"}}
    child = subprocess.Popen(["/bin/sh", "-c", command], cwd=home, env=environment, stdout=subprocess.PIPE, text=True)
    limit = {lines!r}
    for number, line in enumerate(child.stdout, 1):
        print(line, end="", flush=True)
        if number == limit:
            child.kill()
            print("client_loop: send disconnect: Broken pipe", file=sys.stderr)
            sys.exit(255)
    sys.exit(child.wait())
source, target = (os.path.join(home, w.partition(":")[2]) if w.startswith("me@board:") else w for w in rest)
(shutil.copytree if os.path.isdir(source) else shutil.copy)(source, target)
"""


@dataclass(frozen=True)
class Network:
    """Where the stand-ins are."""

    log: Path
    home: Path
    folder: Path

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def install(self, *, lines: int | None = None) -> None:
        """Write the stand-ins; a connection breaks after some lines of output, if a number is given."""
        for name in ("ssh", "scp"):
            path = self.folder / name
            values = {"python": sys.executable, "home": str(self.home), "log": str(self.log)}
            path.write_text(STAND_IN.format(name=name, lines=lines, **values))
            path.chmod(0o755)


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    found = Network(tmp_path / "calls.jsonl", tmp_path / "home", tmp_path / "bin")
    found.home.mkdir()
    found.folder.mkdir()
    found.install()
    monkeypatch.setenv("PATH", str(found.folder), prepend=os.pathsep)
    return found


def host_of(board: Board, *options: str) -> SshHost:
    return SshHost("me@board", options, python=str(board.python))


@pytest.mark.timed
def test_one_step_calibrates(wire, board, network):
    said = []
    host = host_of(board, "Port=2222")
    imported = calibrate_over_ssh(
        host, network, IMAGE, name="board", subject="a chain", networks=24, progress=said.append
    )
    assert imported.device.fit["fp32"].held_out >= 3
    assert any(line.startswith("[24/24] ") for line in said)
    assert list(wire.home.glob(".espalier*")) == []
    own = ["BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=15", "ServerAliveCountMax=4"]
    options = [word for option in ["Port=2222", *own] for word in ("-o", option)]
    for name, *words in wire.calls:
        assert words[: words.index("--")] == [*(["-T"] if name == "ssh" else ["-q", "-r"]), *options]
        assert len(words) == words.index("--") + 3
    assert {name for name, *_ in wire.calls} == {"ssh", "scp"}


def test_a_broken_connection_is_taken_up_again(wire, board, kit, tmp_path):
    wire.install(lines=6)
    with pytest.raises(InputError, match="Broken pipe"):
        time_over_ssh(host_of(board), kit, tmp_path / "results.json", progress=lambda _: None)
    (folder,) = wire.home.glob(".espalier*")
    timed = len(json.loads((folder / "results.json").read_text())["rows"])
    assert 1 <= timed < 12
    wire.install()
    said = []
    time_over_ssh(host_of(board), kit, tmp_path / "results.json", progress=said.append)
    assert "me@board has the kit already." in said
    assert any(line.endswith(f"{timed} of them timed already") for line in said)
    assert len(read_results(tmp_path / "results.json", kit).timed) == 12


def test_words_stay_words_on_the_device(wire, board):
    words = ["a b", "$HOME", "`id`", "; touch made", "it's", "*"]
    printed = host_of(board).run("printf", "%s\\n", *words)
    assert printed.splitlines() == words
    assert list(wire.home.iterdir()) == []


def test_a_python_without_the_packages(wire, network, tmp_path):
    host = SshHost("me@board", python=str(bare_python(tmp_path / "bare")))
    with pytest.raises(InputError, match="No module named 'numpy'"):
        calibrate_over_ssh(host, network, IMAGE, name="board", progress=lambda _: None)


def test_a_silent_device_is_given_up(wire):
    host = SshHost("me@board", silence_seconds=0.5)
    start = time.perf_counter()
    with pytest.raises(EvaluationError, match=r"said nothing for 0\.5 s"):
        host.follow("sh", "-c", "echo one; exec sleep 60", progress=lambda _: None)
    assert time.perf_counter() - start < 30


def test_a_command_that_does_not_end(wire):
    with pytest.raises(EvaluationError, match="did not end"):
        SshHost("me@board").run("sleep", "60", seconds=0.5)


def test_a_command_that_fails(wire):
    with pytest.raises(EvaluationError, match="no such thing"):
        SshHost("me@board").run("sh", "-c", "echo no such thing >&2; exit 3")


@pytest.mark.parametrize("target", ["-oProxyCommand=touch made", "", "a b", "host:22", "host;id", "-v", "ssh://host"])
def test_targets_that_are_no_host(target):
    with pytest.raises(InputError, match="user@host"):
        SshHost(target)


@pytest.mark.parametrize("option", ["", "Port", "-p 22", "=2", "Port="])
def test_options_that_are_none(option):
    with pytest.raises(InputError, match="Name=value"):
        SshHost("host", (option,))


def test_no_ssh_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="no program ssh"):
        SshHost("host").run("true")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.skipif(shutil.which("ssh") is None, reason="no ssh on the PATH")
def test_a_port_where_nobody_listens():
    host = SshHost("127.0.0.1", (f"Port={free_port()}", "StrictHostKeyChecking=no"))
    with pytest.raises(InputError, match=r"cannot be reached.*refused"):
        host.run("true")
    with pytest.raises(InputError, match=r"cannot be reached.*refused"):
        host.follow("true", progress=lambda _: None)


def sshd() -> str | None:
    """A real server: the one that ESPALIER_SSHD names, or the system's."""
    return os.environ.get("ESPALIER_SSHD") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, ...]]:
    """Run a real SSH server on a free port of the loopback, and give the options that enter it."""
    program = sshd()
    if program is None or not all(map(shutil.which, ("ssh", "scp", "ssh-keygen"))):
        pytest.skip("no OpenSSH server or client here")
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True)
    port = free_port()
    lines = (
        *(f"Port {port}", "ListenAddress 127.0.0.1", f"HostKey {tmp_path}/host", "PidFile none", "UsePAM no"),
        *(f"AuthorizedKeysFile {tmp_path}/user.pub", "StrictModes no", "PasswordAuthentication no"),
        *("Subsystem sftp internal-sftp", "PermitRootLogin yes"),
    )
    (tmp_path / "sshd_config").write_text("\n".join(lines) + "\n")
    command = [program, "-D", "-e", "-f", str(tmp_path / "sshd_config")]
    with (tmp_path / "sshd.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    options = (
        *(f"Port={port}", f"IdentityFile={tmp_path}/user", "IdentitiesOnly=yes", "StrictHostKeyChecking=no"),
        f"UserKnownHostsFile={tmp_path}/known",
    )
    try:
        _await(process, port, tmp_path / "sshd.log")
        yield options
    finally:
        process.terminate()
        process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(100):
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text().strip()}")
        with socket.socket() as found:
            if found.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail(f"sshd does not listen: {log.read_text()}")


def test_a_real_server(server: tuple[str, ...], board: Board, kit: Kit, tmp_path: Path):
    said: list[str] = []
    host = SshHost(f"{getpass.getuser()}@127.0.0.1", server, python=str(board.python))
    time_over_ssh(host, kit, tmp_path / "results.json", progress=said.append)
    found = read_results(tmp_path / "results.json", kit)
    assert len(found.timed) == 12
    assert any(line.startswith("[12/12] ") for line in said)
    assert host.run("sh", "-c", f"test -e .espalier-kit-{kit.identity[:16]} || echo gone").strip() == "gone"
    assert host.run("printf", "%s", "a b $HOME 'c'") == "a b $HOME 'c'"
    stranger = SshHost(host.target, (*server[:1], "IdentityFile=/dev/null", *server[2:]))
    with pytest.raises(InputError, match="Permission denied"):
        stranger.run("true")
