"""A device that SSH reaches, through the system's own ``ssh`` and ``scp``.

Nothing passes through a shell here. What the device's shell gets is quoted, and the folder there has a name of our own.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....errors import EvaluationError, InputError, describe

CONNECT_SECONDS = 15
COPY_SECONDS = 1800
SILENCE_SECONDS = 900
"""The agent prints a line per network; a device that says nothing for so long is given up."""
_HOST = re.compile(r"(?!-)[\w.@%+-]+")
_CONNECTION_FAILED = 255


@dataclass(frozen=True)
class SshHost:
    """A device with an SSH server and a Python.

    Args:
        target: ``user@host``, or a name of ``~/.ssh/config``.
        options: as ``ssh -o`` takes them, such as ``Port=2222``; they come before Espalier's own, so they prevail.
        python: the device's Python, which has NumPy and ONNX Runtime.

    Raises:
        InputError: the target could be taken for an option, or names more than a host.
    """

    target: str
    options: tuple[str, ...] = ()
    python: str = "python3"
    silence_seconds: float = SILENCE_SECONDS

    def __post_init__(self) -> None:
        if not _HOST.fullmatch(self.target):
            remedy = "Give the port or the key as --ssh-option Port=2222, --ssh-option IdentityFile=..."
            raise InputError(describe(f"the host {self.target!r}", expected="user@host or host", remedy=remedy))
        wrong = [o for o in self.options if not re.match(r"[A-Za-z]+\s*[= ]\s*\S", o)]
        if wrong:
            remedy = "See `man ssh_config` for the names."
            raise InputError(describe(f"the SSH option {wrong[0]!r}", expected="Name=value", remedy=remedy))

    def command(self, *words: str) -> list[str]:
        """Return what runs ``words`` on the device, each one word there too."""
        return [_program("ssh"), "-T", *self._options(), "--", self.target, " ".join(map(shlex.quote, words))]

    def copy_command(self, source: str, target: str) -> list[str]:
        """Return what copies a file or folder; the device's side is written as :meth:`there` says."""
        return [_program("scp"), "-q", "-r", *self._options(), "--", source, target]

    def there(self, path: str) -> str:
        """Return a path on the device as scp takes it."""
        return f"{self.target}:{path}"

    def _options(self) -> list[str]:
        # No password can be asked for: a command that waits for one would never end.
        own = ("BatchMode=yes", f"ConnectTimeout={CONNECT_SECONDS}", "ServerAliveInterval=15", "ServerAliveCountMax=4")
        return [word for option in (*self.options, *own) for word in ("-o", option)]

    def run(self, *words: str, seconds: float = 4 * CONNECT_SECONDS) -> str:
        """Run a command on the device and return what it prints.

        Raises:
            InputError: the device cannot be reached.
            EvaluationError: the command fails or does not end in time.
        """
        return self._finish(self.command(*words), seconds, what=f"`{shlex.join(words)}` on {self.target}")

    def copy_there(self, folder: Path, path: str) -> None:
        """Copy a folder to ``path``, which must not exist there."""
        command = self.copy_command(str(folder.absolute()), self.there(path))
        self._finish(command, COPY_SECONDS, what=f"copying to {self.target}")

    def copy_back(self, path: str, to: Path) -> None:
        """Copy a file from the device."""
        command = self.copy_command(self.there(path), str(to.absolute()))
        self._finish(command, COPY_SECONDS, what=f"copying from {self.target}")

    def follow(self, *words: str, progress: Callable[[str], None]) -> int:
        """Run a command, pass on each line as it is printed, and return the exit code.

        Raises:
            InputError: the device cannot be reached, or no longer.
            EvaluationError: it prints nothing for ``silence_seconds``.
        """
        process = subprocess.Popen(  # noqa: S603 - a list of words, no shell
            self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        errors: list[str] = []
        silent = threading.Event()
        watch = _Watch(self.silence_seconds, lambda: (silent.set(), process.kill()))
        reader = threading.Thread(target=lambda: errors.extend(process.stderr or ()), daemon=True)
        reader.start()
        try:
            for line in process.stdout or ():
                watch.again()
                progress(line.rstrip("\n"))
            code = process.wait()
        finally:
            watch.stop()
            process.kill()
            process.wait()
        reader.join(timeout=5)
        if silent.is_set():
            fault = f"{self.target} said nothing for {self.silence_seconds:g} s"
            remedy = "The same command goes on where it was."
            raise EvaluationError(describe(fault, expected="a line for each network", remedy=remedy))
        if code == _CONNECTION_FAILED:
            raise self._unreachable("".join(errors))
        for line in errors:
            progress(line.rstrip("\n"))
        return code

    def _finish(self, command: Sequence[str], seconds: float, *, what: str) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - a list of words, no shell
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=seconds
            )
        except subprocess.TimeoutExpired as error:
            remedy = "Check the connection, and try again."
            raise EvaluationError(describe(f"{what} did not end", expected=f"{seconds:g} s", remedy=remedy)) from error
        if done.returncode == 0:
            return done.stdout
        if done.returncode == _CONNECTION_FAILED or _is_connection_fault(done.stderr):
            raise self._unreachable(done.stderr)
        said = done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        raise EvaluationError(describe(f"{what} fails: {said}", expected="success", remedy="Correct it there."))

    def _unreachable(self, said: str) -> InputError:
        words = " ".join(said.split()) or "ssh gives no reason"
        remedy = f"Try it by hand, until it asks nothing: ssh {self.target} true"
        fault = f"{self.target} cannot be reached: {words}"
        return InputError(describe(fault, expected="a host that ssh enters without a password", remedy=remedy))


class _Watch:
    """Does something once nothing has happened for a time."""

    def __init__(self, seconds: float, action: Callable[[], object]) -> None:
        self._seconds, self._action = seconds, action
        self._timer = self._started()

    def again(self) -> None:
        """Count from now."""
        self._timer.cancel()
        self._timer = self._started()

    def stop(self) -> None:
        """Do it no more."""
        self._timer.cancel()

    def _started(self) -> threading.Timer:
        timer = threading.Timer(self._seconds, self._action)
        timer.daemon = True
        timer.start()
        return timer


def _is_connection_fault(said: str) -> bool:
    return any(line.startswith(("scp: Connection closed", "Connection closed")) for line in said.splitlines())


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        remedy = "Install OpenSSH's client, or take the kit there yourself: espalier calibrate TASK --kit KIT."
        raise InputError(describe(f"no program {name}", expected=f"{name} on the PATH", remedy=remedy))
    return found
