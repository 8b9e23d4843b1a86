"""Functions and weak references that hold the network that they belong to, such as hooks: a copy's hold the copy."""

from __future__ import annotations

import copy
import functools
import types
import weakref
from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from .held_objects import replace_

_CONTAINERS = (dict, list, set)
_OWN = frozenset({"_parameters", "_buffers", "_modules"})
_NOTHING = frozenset({bool, int, float, str, type(None)})
_DEEPEST = 4
"""How many containers in containers are looked into."""


def rebind_(model: nn.Module, network: nn.Module, memo: dict[int, Any]) -> None:
    """Let functions that ``network`` holds, a copy of ``model``, act on it instead of on ``model``.

    ``copy.deepcopy`` takes functions as they are: a hook that closes over the network would act on the original, and
    one that writes into a dictionary of the network would write into the original's.

    Args:
        model: left as it is.
        network: changed in place.
        memo: of the copy: what stands for which part of the model, by ``id``.
    """
    own = {id(module) for module in model.modules()}
    rebinding = _Rebinding(own, memo)
    for module in network.modules():
        attributes = vars(module)
        for name, value in list(attributes.items()):
            if type(value) in _NOTHING or name in _OWN or (type(value) is OrderedDict and not value):
                continue
            changed = rebinding.of(value)
            if changed is not value:
                attributes[name] = changed


class _Rebinding:
    def __init__(self, modules: set[int], memo: dict[int, Any]) -> None:
        self.modules = modules
        self.memo = memo
        self.done: dict[int, Any] = {}

    def of(self, value: Any, depth: int = 0) -> Any:
        """Return what is to stand for ``value``, itself where it holds nothing of the network."""
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, functools.partial):
            inner = self.of(value.func)
            return value if inner is value.func else type(value)(inner, *value.args, **value.keywords)
        if isinstance(value, types.MethodType):
            inner = self.of(value.__func__)
            return value if inner is value.__func__ else types.MethodType(inner, value.__self__)
        if type(value) is weakref.ref:
            return self._reference(value)
        if isinstance(value, dict | list) and value and depth < _DEEPEST:
            self._inside(value, depth)
        elif isinstance(value, tuple) and type(value) is tuple and depth < _DEEPEST:
            found = tuple(self.of(part, depth + 1) for part in value)
            return value if all(a is b for a, b in zip(found, value, strict=True)) else found
        return value

    def _inside(self, container: Any, depth: int) -> None:
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            changed = self.of(container[key], depth + 1)
            if changed is not container[key]:
                container[key] = changed

    def _reference(self, reference: weakref.ref[Any]) -> Any:
        target = reference()
        return weakref.ref(self.memo[id(target)]) if target is not None and id(target) in self.memo else reference

    def _function(self, function: types.FunctionType) -> types.FunctionType:
        """Return the function with copies of what it closes over; the same one for the same one."""
        if id(function) not in self.done:
            self.done[id(function)] = function  # as a function may close over itself
            changed = self._changed(function)
            self.done[id(function)] = changed
            self.memo[id(changed)] = changed
        return self.done[id(function)]

    def _changed(self, function: types.FunctionType) -> types.FunctionType:
        cells = function.__closure__ or ()
        contents = [self._copy(_content(cell)) for cell in cells]
        names = {n: self._copy(g) for n, g in self._globals(function).items()}
        defaults = tuple(map(self._copy, function.__defaults__ or ()))
        keywords = {name: self._copy(value) for name, value in (function.__kwdefaults__ or {}).items()}
        same = all(new is _content(cell) for new, cell in zip(contents, cells, strict=True))
        same = same and all(a is b for a, b in zip(defaults, function.__defaults__ or (), strict=True))
        same = same and all(keywords[name] is value for name, value in (function.__kwdefaults__ or {}).items())
        if same and not names:
            return function
        pairs = zip(contents, cells, strict=True)
        bound = tuple(old if _content(old) is new else types.CellType(new) for new, old in pairs)
        scope = {**function.__globals__, **names} if names else function.__globals__
        made = types.FunctionType(function.__code__, scope, function.__name__, defaults or None, bound or None)
        made.__kwdefaults__ = keywords or None
        made.__dict__.update(function.__dict__)
        made.__qualname__, made.__module__, made.__doc__ = function.__qualname__, function.__module__, function.__doc__
        return made

    def _globals(self, function: types.FunctionType) -> dict[str, Any]:
        """Return the parts of the network that a function knows as global names."""
        scope = function.__globals__
        return {n: scope[n] for n in _names(function.__code__) if id(scope.get(n)) in self.modules}

    def _copy(self, value: Any) -> Any:
        """Return the copy's own ``value``: of parts of the network, and of what a function may write into."""
        if id(value) in self.memo:
            return self.memo[id(value)]
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType) and id(value.__self__) in self.memo:
            return types.MethodType(value.__func__, self.memo[id(value.__self__)])
        if isinstance(value, nn.Module | torch.Tensor) or type(value) not in _CONTAINERS:
            return value
        return _copied(value, self.memo)


def _names(code: types.CodeType) -> set[str]:
    """Return the global names in a function, also in those that it defines."""
    inner = (part for part in code.co_consts if isinstance(part, types.CodeType))
    return set(code.co_names).union(*map(_names, inner))


_EMPTY = object()
"""Stands for the content of a cell that has none yet."""


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _EMPTY


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    replace_(value, memo)
    tried = dict(memo)  # a copy that fails leaves its parts in the memo
    try:
        made = copy.deepcopy(value, tried)
    except Exception:  # noqa: BLE001 - what else the container holds is no part of the network, and is shared
        return value
    memo.update(tried)
    return made
