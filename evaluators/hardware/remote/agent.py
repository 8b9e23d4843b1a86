"""Times the networks of a kit on the device that it runs on. One file: it needs Python 3.8, numpy and onnxruntime only.

    python agent.py KIT_DIR [--threads N] [--out results.json]

Results are written after each network, whole or not at all, and a run that was stopped goes on where it was. Exit
codes: 0 all networks timed, 1 some failed (the results say why), 2 bad input, 3 a package is missing, 130 interrupted.
"""

from __future__ import annotations

import argparse
import functools
import gc
import hashlib
import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any

VERSION = 1
MANIFEST = "manifest.json"
RESULTS = "results.json"
INPUTS = "inputs.npz"
SENTINEL = "sentinel.onnx"
SENTINEL_INPUTS = "sentinel.npz"
BLOCKS = (3, 9)
BLOCK_SECONDS = 0.05
RUNS_PER_BLOCK = (5, 200)
WARM_UP_SECONDS = 0.05
PROFILE_RUNS = (5, 100)
PROFILE_SECONDS = 0.2
SETTLED = 0.05
"""Blocks are added until two agree and the sentinel is as fast as it was at best, both within this fraction."""


say = functools.partial(print, flush=True)


class BadKitError(Exception):
    """What was given cannot be used; the message says why."""


class RefusedError(Exception):
    """The runtime cannot load or run a network."""


