"""The coarse resolutions of the search space, before the sampler proposes a choice for each group."""

from __future__ import annotations

from ..coarse_proposals import CoarseProposals
from ..run_folder.origin import Origin, OriginKind
from .base import Running, Suggestion


class CoarseSource:
    """Suggests what few numbers for the whole network come to."""

    def __init__(self, proposals: CoarseProposals) -> None:
        self._proposals = proposals

    def suggest(self, running: Running) -> Suggestion | None:
        """Return a proposal at the coarsest resolution that has not had its trials."""
        found = self._proposals.next()
        if found is None:
            return None
        return Suggestion(found.values, Origin(OriginKind.COARSE, found.resolution), found.attributes)
