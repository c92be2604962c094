"""Things by name: ours by where they are defined, those that a user's module enters, those of packages."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Generic, TypeVar

from tprune.support.errors import InputError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to things of one kind; nothing is imported before it is asked for.

    Args:
        kind: what the things are, for messages, such as `method`.
        group: the entry points under which packages install theirs.
        ours: `module:attribute` by name.
        fault: what is wrong with a thing that a plugin enters; None where nothing is. Installed ones are looked at when
            they are first asked for.

    Example:
        >>> known = Registry[type]("fraction", "tprune.none", {"exact": "fractions:Fraction"})
        >>> known["exact"](1, 2)
        Fraction(1, 2)
    """

    def __init__(
        self, kind: str, group: str, ours: Mapping[str, str], fault: Callable[[object], str | None] | None = None
    ) -> None:
        self.kind, self.group, self.ours, self.fault = kind, group, dict(ours), fault
        self.entered: dict[str, T] = {}
        self._sound: set[str] = set()  # installed ones that were looked at

    def enter(self, name: str, thing: T) -> None:
        """Adds a thing for as long as the process lives; one that was entered under the name before is replaced.

        Raises:
            InputError: one of ours, or of an installed package, has the name; or the thing lacks what its kind needs.
        """
        if name in self.ours or name in _installed(importlib.metadata.entry_points, self.group):
            raise InputError(f"two {self.kind}s are called {name!r}; a plugin's needs a name of its own")
        self._check(name, thing, "entered")
        self.entered[name] = thing

    def name_of(self, thing: object) -> str | None:
        """The name of a thing, None where it has none. Ours and installed ones are imported for this."""
        return next((name for name, known in self.items() if known is thing), None)

    def _check(self, name: str, thing: object, how: str) -> None:
        if self.fault is not None and (wrong := self.fault(thing)):
            raise InputError(f"{self.kind} {name!r} cannot be {how}: {wrong}")

    def __getitem__(self, name: str) -> T:
        if name in self.ours:
            ours: T = _at(self.ours[name])
            return ours
        if name in self.entered:
            return self.entered[name]
        installed = _installed(importlib.metadata.entry_points, self.group)
        if name in installed:
            try:
                theirs: T = installed[name]()
            except Exception as error:  # whatever the import of a stranger's package raises
                raise InputError(
                    f"{self.kind} {name!r}, which a package installs under {self.group}, cannot be imported "
                    f"({type(error).__name__}: {error}); expected it to import: repair or uninstall the package"
                ) from error
            if name not in self._sound:
                self._check(name, theirs, f"used, which a package installs under {self.group}")
                self._sound.add(name)
            return theirs
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))  # without importing it

    def __iter__(self) -> Iterator[str]:
        installed = _installed(importlib.metadata.entry_points, self.group)
        if taken := sorted(set(self.ours) & set(installed)):
            raise InputError(f"two {self.kind}s are called {taken[0]!r}; a plugin's needs a name of its own")
        return iter(dict.fromkeys([*self.ours, *self.entered, *installed]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def named(self, name: str) -> T:
        """The thing of a name. Raises `InputError` naming those there are."""
        if name not in self:
            raise InputError(f"{self.kind} {name!r}; expected one of {', '.join(sorted(self))}")
        return self[name]


@cache
def _at(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def _installed(entry_points: Callable[..., Any], group: str) -> Mapping[str, Callable[[], Any]]:
    """Loaders by name; read once, since all metadata of the environment is searched for them."""
    points = list(entry_points(group=group))
    names = [point.name for point in points]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two installed packages enter {twice[0]!r} under {group}; uninstall one of them")
    return {point.name: cache(point.load) for point in points}


def rescan() -> None:
    """Looks for installed packages again, once one was installed while this process runs."""
    _installed.cache_clear()
