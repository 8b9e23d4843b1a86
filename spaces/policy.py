"""A policy: for every group what is removed and how much, and the precision the network runs at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InputError, describe
from .graph.groups import Graph

VERSION = 1


@dataclass(frozen=True)
class Choice:
    """What is done to one group."""

    type: str
    """Pruning type, such as ``channel`` or ``none``."""
    criterion: str | None
    """How channels or weights are ranked; ``None`` where nothing is removed."""
    kept: int
    """In the type's unit: channels; for ``nm`` weights of each block; for ``weight`` weights; for ``block`` nothing."""
    of: int
    """All there are of that unit: the group's channels; a block's length; the group's weights."""

    def __post_init__(self) -> None:
        least = 0 if self.type == "block" else 1
        if not least <= self.kept <= self.of:
            raise InputError(
                describe(
                    f"kept {self.kept} of {self.of}",
                    expected=f"kept in {least}..{self.of}",
                    remedy="Correct the policy.",
                )
            )

    @property
    def sparsity(self) -> float:
        """Fraction of the group's channels or weights removed, in [0, 1); 1 only for a dropped block."""
        return 1 - self.kept / self.of

    @classmethod
    def keep_all(cls, of: int) -> Choice:
        """Return the choice that leaves a group of ``of`` channels as it is."""
        return cls(type="none", criterion=None, kept=of, of=of)

    @classmethod
    def channel(cls, *, kept: int, of: int, criterion: str) -> Choice:
        """Return the choice that keeps the ``kept`` best channels; keeping all is the choice ``none``."""
        return cls.keep_all(of) if kept == of else cls(type="channel", criterion=criterion, kept=kept, of=of)

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data that ``policies/N.json`` stores."""
        return {
            "type": self.type,
            "criterion": self.criterion,
            "sparsity": round(self.sparsity, 6),
            "kept": self.kept,
            "of": self.of,
        }


@dataclass(frozen=True)
class Policy:
    """A choice for every group and a precision. Equal policies give equal networks."""

    model_fingerprint: str
    choices: Mapping[str, Choice]
    precision: str = "fp32"

    @classmethod
    def dense(cls, graph: Graph) -> Policy:
        """Return the policy that removes nothing."""
        return cls(graph.fingerprint, {g.name: Choice.keep_all(g.channels) for g in graph.groups})

    @classmethod
    def of(cls, graph: Graph, choices: Mapping[str, Choice], *, precision: str = "fp32") -> Policy:
        """Return the policy of the given choices, of any types, that keeps all of the groups not named."""
        for name in choices:
            graph.group(name)
        whole = {g.name: choices.get(g.name, Choice.keep_all(g.channels)) for g in graph.groups}
        return cls(graph.fingerprint, whole, precision)

    @classmethod
    def uniform(cls, graph: Graph, sparsity: float, *, criterion: str = "l2", channel_multiple: int = 1) -> Policy:
        """Return the policy that removes about ``sparsity`` of every group.

        Args:
            graph: the traced network.
            sparsity: in [0, 1); each group keeps the nearest width that ``channel_multiple`` allows.
            criterion: how channels are ranked.
            channel_multiple: kept channels are a multiple of it, or all of them.
        """
        kept = {g.name: g.width_near(sparsity, channel_multiple) for g in graph.groups}
        return cls.from_kept(graph, kept, criterion=criterion)

    @classmethod
    def from_kept(cls, graph: Graph, kept: Mapping[str, int], *, criterion: str = "l2") -> Policy:
        """Return the policy that keeps ``kept[name]`` channels of each group named, and all of the others."""
        for name in kept:
            graph.group(name)
        choices = {
            g.name: Choice.channel(kept=kept.get(g.name, g.channels), of=g.channels, criterion=criterion)
            for g in graph.groups
        }
        return cls.of(graph, choices)

    @property
    def key(self) -> tuple[Any, ...]:
        """A hashable value, equal for two policies exactly when they give the same network."""
        return (self.precision, *sorted((n, c.type, c.criterion, c.kept, c.of) for n, c in self.choices.items()))

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Policy):
            return NotImplemented
        return self.model_fingerprint == other.model_fingerprint and self.key == other.key

    def to_dict(self) -> dict[str, Any]:
        """Return the plain data that ``policies/N.json`` stores."""
        return {
            "version": VERSION,
            "model_fingerprint": self.model_fingerprint,
            "precision": self.precision,
            "choices": {name: choice.to_dict() for name, choice in self.choices.items()},
        }

    def to_json(self) -> str:
        """Return the policy as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Policy:
        """Rebuild a policy from :meth:`to_dict`'s data.

        Raises:
            InputError: a field is missing or malformed, or the version is another.
        """
        if data.get("version") != VERSION:
            raise InputError(
                describe(
                    f"policy version {data.get('version')!r}",
                    expected=str(VERSION),
                    remedy="Use the Espalier that wrote it.",
                )
            )
        try:
            choices = {
                name: Choice(type=c["type"], criterion=c["criterion"], kept=int(c["kept"]), of=int(c["of"]))
                for name, c in data["choices"].items()
            }
            return cls(data["model_fingerprint"], choices, data["precision"])
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(
                describe(
                    f"policy without a valid {error}",
                    expected="the fields of policies/N.json",
                    remedy="Restore the file.",
                )
            ) from error

    @classmethod
    def from_json(cls, text: str | Mapping[str, Any]) -> Policy:
        """Rebuild a policy from :meth:`to_json`'s text, or from the same already parsed."""
        if not isinstance(text, str):
            return cls.from_dict(text)
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise InputError(
                describe(
                    f"policy text that is no JSON ({error})", expected="a policy's JSON", remedy="Restore the file."
                )
            ) from error