def read_manifest(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the kit's manifest and its SHA-256, which is the kit's identity; check the version."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(text := path.read_bytes())
    except (OSError, ValueError) as error:
        raise BadKitError(f"{folder} is no kit: {error}") from error
    if manifest.get("version") != VERSION or manifest.get("kind") != "espalier-kit":
        raise BadKitError(f"{path} is no kit of version {VERSION}; use the agent that lies in the kit")
    return manifest, hashlib.sha256(text).hexdigest()


def check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Compare every file that is run with the manifest's hash."""
    faults = [f"{n['file']} is no file of the kit" for n in manifest["networks"] if n["file"] not in manifest["files"]]
    for name, known in sorted(manifest["files"].items()):
        try:
            if name in ("", "..") or name != Path(name).name or (folder / name).is_symlink():
                faults.append(f"{name!r} is no file of the kit")
            elif hashlib.sha256((folder / name).read_bytes()).hexdigest() != known["sha256"]:
                faults.append(f"{name} is not what was packed")
        except OSError as error:
            faults.append(f"{name} cannot be read ({error.strerror})")
    if faults:
        raise BadKitError("the kit is damaged, copy it again: " + "; ".join(faults))


def machine_facts() -> dict[str, Any]:
    """Return what the machine is, as far as it can be read; nothing that names its owner."""
    import numpy
    import onnxruntime

    return {
        "cpu": cpu_name(),
        "board": read_text("/proc/device-tree/model"),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "governor": read_text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "max_frequency_khz": read_number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq"),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def cpu_name() -> str:
    """Return the processor's name as the system tells it."""
    fields = {}
    for line in (read_text("/proc/cpuinfo") or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    parts = {"0xd03": "Cortex-A53", "0xd08": "Cortex-A72", "0xd0b": "Cortex-A76", "0xd05": "Cortex-A55"}
    found = fields.get("model name") or parts.get(fields.get("CPU part", "")) or fields.get("Hardware")
    return found or platform.processor() or platform.machine() or "an unnamed processor"


def conditions() -> dict[str, Any]:
    """Return what changes while networks run: the hottest sensor in degrees Celsius, the clock in kHz, the load."""
    sensors = map(read_number, Path("/sys/class/thermal").glob("thermal_zone*/temp"))
    return {
        "celsius": max((s / 1000 for s in sensors if s is not None), default=None),
        "frequency_khz": read_number("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def read_text(path: str | Path) -> str | None:
    """Return a small system file's text, None where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip("\x00\n ") or None
    except OSError:
        return None


def read_number(path: str | Path) -> int | None:
    """Return a small system file's number, None where it has none."""
    text = read_text(path) or ""
    return int(text) if text.lstrip("-").isdigit() else None


@contextmanager
def turn() -> Iterator[None]:
    """Hold the machine for one network, if Espalier measures here too; the system frees the lock of what dies."""
    try:
        import fcntl
        import getpass

        path = Path(tempfile.gettempdir()) / f"espalier-timing-{getpass.getuser()}.lock"
        descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except (ImportError, KeyError, OSError):
        yield
        return
    try:
        yield
    finally:
        os.close(descriptor)


def open_session(path: Path, threads: int, profile_prefix: str | None = None) -> Any:
    """Return a session with the options that Espalier measures with: kernels in order, no spinning, no denormals."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    if profile_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_prefix
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def runner(session: Any, feed: dict[str, Any]) -> Callable[[], list[Any]]:
    """Return a function that runs the session once and returns its outputs."""
    used = {i.name for i in session.get_inputs()}
    inputs = {name: array for name, array in feed.items() if name in used}
    return lambda: session.run(None, inputs)


def read_feed(path: Path) -> dict[str, Any]:
    """Return the inputs by name."""
    import numpy

    with numpy.load(str(path), allow_pickle=False) as stored:
        return {name: numpy.ascontiguousarray(stored[name]) for name in stored.files}


def seconds_of(run: Callable[[], object]) -> float:
    """Return how long one run takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def warm_up(run: Callable[[], object]) -> float:
    """Run for a while, at least three times, and return the seconds of the fastest run."""
    fastest, start, count = math.inf, time.perf_counter(), 0
    while count < 3 or time.perf_counter() - start < WARM_UP_SECONDS:
        fastest = min(fastest, seconds_of(run))
        count += 1
    return fastest


def block(run: Callable[[], object], per_run: float) -> list[float]:
    """Return the seconds of each run of a block, after one run that fills the caches again."""
    run()
    return [seconds_of(run) for _ in range(runs_in(BLOCK_SECONDS, per_run, RUNS_PER_BLOCK))]


def runs_in(seconds: float, per_run: float, bounds: tuple[int, int]) -> int:
    """Return how many runs take so long, within bounds."""
    return min(max(int(seconds / per_run), bounds[0]), bounds[1])


class Sentinel:
    """A network that is always the same, run between the others: where it is slower, the machine was."""

    def __init__(self, path: Path, feed: dict[str, Any], threads: int, fastest_ms: float) -> None:
        self.threads = threads
        self.run = runner(open_session(path, threads), feed)
        self.per_run = warm_up(self.run)
        self.fastest_ms = fastest_ms

    def time(self) -> float:
        """Return the median milliseconds of a block, and remember the fastest."""
        found = 1e3 * median(block(self.run, self.per_run))
        self.fastest_ms = min(self.fastest_ms, found)
        return found


def time_network(path: Path, feed: dict[str, Any], sentinel: Sentinel) -> dict[str, Any]:
    """Return one network's timing and the times of its kernels."""
    try:
        with turn():
            row = time_blocks(path, feed, sentinel)
            row["nodes"] = profile(path, feed, sentinel.threads, row["latency_ms"] / 1e3)
            return row
    except Exception as error:  # the runtime's own exceptions share no base but Exception
        raise RefusedError(f"{type(error).__name__}: {error}") from error


def time_blocks(path: Path, feed: dict[str, Any], sentinel: Sentinel) -> dict[str, Any]:
    """Return one network's timing: blocks between blocks of the sentinel, until they agree or there are enough."""
    import numpy

    run = runner(open_session(path, sentinel.threads), feed)
    outputs = run()
    finite = all(numpy.isfinite(o).all() for o in outputs if o.dtype.kind == "f")
    per_run = warm_up(run)
    medians, sentinels, count = [], [], 0
    while len(medians) < BLOCKS[0] or (len(medians) < BLOCKS[1] and not settled(medians, sentinels, sentinel)):
        sentinels.append(sentinel.time())
        times = block(run, per_run)
        medians.append(1e3 * median(times))
        count += len(times)
    return {
        "latency_ms": min(medians),
        "spread": (max(medians) - min(medians)) / min(medians),
        "runs": count,
        "block_ms": medians,
        "sentinel_ms": sentinels,
        "finite": bool(finite),
    }


def settled(medians: list[float], sentinels: list[float], sentinel: Sentinel) -> bool:
    """Return whether the two fastest blocks agree, and the machine was as fast as it is at best."""
    first, second = sorted(medians)[:2]
    return second <= (1 + SETTLED) * first and min(sentinels) <= (1 + SETTLED) * sentinel.fastest_ms


def profile(path: Path, feed: dict[str, Any], threads: int, per_run: float) -> list[dict[str, Any]]:
    """Return the typical time of each kernel by the runtime's own profiler, in execution order."""
    with tempfile.TemporaryDirectory(prefix="espalier-profile-") as folder:
        session = open_session(path, threads, profile_prefix=str(Path(folder) / "profile"))
        run = runner(session, feed)
        for _ in range(2 + runs_in(PROFILE_SECONDS, per_run, PROFILE_RUNS)):
            run()
        return kernel_times(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))


def kernel_times(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the kernels of a profile, the first two runs left out."""
    times, operators, ending = {}, {}, "_kernel_time"
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(ending):
            name = event["name"][: -len(ending)]
            times.setdefault(name, []).append(event["dur"] / 1e3)
            operators[name] = event["args"].get("op_name", "")
    return [{"name": n, "operator": operators[n], "latency_ms": typical(t[2:] or t)} for n, t in times.items()]


def typical(times: list[float]) -> float:
    """Return the mean of the middle half: the profiler tells whole microseconds, which a median would stay at."""
    cut = len(times) // 4
    return fmean(sorted(times)[cut : len(times) - cut])


def write_results(path: Path, results: dict[str, Any]) -> None:
    """Write the results so that a kill at any moment leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(results, stream, indent=1, allow_nan=False)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def begin(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Return the results to go on with: those at ``path`` if they are of this kit on this machine, else new ones."""
    if not path.exists():
        return dict(header, rows=[])
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadKitError(f"{path} cannot be read ({error}); remove it or choose another --out") from error
    differing = [k for k in header if k != "machine" and (not isinstance(found, dict) or found.get(k) != header[k])]
    if not differing:
        stable = ("cpu", "architecture", "onnxruntime")
        differing = [k for k in stable if found["machine"].get(k) != header["machine"].get(k)]
    if differing:
        raise BadKitError(f"{path} is of another kit, machine or setting: {differing} differ; choose another --out")
    return found


def measure(folder: Path, threads: int | None, out: Path) -> int:
    """Time what the results lack and return how many networks failed."""
    manifest, identity = read_manifest(folder)
    check_files(folder, manifest)
    agent = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    header = {"version": VERSION, "kind": "espalier-results", "kit": identity, "agent": agent}
    header.update(threads=threads or manifest["threads"], machine=machine_facts())
    results = begin(out, header)
    results["rows"] = [row for row in results["rows"] if "error" not in row]  # what failed is tried again
    known, total = {row["file"] for row in results["rows"]}, len(manifest["networks"])
    todo = [n for n in manifest["networks"] if n["file"] not in known]
    say("{cpu}, onnxruntime {onnxruntime}".format(**header["machine"]) + f", {header['threads']} thread(s)")
    say(f"{total} networks, {len(known)} of them timed already")
    fastest = min((min(row["sentinel_ms"]) for row in results["rows"]), default=math.inf)
    clock = Sentinel(folder / SENTINEL, read_feed(folder / SENTINEL_INPUTS), header["threads"], fastest)
    feed, start = read_feed(folder / INPUTS), time.perf_counter()
    for done, network in enumerate(todo, 1):
        row = {**time_one(folder, network, feed, clock), "sha256": manifest["files"][network["file"]]["sha256"]}
        results["rows"].append(row)
        write_results(out, results)
        left = (time.perf_counter() - start) / done * (len(todo) - done)
        say(f"[{total - len(todo) + done}/{total}] {summary(row)}; about {left:.0f} s left")
    return sum("error" in row for row in results["rows"])


def time_one(folder: Path, network: dict[str, Any], feed: dict[str, Any], sentinel: Sentinel) -> dict[str, Any]:
    """Return the row of one network; what the runtime refuses is a row with the error."""
    row = {"file": network["file"], "precision": network["precision"], "conditions": conditions()}
    try:
        row.update(time_network(folder / network["file"], feed, sentinel))
    except RefusedError as error:
        row["error"] = str(error)[:500]
    return row


def summary(row: dict[str, Any]) -> str:
    """Return a row in words."""
    if "error" in row:
        return f"{row['file']} failed: {row['error']}"
    spreads = f"blocks within {100 * row['spread']:.0f} %, sentinel {min(row['sentinel_ms']):.3f} ms"
    return f"{row['file']} {row['precision']} {row['latency_ms']:.3f} ms, {spreads}"


def main(arguments: list[str] | None = None) -> int:
    """Run the agent and return its exit code."""
    parser = argparse.ArgumentParser(description="Time the networks of an Espalier kit on this device.")
    parser.add_argument("kit", type=Path, help="the kit's folder")
    parser.add_argument("--threads", type=int, default=None, help="threads of the runtime (default: the kit's)")
    parser.add_argument("--out", type=Path, default=None, help="the results (default: results.json in the kit)")
    options = parser.parse_args(arguments)
    if options.threads is not None and options.threads < 1:
        parser.error("--threads must be 1 or more")
    try:
        import numpy  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        print(f"agent: {error}; install what it needs: python -m pip install numpy onnxruntime", file=sys.stderr)
        return 3
    out = options.out or options.kit / RESULTS
    gc.disable()
    try:
        failed = measure(options.kit, options.threads, out)
    except BadKitError as error:
        print(f"agent: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("agent: interrupted; the same command goes on", file=sys.stderr)
        return 130
    say(f"Written to {out}. Bring it back and read it in: espalier calibrate --import {out.name} --kit KIT")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
