"""Copies of networks, without what makes ``copy.deepcopy`` slow on them."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def copied(model: Network, memo: dict[int, object] | None = None) -> Network:
    """Return a deep copy of ``model`` that shares nothing with it.

    Each module keeps about ten ordered dictionaries for hooks, nearly all of them empty, and each of those costs a
    generic copy more than a parameter does. Empty ones are put into the memo as new empty ones.

    Args:
        model: left as it is.
        memo: what stands for parts of the model in the copy, by ``id``; as for ``copy.deepcopy``.
    """
    known = {} if memo is None else memo
    for module in model.modules():
        for value in vars(module).values():
            if type(value) is OrderedDict and not value:
                known.setdefault(id(value), OrderedDict())
    return copy.deepcopy(model, known)
