"""What can be pruned: groups, criteria, pruning types, policies, the search space, applying a policy."""

from __future__ import annotations

from .apply import prune
from .criteria import CRITERIA
from .fingerprint import fingerprint
from .groups import FrozenGroup, Graph, Group, Slice
from .masks import Masks, masks_of
from .policy import Choice, Policy
from .pruning_types import PRUNING_TYPES
from .rankings import Rankings, rank
from .samples import Samples
from .search_space import Parameter, SearchSpace
from .trace import trace

__all__ = [
    "CRITERIA",
    "PRUNING_TYPES",
    "Choice",
    "FrozenGroup",
    "Graph",
    "Group",
    "Masks",
    "Parameter",
    "Policy",
    "Rankings",
    "Samples",
    "SearchSpace",
    "Slice",
    "fingerprint",
    "masks_of",
    "prune",
    "rank",
    "trace",
]
