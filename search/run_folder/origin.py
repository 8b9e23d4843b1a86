"""Where a trial comes from: a value with a type, stored as data, so that no code tells a trial's kind by a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class OriginKind(StrEnum):
    """What proposed a trial."""

    DENSE = "dense"
    """The network as it was brought, the first of all candidates."""
    GIVEN = "given"
    """The user."""
    PATH = "path"
    """The path of shrinking networks."""
    METHOD = "method"
    """A published method at one of its levels; ``name`` says which."""
    RUNG = "rung"
    """The ladder of fidelities: an earlier candidate is trained further."""
    REFINEMENT = "refinement"
    """Refinement: a member of the front is trained on, or evaluated at another precision."""
    COARSE = "coarse"
    """A coarse resolution of the space; ``name`` says which."""
    RANDOM = "random"
    """A draw, where the sampler proposed nothing new."""
    SAMPLER = "sampler"
    """The sampler."""


@dataclass(frozen=True)
class Origin:
    """Where a trial comes from."""

    kind: OriginKind
    name: str = ""
    """Of the method or the resolution."""
    detail: str = ""
    """The level of a method; the number of a given policy, of a network of the path or of a rung."""
    trial: int | None = None
    """The trial that is trained further."""
    precision: str = "fp32"
    """Of a starting point."""

    @property
    def comes_first(self) -> bool:
        """Whether it is evaluated whatever it is predicted to cost, and in full at once."""
        return self.kind in (OriginKind.DENSE, OriginKind.GIVEN, OriginKind.PATH)

    @property
    def family(self) -> str:
        """What proposed it, in words, without a level or number."""
        return self.name or str(self.kind)

    def __str__(self) -> str:
        head = " ".join(word for word in (self.family, self.detail) if word)
        tail = "" if self.trial is None else f", trial {self.trial}"
        return head + tail + ("" if self.precision == "fp32" else f" {self.precision}")

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data that a study stores; what is at its default is left out."""
        return {"kind": str(self.kind), **{k: v for k, v in asdict(self).items() if k != "kind" and v != _UNSET[k]}}

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any] | str | None) -> Origin:
        """Rebuild from :meth:`to_dict`'s data, or from the text that earlier versions stored; ``None``: the sampler."""
        if stored is None:
            return cls(OriginKind.SAMPLER)
        if isinstance(stored, str):
            return _from_text(stored)
        return cls(**{**stored, "kind": OriginKind(stored["kind"])})


_UNSET = {"name": "", "detail": "", "trial": None, "precision": "fp32"}
_TEXT = re.compile(
    r"(?P<words>[a-z][a-z ]*?)(?: (?P<detail>[\d.][^ ,]*(?: weights)?))?(?:, trial (?P<trial>\d+))?"
    r"(?: (?P<precision>fp32|int8))?"
)
_KINDS = {str(kind) for kind in OriginKind} - {str(OriginKind.METHOD), str(OriginKind.COARSE)}
_EARLIER = {"last step": OriginKind.REFINEMENT}
"""What earlier versions called it."""
_NAMED = {"level and temperature": OriginKind.COARSE, "stages": OriginKind.COARSE}


def _from_text(text: str) -> Origin:
    """Read what earlier versions stored, such as ``rung 1, trial 12`` or ``uniform 0.5 int8``."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return Origin(OriginKind.METHOD, text)
    words, trial = found["words"], found["trial"]
    rest = {"detail": found["detail"] or "", "precision": found["precision"] or "fp32"}
    number = None if trial is None else int(trial)
    if words in _KINDS or words in _EARLIER:
        return Origin(_EARLIER.get(words) or OriginKind(words), trial=number, **rest)
    return Origin(_NAMED.get(words, OriginKind.METHOD), words, trial=number, **rest)
