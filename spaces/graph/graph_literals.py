"""Numbers written into the code of a ``torch.fx.GraphModule``: arguments of its operations, which can follow a width.

Code that is Python cannot be changed so; there a group that meets such a number is frozen, and the line is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import fx

from .groups import SizeAttribute

_NEVER = frozenset({"kernel_size", "stride", "padding", "dilation", "dim", "output_padding", "training"})


def literals(name: str, module: fx.GraphModule) -> Iterator[SizeAttribute]:
    """Yield the sizes among the arguments of a module's operations, each named by its operation and place."""
    for node in module.graph.nodes:
        if node.op in ("call_function", "call_method"):
            for place, value in _numbers((node.args, node.kwargs)):
                yield SizeAttribute(name, f"{node.name}:{'/'.join(place)}", None, value)


def _numbers(tree: Any) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield whole numbers above one in a structure, each with the way to it."""
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, tuple | list) else ()
    for key, part in parts:
        if type(part) is int and part > 1 and key not in _NEVER:
            yield (str(key),), part
        elif key not in _NEVER:
            yield from (((str(key), *place), value) for place, value in _numbers(part))


def is_literal(module: object, attribute: SizeAttribute) -> bool:
    """Return whether an attribute stands for an argument of an operation."""
    return isinstance(module, fx.GraphModule) and ":" in attribute.name


def lower_literal(module: fx.GraphModule, attribute: SizeAttribute, fall: int) -> None:
    """Lower an argument of an operation, in place, and write the module's code anew."""
    name, _, place = attribute.name.partition(":")
    node = next(node for node in module.graph.nodes if node.name == name)
    node.args, node.kwargs = _lowered((node.args, node.kwargs), place.split("/"), fall)
    module.recompile()


def _lowered(tree: Any, place: list[str], fall: int) -> Any:
    if not place:
        return tree - fall
    first, *rest = place
    if isinstance(tree, dict):
        return {key: _lowered(part, rest, fall) if key == first else part for key, part in tree.items()}
    return type(tree)(_lowered(part, rest, fall) if str(i) == first else part for i, part in enumerate(tree))
