"""The file of a kept latency table. Times that vary too much are left out of it: a later run measures them again."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from tprune.costs.latency.files import with_unknown_times
from tprune.costs.latency.table import LatencyTable
from tprune.costs.latency.timer import DENSE, given_up
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json


@dataclass(frozen=True)
class Shelf:
    """Where the table of a key is kept; `older` is where an earlier version kept it."""

    path: Path
    key: str
    older: Shelf | None = None

    def age(self) -> float:
        """Seconds since the table was written."""
        if self.older is not None and not self.path.exists():
            return self.older.age()
        return time.time() - self.path.stat().st_mtime

    def read(self) -> LatencyTable | None:
        """The table, if there is one of this key; one without a dense time has an infinite `dense_spread`.

        Raises:
            InputError: the folder cannot be written to, or the table is damaged.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            table = self._table(read_json(self.path)) if self.path.exists() else None
        except OSError as error:
            raise InputError(
                f"{folder}: latency tables cannot be kept there ({error.strerror or error}); name another folder in "
                "XDG_CACHE_HOME"
            ) from None
        if not os.access(folder, os.W_OK):
            raise InputError(f"{folder}: latency tables cannot be kept there; name another folder in XDG_CACHE_HOME")
        if table is None and self.older is not None:
            found = self.older.read()
            return None if found is None else replace(found, key=self.key)
        return table if table and table.key == self.key else None

    def write(self, table: LatencyTable) -> None:
        """Keeps a table, without what varies too much: the dense model's time, and plans that were given up."""
        good = tuple(timed for timed in table.plans if not given_up(timed.ratios, table.setting))
        data = replace(table, plans=good).to_dict()
        if table.dense_spread > DENSE:
            data["dense"] = data["dense_spread"] = None
        write_json(self.path, data)

    def _table(self, data: object) -> LatencyTable | None:
        if isinstance(data, dict) and data.get("dense", 0) is None:
            return replace(LatencyTable.of(with_unknown_times(data), self.path), dense_spread=float("inf"))
        return LatencyTable.of(data, self.path)
