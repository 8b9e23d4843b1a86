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


def replace_(value: object, memo: dict[int, object]) -> None:
    """Put into the memo of a copy what is to stand for all that ``value`` holds and ``copy.deepcopy`` refuses.

    Modules and parameters inside are left out: they are copied as parts of the network.

    Args:
        value: left as it is.
        memo: changed in place; what is known already stays.
    """
    seen: set[int] = set()
    waiting: list[object] = [value]
    while waiting:
        held = waiting.pop()
        if id(held) in seen or isinstance(held, _PLAIN):
            continue
        seen.add(id(held))
        substitute = _substitute(held, memo)
        if substitute is not None:
            memo.setdefault(id(held), substitute)
        elif not isinstance(held, torch.Tensor | nn.Module):
            waiting.extend(inside(held))


def detached(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy of a tensor without the history of its computation."""
    return tensor.detach().clone()


def inside(held: object) -> Iterator[object]:
    """Return what an object holds: a container's elements, a function's arguments, attributes of anything else."""
    if isinstance(held, Mapping):
        yield from held.values()
    elif isinstance(held, list | tuple | set | frozenset):
        yield from held
    if not isinstance(held, types.FunctionType):
        yield from getattr(held, "__dict__", {}).values()
        for kind in type(held).__mro__:
            slots: Any = vars(kind).get("__slots__", ())
            for name in (slots,) if isinstance(slots, str) else slots:
                if name not in ("__dict__", "__weakref__") and hasattr(held, name):
                    yield getattr(held, name)


def _substitute(held: Any, memo: dict[int, object]) -> object | None:
    if isinstance(held, torch.Tensor):
        return None if held.is_leaf else detached(held)
    if isinstance(held, _LOCKS):
        return threading.RLock() if isinstance(held, _thread.RLock) else threading.Lock()
    if isinstance(held, threading.Condition):
        # Conditions may share a lock, as those of a queue do; so must those of its copy.
        return threading.Condition(_lock_of(held, memo))
    if isinstance(held, threading.Event):
        return _event(held)
    if isinstance(held, torch.Generator):
        return _generator(held)
    return held if isinstance(held, _SHARED) else None


def _lock_of(condition: Any, memo: dict[int, object]) -> Any:
    lock = condition._lock
    return memo.setdefault(id(lock), _substitute(lock, memo))


def _event(held: threading.Event) -> threading.Event:
    event = threading.Event()
    if held.is_set():
        event.set()
    return event


def _generator(held: torch.Generator) -> torch.Generator:
    generator = torch.Generator(held.device)
    generator.set_state(held.get_state())
    return generator
