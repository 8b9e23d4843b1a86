"""Fields of options that describe themselves: what is written once of a field serves every place that shows it.

The command line's options, ``--config``, ``run.json``, the command that repeats a search and the table of the
documentation are all made from the fields of one frozen dataclass, whose docstrings are the help.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

Kind = Literal["text", "whole", "switch", "names", "repeated"]
"""How a command line writes it: a text, a whole number, ``--x/--no-x``, names with commas, or several times."""
Reader = Callable[[str, object], Any]
"""Turns what was given under a name into the field's value; raises ``InputError``."""
_OPTION = "option"


@dataclass(frozen=True)
class OptionField:
    """One option."""

    name: str
    default: Any
    help: str
    """The field's docstring, in one line."""
    kind: Kind
    read: Reader
    metavar: str | None
    unset: str
    """What ``None`` stands for, or what else there is to say of the default."""
    flag: str
    """On the command line, without hyphens in front."""
    aliases: tuple[str, ...]
    """Other names that a config file may use."""
    may_change: bool
    """Whether a resumed run may be given another value: it says how long and with what it runs, not what is found."""
    required: bool

    @property
    def shown_default(self) -> str:
        """The default as a command line would write it."""
        if self.kind == "switch" and self.default is not None:
            shown = f"--{self.flag}" if self.default else f"--no-{self.flag}"
            return shown + self.unset
        return self.unset or self.text_of(self.default)

    def text_of(self, value: Any) -> str:
        """Return a value as a config file or a command line would write it."""
        return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    def words_of(self, value: Any) -> list[str]:
        """Return the words of a command line that give the option this value; none for ``None``."""
        if value is None:
            return []
        if self.kind == "switch":
            return [f"--{self.flag}" if value else f"--no-{self.flag}"]
        if self.kind == "repeated":
            return [word for each in value for word in (f"--{self.flag}", str(each))]
        return [f"--{self.flag}", self.text_of(value)]


def option(
    default: Any = dataclasses.MISSING,
    *,
    read: Reader,
    kind: Kind = "text",
    metavar: str | None = None,
    unset: str = "",
    flag: str | None = None,
    aliases: tuple[str, ...] = (),
    may_change: bool = False,
) -> Any:
    """Return a dataclass field that is an option; see :class:`OptionField`."""
    stored = {
        "kind": kind, "read": read, "metavar": metavar, "unset": unset, "flag": flag, "aliases": aliases,
        "may_change": may_change,
    }  # fmt: skip
    return dataclasses.field(default=default, metadata={_OPTION: stored})


@functools.cache
def option_fields(options: type) -> tuple[OptionField, ...]:
    """Return the options that a dataclass declares, those of the classes it extends first."""
    helps = {name: text for cls in reversed(options.__mro__) for name, text in _docstrings(cls)}
    return tuple(_option_field(f, helps.get(f.name, "")) for f in dataclasses.fields(options) if _OPTION in f.metadata)


def named(options: type) -> dict[str, OptionField]:
    """Return the options that a dataclass declares, by name."""
    return {field.name: field for field in option_fields(options)}


def markdown_table(options: type) -> str:
    """Return the options of a dataclass as a table of the documentation."""
    lines = ["| option | default | what it says |", "|---|---|---|"]
    for field in option_fields(options):
        if not field.required:
            flag = f"--{field.flag}/--no-{field.flag}" if field.kind == "switch" else f"--{field.flag}"
            lines.append(f"| `{flag}` | {field.shown_default.strip()} | {field.help} |".replace("``", "`"))
    return "\n".join(lines) + "\n"


def _option_field(field: dataclasses.Field[Any], text: str) -> OptionField:
    stored = dict(field.metadata[_OPTION])
    flag = stored.pop("flag") or field.name.replace("_", "-")
    required = field.default is dataclasses.MISSING
    default = None if required else field.default
    return OptionField(name=field.name, default=default, help=text, flag=flag, required=required, **stored)


def _docstrings(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the docstring under each field of a class, in one line."""
    if not dataclasses.is_dataclass(cls):
        return
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    body = definition.body if isinstance(definition, ast.ClassDef) else []
    for before, after in pairwise(body):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and is_text:
            yield before.target.id, " ".join(str(after.value.value).split())  # pyright: ignore[reportAttributeAccessIssue]
