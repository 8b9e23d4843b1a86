"""Sizes that modules keep as attributes, such as ``num_heads``, and that must follow what is removed.

A forward pass that reshapes by a stored number fails once the number no longer fits. Which attributes hold such a
number cannot be read off a network in general, so it is tried: those of the modules around a group whose value is a
size of the group are made to follow, and the mask oracle says whether the network then means what it should.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType

import torch
from torch import fx, nn

from .graph_literals import is_literal, literals, lower_literal
from .groups import Group, SizeAttribute

_NEVER = frozenset(
    {"training", "kernel_size", "stride", "padding", "dilation", "num_classes", "_version", "in_chans", "dim"}
)


@dataclass(frozen=True)
class SplitPart:
    """One of the parts that channels were split into by given sizes, as seen by one group."""

    sizes: tuple[int, ...]
    index: int
    """Which part."""
    per: tuple[int, ...]
    """How much of the part belongs to each channel of the group."""


def followers(model: nn.Module, group: Group, parts: Sequence[SplitPart] = ()) -> tuple[SizeAttribute, ...]:
    """Return every attribute around ``group`` whose value is one of the group's sizes, or the size of one of ``parts``.

    Around are the modules that hold the group's layers, the modules that hold those, and the layers themselves where
    they are no plain ones. Lists and sequences in between do not count. Modules that hold nothing but numbers, such as
    ``nn.Unflatten`` and reshapes of one's own, may stand anywhere.
    """
    sizes = {s for s in _sizes(group) if s % group.channels == 0}
    found: dict[SizeAttribute, None] = {}
    for name in (*_around(model, group), *_reshapers(model)):
        module = model.get_submodule(name)
        if isinstance(module, nn.Unflatten) or not type(module).__module__.startswith("torch.nn"):
            listed = _parts(name, module, parts)
            numbers = literals(name, module) if isinstance(module, fx.GraphModule) else _numbers(name, module)
            lists = {a.name for a in listed}
            whole = (a for a in numbers if a.name not in lists and _follows(a, group.channels, sizes))
            found.update(dict.fromkeys([*listed, *whole]))
    return tuple(found)


def _parts(name: str, module: nn.Module, parts: Sequence[SplitPart]) -> list[SizeAttribute]:
    """Return the entries of lists of sizes that the module splits channels by."""
    lists = {k: tuple(v) for k, v in vars(module).items() if type(v) in (list, tuple)}
    return [
        SizeAttribute(name, attribute, part.index, part.sizes[part.index], part.per)
        for attribute, sizes in lists.items()
        for part in parts
        if part.sizes == sizes
    ]


def _follows(attribute: SizeAttribute, channels: int, sizes: set[int]) -> bool:
    """Return whether an attribute is a size of the group, or usually a part of one (heads of so many channels)."""
    if attribute.value in sizes:
        return True
    part = attribute.value % channels == 0 and any(size % attribute.value == 0 for size in sizes)
    return attribute.name in _USUAL and part


def attempts(
    candidates: Sequence[SizeAttribute], *, most: int = 24, read: Collection[SizeAttribute] = ()
) -> Iterator[tuple[SizeAttribute, ...]]:
    """Yield the sets of attributes to try: those usually named so, those that code reads, all, and parts of them.

    Args:
        candidates: attributes that may have to follow.
        most: how many sets.
        read: of the candidates, those that methods of their modules' classes read.
    """
    names = list(dict.fromkeys(kind_of(a) for a in candidates))
    in_code = {kind_of(a) for a in read}
    tried: set[tuple[SizeAttribute, ...]] = set()
    known = {kind_of(a) for a in candidates if a.per}
    for wanted in (known, *(known | names for names in _name_sets(names, in_code))):
        chosen = tuple(a for a in candidates if kind_of(a) in wanted)
        if chosen and chosen not in tried and len(tried) < most:
            tried.add(chosen)
            yield chosen


def read_by_code(model: nn.Module, attributes: Iterable[SizeAttribute]) -> frozenset[SizeAttribute]:
    """Return the attributes that some method of their module's class names, other than the one that sets them up."""
    names: dict[type, frozenset[str]] = {}
    found = []
    for attribute in attributes:
        kind = type(model.get_submodule(attribute.module))
        if kind not in names:
            names[kind] = frozenset(_names_in_methods(kind))
        if attribute.name in names[kind]:
            found.append(attribute)
    return frozenset(found)


