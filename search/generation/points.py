"""Policies to try in a given order: what the user's, the path's and the published methods' sources have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable

from ...spaces.policy import Policy
from ...spaces.search_space import SearchSpace
from ..starting_points import StartingPoint
from .base import Running, Suggestion, policies_under_way


class PointSource:
    """Suggests one starting point after the other.

    A network of the path waits while another one is being trained, whose weights it takes over. What the path's first
    networks show not to be worth training is left out.
    """

    def __init__(
        self,
        points: Iterable[StartingPoint],
        space: SearchSpace,
        *,
        path: Collection[Policy] = (),
        hopeless: Callable[[Policy], bool] = lambda _: False,
    ) -> None:
        self._points = deque(points)
        self._space = space
        self._path = {policy.key for policy in path}
        self._hopeless = hopeless

    def suggest(self, running: Running) -> Suggestion | None:
        """Return the next point that need not wait."""
        if not self._path_is_under_way(running):
            self._points = deque(p for p in self._points if not self._hopeless(p.policy))
        point = self._next(running)
        if point is None:
            return None
        self._points.remove(point)
        return Suggestion(self._space.values(point.policy), point.origin)

    def has_some(self, running: Running) -> bool:
        """Return whether there is a point that need not wait."""
        return self._next(running) is not None

    def to_come(self, running: Running) -> tuple[Policy, ...]:
        """Return the networks of the path that are still to be trained, those that are ``running`` left out."""
        under_way = policies_under_way(running)
        waiting = (point.policy for point in self._points)
        coming = (p for p in waiting if p.key in self._path and p.key not in under_way)
        return tuple(policy for policy in coming if not self._hopeless(policy))

    def _next(self, running: Running) -> StartingPoint | None:
        waits = self._path_is_under_way(running)
        return next((p for p in self._points if not (waits and p.policy.key in self._path)), None)

    def _path_is_under_way(self, running: Running) -> bool:
        return any(candidate.policy.key in self._path for candidate in running.values())
