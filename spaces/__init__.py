"""What can be pruned: groups, criteria, pruning types, policies, the search space, applying a policy."""

from __future__ import annotations

from .apply import prune
from .graph.fingerprint import fingerprint
from .graph.groups import FrozenGroup, Graph, Group, Slice
from .graph.trace import trace
from .importance.criteria import CRITERIA
from .importance.rankings import Rankings, rank
from .importance.samples import Samples
from .masks import Masks, masks_of
from .policy import Choice, Policy
from .pruning_types import PRUNING_TYPES
from .search_space import Parameter, SearchSpace

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
