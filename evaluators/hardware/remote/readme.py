"""The README of a kit: what to do on the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class _Listed(Protocol):
    @property
    def precision(self) -> str: ...

    @property
    def origin(self) -> str: ...


def kit_readme(subject: str, networks: Sequence[_Listed], files: Mapping[str, Mapping[str, Any]], threads: int) -> str:
    """Return the text that tells whoever has the device what to run there."""
    counts = Counter(n.precision for n in networks)
    described = ", ".join(f"{count} at {precision}" for precision, count in counts.items())
    megabytes = sum(int(entry["bytes"]) for entry in files.values()) / 1e6
    then = "--run RUN" if any(n.origin == "front" for n in networks) else "--out device.yaml"
    return f"""# A kit that times networks on a device

It holds {len(networks)} networks ({described}; {megabytes:.1f} MB) made of `{subject}`, and `agent.py`, which
runs each of them and notes how long it takes. The agent is one file that you can read. It sends nothing anywhere; it
writes `results.json` beside itself.

## On the device

You need Python 3.8 or newer with NumPy and ONNX Runtime:

```console
$ python -m pip install numpy onnxruntime
```

Copy this folder there (a `.zip` has to be unpacked first), stop what else is running, and start the agent in it:

```console
$ python agent.py . --threads {threads}
```

It prints a line for each network, with the time that is left. You may stop it at any time: the same command goes on
where it was. A device that gets hot slows down; the agent runs one small network between the others to notice that,
and `results.json` shows it. Time with `--threads` at the number that you will deploy with; another number of threads
goes into another file: `--threads 4 --out results-4.json`.

## Back home

```console
$ espalier calibrate --import results.json --kit KIT {then}
```

`KIT` is this folder, or its zip file, as it was packed.
"""