def _names_in_methods(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        if base not in (nn.Module, object):
            for name, member in vars(base).items():
                code = getattr(member, "__code__", None)
                if name != "__init__" and isinstance(code, CodeType):
                    yield from _names_in(code)


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def apply_sizes(model: nn.Module, removed: Iterable[tuple[Group, Sequence[int]]]) -> None:
    """Lower the attributes of each group by what goes with its channels ``removed``, in place.

    Several groups may share a number, each of which takes its part of it.
    """
    for group, gone in removed:
        done: set[tuple[nn.Module, str, int | None]] = set()
        for attribute in group.attributes if gone else ():
            module = model.get_submodule(attribute.module)
            key = module, attribute.name, attribute.index
            if key not in done:  # a module may have several names
                done.add(key)
                _lower(module, attribute, attribute.fall(gone, group.channels))


def _lower(module: nn.Module, attribute: SizeAttribute, fall: int) -> None:
    if is_literal(module, attribute) and isinstance(module, fx.GraphModule):
        lower_literal(module, attribute, fall)
        return
    found = getattr(module, attribute.name)
    if attribute.index is None:
        setattr(module, attribute.name, found - fall)
    else:
        setattr(module, attribute.name, type(found)(v - fall * (i == attribute.index) for i, v in enumerate(found)))


_USUAL = frozenset(
    """num_heads heads n_heads n_head num_attention_heads num_kv_heads num_key_value_heads num_key_value_groups attn_dim
    all_head_size inner_dim groups num_groups width channels split_indices""".split()
)
"""Names under which heads and widths are usually kept; tried first."""


Kind = tuple[str, str, int | None]


def kind_of(attribute: SizeAttribute) -> Kind:
    """Return the attribute's name and the name of the module inside its parent: blocks of one kind go together."""
    return attribute.module.rpartition(".")[2], attribute.name, attribute.index


def _name_sets(names: list[Kind], read: set[Kind]) -> Iterator[set[Kind]]:
    yield {key for key in names if key[1] in _USUAL}
    yield read
    yield set(names)
    for name in names:
        yield set(names) - {name}
    for name in names:
        yield {name}
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            yield {first, second}


def _sizes(group: Group) -> set[int]:
    sizes = {group.channels}
    for piece in group.slices:
        removed = sum(len(row) for row in piece.positions)
        sizes.add(removed)
    heads = {s // 3 for s in sizes if s % 3 == 0}  # queries, keys and values are often made by one layer
    return sizes | heads


def _around(model: nn.Module, group: Group) -> list[str]:
    parents = [_holder(model, layer) for layer in group.layers]
    grandparents = [_holder(model, parent) for parent in parents]
    return list(dict.fromkeys([*parents, *group.layers, *grandparents]))


def _reshapers(model: nn.Module) -> list[str]:
    """Return the modules that hold no tensors and no other modules: some reshape by a number that they keep."""
    return [
        name
        for name, module in model.named_modules()
        if not (module._parameters or module._buffers or module._modules)
        and (isinstance(module, nn.Unflatten) or not type(module).__module__.startswith("torch.nn"))
    ]


def _holder(model: nn.Module, name: str) -> str:
    """Return the nearest module around ``name`` that has a forward of its own: lists and sequences keep no sizes."""
    parent = name.rpartition(".")[0]
    while parent and type(model.get_submodule(parent)) in (nn.ModuleList, nn.ModuleDict, nn.Sequential):
        parent = parent.rpartition(".")[0]
    return parent


def _numbers(name: str, module: nn.Module) -> Iterator[SizeAttribute]:
    for attribute, value in vars(module).items():
        if attribute in _NEVER or attribute.startswith("__"):
            continue
        if _is_size(value):
            yield SizeAttribute(name, attribute, None, value)
        elif type(value) in (list, tuple, torch.Size) and all(type(v) is int for v in value):
            yield from (SizeAttribute(name, attribute, i, v) for i, v in enumerate(value) if _is_size(v))


def _is_size(value: object) -> bool:
    return type(value) is int and value > 1
