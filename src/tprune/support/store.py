"""A folder of finished pieces of work, which a call that was killed and given again does not do anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json

IDENTITY = "made-from.json"
Piece = TypeVar("Piece")


@dataclass(frozen=True)
class Form(Generic[Piece]):
    """How a piece lies on the disk.

    Attributes:
        ending: of its file's or folder's name.
        read: gives the piece that lies at a path.
        write: puts a piece at a path, whole or not at all.
    """

    ending: str
    read: Callable[[Path], Piece]
    write: Callable[[Path, Piece], object]


JSON: Form[Any] = Form(".json", read_json, write_json)


@dataclass(frozen=True)
class Store(Generic[Piece]):
    """Pieces by name. A piece is done once it is there: it is written last, whatever belongs to it before.

    Example:
        >>> import tempfile
        >>> store = Store(Path(tempfile.mkdtemp()))
        >>> store.put("a", {"loss": 1.5})
        >>> store.missing(["a", "b"]), store.get("a")
        (['b'], {'loss': 1.5})
    """

    folder: Path
    form: Form[Piece] = JSON

    @staticmethod
    def made_from(folder: Path, identity: Mapping[str, object], form: Form[Piece] = JSON) -> Store[Piece]:
        """The store in a folder that holds nothing made from something else.

        Raises `InputError` as `check_identity`.
        """
        check_identity(folder, identity)
        return Store(folder, form)

    def path(self, name: str) -> Path:
        """Where a piece lies, or will."""
        return self.folder / f"{name}{self.form.ending}"

    def done(self, name: str) -> bool:
        """Whether a piece is there."""
        return self.path(name).exists()

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names whose pieces are not there, in their order."""
        return [name for name in names if not self.done(name)]

    def names(self) -> list[str]:
        """The pieces that are there."""
        found = (path.name for path in self.folder.glob(f"*{self.form.ending}"))
        return sorted(name.removesuffix(self.form.ending) for name in found if name != IDENTITY)

    def get(self, name: str) -> Piece:
        """A piece that is there. Raises `InputError` where it is not, or is damaged, as far as its form looks."""
        return self.form.read(self.path(name))

    def put(self, name: str, piece: Piece) -> None:
        """Writes a piece, which is then done."""
        self.form.write(self.path(name), piece)


def check_identity(folder: Path, identity: Mapping[str, object]) -> None:
    """Notes in `folder` what its content is made from, so that killed work goes on only with its own beginnings.

    Raises:
        InputError: it was made from something else; says what differs.
    """
    marker, now = folder / IDENTITY, json.loads(json.dumps(identity))
    if marker.exists():
        then = read_json(marker)
        for key, value in now.items():
            if value != (before := then.get(key)):
                what = f"{key} ({before!r}, now {value!r})"
                raise InputError(f"{folder} holds work with another {what}; choose another folder")
    write_json(marker, now)
