"""What modules hold besides parameters and modules, and ``copy.deepcopy`` refuses: what stands for it in a copy."""

from __future__ import annotations

import _thread
import io
import socket
import threading
import types
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from typing import Any

import torch
from torch import nn

_LOCKS = (_thread.LockType, _thread.RLock)
_SHARED = (
    types.ModuleType,
    io.IOBase,
    socket.socket,
    threading.Thread,
    Executor,
    torch.Stream,
    torch.Event,
    memoryview,
    types.MappingProxyType,
)
"""Belong to the process, or cannot change: a copy uses the same."""
_PLAIN = (str, bytes, int, float, complex, bool, type(None), type, range)


def replacements(value: object) -> dict[int, object]:
    """Return, by ``id``, what is to stand in a copy for all that ``value`` holds and ``copy.deepcopy`` refuses.

    Modules and parameters inside are left out: they are copied as parts of the network.
    """
    found: dict[int, object] = {}
    seen: set[int] = set()
    waiting: list[object] = [value]
    while waiting:
        held = waiting.pop()
        if id(held) in seen or isinstance(held, _PLAIN):
            continue
        seen.add(id(held))
        substitute = _substitute(held)
        if substitute is not None:
            found[id(held)] = substitute
        elif not isinstance(held, torch.Tensor | nn.Module):
            waiting.extend(inside(held))
    return found


def inside(held: object) -> Iterator[object]:
    """Return what an object holds: a container's elements, a function's arguments, attributes of anything else."""
    if isinstance(held, Mapping):
        yield from held.values()
    elif isinstance(held, list | tuple | set | frozenset):
        yield from held
    yield from getattr(held, "__dict__", {}).values() if not isinstance(held, types.FunctionType | type) else ()
    for kind in type(held).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(held, name):
                yield getattr(held, name)


def _substitute(held: Any) -> object | None:
    if isinstance(held, torch.Tensor):
        return None if held.is_leaf else held.detach().clone()
    if isinstance(held, _LOCKS):
        return type(held)() if isinstance(held, _thread.RLock) else threading.Lock()
    if isinstance(held, threading.Condition):
        return threading.Condition()
    if isinstance(held, threading.Event):
        return _event(held)
    if isinstance(held, torch.Generator):
        return _generator(held)
    return held if isinstance(held, _SHARED) else None


def _event(held: threading.Event) -> threading.Event:
    event = threading.Event()
    if held.is_set():
        event.set()
    return event


def _generator(held: torch.Generator) -> torch.Generator:
    generator = torch.Generator(held.device)
    generator.set_state(held.get_state())
    return generator
