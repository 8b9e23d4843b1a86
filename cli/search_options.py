"""The command line's side of :class:`~espalier.search.options.SearchOptions`: its fields as parameters of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..search.option_fields import OptionField, option_fields

_TYPES: dict[str, Any] = {
    "text": str | None,
    "names": str | None,
    "whole": int | None,
    "switch": bool | None,
    "repeated": list[str] | None,
}


def takes_options(options: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator: the command gets a parameter for each option; what is not given comes as ``None``.

    Args:
        options: the dataclass whose fields they are. Parameters of the command's own follow them; ``**given`` takes
            the options.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind != p.VAR_KEYWORD]
        parameters = [*(_parameter(field) for field in option_fields(options)), *own]
        command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        command.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def _parameter(field: OptionField) -> inspect.Parameter:
    made = _argument(field) if field.required else _option(field)
    annotation = Annotated[_TYPES[field.kind], made]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _argument(field: OptionField) -> Any:
    return typer.Argument(metavar=field.metavar, help=field.help, show_default=False)


def _option(field: OptionField) -> Any:
    flag = f"--{field.flag}/--no-{field.flag}" if field.kind == "switch" else f"--{field.flag}"
    words = f"{field.help} Default: {field.shown_default}."
    return typer.Option(flag, metavar=field.metavar, help=words, show_default=False)
