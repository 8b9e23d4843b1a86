"""A registry: names to implementations, refusing duplicates and suggesting near names.

Other packages add their own without a change here: an entry point of the registry's group, such as
``[project.entry-points."espalier.criteria"]`` with ``mine = "my_package.mine:CRITERION"``, is loaded when its name is
first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

from .errors import InputError, describe, text_of, unknown_name

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """Implementations of one abstraction, by name.

    Args:
        kind: what is registered, as error messages call it ("criterion", "device").
        group: of the entry points by which other packages add their own; ``None`` takes none.
    """

    def __init__(self, kind: str, *, group: str | None = None) -> None:
        self._kind = kind
        self._group = group
        self._entries: dict[str, T] = {}
        self._found: Mapping[str, EntryPoint] | None = None

    def add(self, name: str, entry: T) -> T:
        """Register ``entry`` under ``name``.

        Raises:
            ValueError: ``name`` is taken.
        """
        if name in self._entries:
            raise ValueError(
                f"{self._kind} {name!r} is registered already as {self._entries[name]!r}; choose another name."
            )
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """Return the entry called ``name``.

        Raises:
            UnknownNameError: no entry has that name; near names are suggested.
            InputError: another package brings it, and cannot be imported.
        """
        if name in self._entries:
            return self._entries[name]
        if name not in self._outside:
            raise unknown_name(self._kind, name, self.names())
        return self.add(name, self._loaded(self._outside[name]))

    def names(self) -> tuple[str, ...]:
        """Return all names: in the order of their registration, then those that other packages bring."""
        return (*self._entries, *(name for name in self._outside if name not in self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._outside

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    @property
    def _outside(self) -> Mapping[str, EntryPoint]:
        if self._found is None:
            from importlib.metadata import entry_points  # takes its time to import

            found = () if self._group is None else entry_points(group=self._group)
            self._found = {point.name: point for point in found}
        return self._found

    def _loaded(self, point: EntryPoint) -> T:
        try:
            return point.load()
        except Exception as error:
            package = point.dist.name if point.dist is not None else point.value
            raise InputError(
                describe(
                    f"{self._kind} {point.name!r} of the package {package} cannot be loaded "
                    f"({type(error).__name__}: {text_of(error)})",
                    expected=f"{point.value} to be importable",
                    remedy="Mend or remove that package, or name another one.",
                )
            ) from error
