"""Copies of networks, of whatever their modules hold, without what makes ``copy.deepcopy`` slow on them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import nn

from ...errors import InputError, describe, text_of
from .closures import rebind_
from .held_objects import detached, replace_

Network = TypeVar("Network", bound=nn.Module)


def copied(model: Network, memo: dict[int, object] | None = None, *, lazy: bool = False) -> Network:
    """Return a deep copy of ``model`` that shares no tensor and no module with it.

    Each module keeps about ten ordered dictionaries for hooks, nearly all of them empty, and each of those costs a
    generic copy more than a parameter does. Empty ones are put into the memo as new empty ones.

    Tensors that were computed (kept activations, masked weights) are copied without their history, locks are new ones,
    and what belongs to the process (files, streams, modules) is shared. Functions and weak references in modules and
    hooks that hold the network hold the copy afterwards.

    Args:
        model: left as it is.
        memo: what stands for parts of the model in the copy, by ``id``; as for ``copy.deepcopy``.
        lazy: whether a parameter takes memory of its own only once it, or that of ``model``, is written to. That moves
            it in memory, so that ``model`` has to be one's own.

    Raises:
        InputError: a module holds something that cannot be copied, or copies itself to something that is no copy.
    """
    known = {} if memo is None else memo
    if lazy:
        _share_until_written(model, known)
    for module in model.modules():
        for value in vars(module).values():
            if type(value) is OrderedDict and not value:
                known.setdefault(id(value), OrderedDict())
            elif isinstance(value, torch.Tensor) and not value.is_leaf:
                known.setdefault(id(value), detached(value))
    network = _copied(model, known)
    _check_apart(model, network)
    rebind_(model, network, known)
    return network


def _share_until_written(model: nn.Module, known: dict[int, object]) -> None:
    """Put parameters into the memo that stand on the same memory until one of the two is written to."""
    lazy_clone = getattr(torch, "_lazy_clone", None)  # no part of PyTorch's public functions
    if lazy_clone is None:
        return
    for parameter in model.parameters():
        if type(parameter) is nn.Parameter and id(parameter) not in known:
            with suppress(RuntimeError):  # a layout or memory that cannot be shared so; NotImplementedError is one
                shared = lazy_clone(parameter.detach())
                known[id(parameter)] = nn.Parameter(shared, requires_grad=parameter.requires_grad)


def _copied(model: Network, known: dict[int, object]) -> Network:
    tried = dict(known)
    with suppress(Exception):  # whatever an object's own copying raises: it is looked for below
        network = copy.deepcopy(model, tried)
        known.update(tried)
        return network
    for module in model.modules():
        for value in vars(module).values():
            replace_(value, known)
    tried = dict(known)
    try:
        network = copy.deepcopy(model, tried)
    except Exception as error:
        raise InputError(_explained(model, known, error)) from error
    known.update(tried)
    return network


def _explained(model: nn.Module, known: dict[int, object], error: Exception) -> str:
    """Return which attribute of which module cannot be copied, and the way out."""
    name, attribute, held = _culprit(model, known)
    where = f"module {name!r}" if name else "the network"
    what = f"{where} holds {type(held).__name__} in .{attribute}" if attribute else f"{where} cannot be copied"
    path = ".".join(filter(None, ["model", name, attribute]))
    forget = f"Delete {path} before, and make it anew in forward."
    if isinstance(held, torch.Tensor):
        forget = f"Make {path} a plain tensor or nn.Parameter, with torch.Tensor's own methods for copying."
    return describe(
        f"{what}, of which copy.deepcopy makes no copy ({type(error).__name__}: {text_of(error)})",
        expected="modules that can be copied, as each candidate is pruned on a copy",
        remedy=forget if attribute else "Give the module a __deepcopy__, or leave out what it keeps open.",
    )


def _culprit(model: nn.Module, known: dict[int, object]) -> tuple[str, str, Any]:
    """Return the module's name, the attribute and its value; the attribute is empty where the module itself fails."""
    own = {"_parameters", "_buffers", "_modules"}
    for name, module in model.named_modules():
        tensors = [*module._parameters.items(), *module._buffers.items()]
        for attribute, value in [*tensors, *((k, v) for k, v in vars(module).items() if k not in own)]:
            try:
                copy.deepcopy(value, dict(known))
            except Exception:  # noqa: BLE001 - this is what is looked for
                return name, attribute, value
    return "", "", model


def _check_apart(model: nn.Module, network: nn.Module) -> None:
    """Refuse a copy that shares modules or tensors with the network, which would be changed with the copy."""
    own = {id(module) for module in network.modules()}
    tensors = {id(t) for t in (*network.parameters(), *network.buffers())}
    for name, module in model.named_modules():
        held = (*module._parameters.values(), *module._buffers.values())
        if id(module) in own or any(t is not None and id(t) in tensors for t in held):
            raise _shared(name, module)


def _shared(name: str, module: nn.Module) -> InputError:
    return InputError(
        describe(
            f"a copy of {f'module {name!r}' if name else 'the network'} ({type(module).__name__}) is no copy of it: "
            "they share modules or tensors",
            expected="modules that copy.deepcopy copies in full, as each candidate is pruned on a copy",
            remedy=f"Take __deepcopy__ out of {type(module).__name__}, or let it copy tensors and modules.",
        )
    )
