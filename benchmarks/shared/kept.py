"""Plans and translations of a benchmark, kept compressed beside its numbers, so that intervals can be computed again.

`numbers.json` has the folder `numbers.kept`, with `NAME.plan.json.gz` and `NAME.said.json.gz`. References are not
copied: a checksum says which ones the translations belong to.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tprune.core.plan import Plan
from tprune.support.errors import InputError
from tprune.support.files import write_json
from tprune.tasks.metrics.translation import Paired, paired_over_runs

REFERENCES = "references.json"


@dataclass(frozen=True)
class Kept:
    """The folder of one JSON of numbers."""

    folder: Path

    @staticmethod
    def beside(numbers: Path) -> Kept:
        """The folder that belongs to a JSON of numbers.

        Example:
            >>> Kept.beside(Path("benchmarks/one_shot/results.json")).folder.as_posix()
            'benchmarks/one_shot/results.kept'
        """
        return Kept(numbers.with_suffix(".kept"))

    def plan(self, name: str, plan: Plan) -> None:
        """Keeps what a model kept."""
        self._write(f"{name}.plan", json.loads(plan.to_json()))

    def plan_of(self, name: str) -> Plan:
        """A kept plan."""
        return Plan.from_json(json.dumps(self._read(f"{name}.plan")))

    def said(self, name: str, lines: Sequence[str], references: Sequence[str]) -> None:
        """Keeps a model's translations of the sentences that these references belong to.

        Raises:
            InputError: there are not as many, or the folder has translations of other sentences.
        """
        if len(lines) != len(references):
            raise InputError(f"{name}: {len(lines)} translations for {len(references)} references")
        note = self.folder / REFERENCES
        if note.exists():
            self._check(references)
        else:
            write_json(note, _described(references))
        self._write(f"{name}.said", list(lines))

    def said_by(self, name: str) -> list[str]:
        """A model's translations."""
        found: list[str] = self._read(f"{name}.said")
        return found

    def difference(self, rivals: Sequence[str], names: Sequence[str], references: Sequence[str]) -> Paired:
        """BLEU of some models minus that of as many others, seed by seed, with its interval, from what is stored.

        Args:
            rivals: what is subtracted, one name a seed.
            names: of the models, in the same order.
            references: those of the translations.

        Raises:
            InputError: something is not stored, or the references are others.
        """
        self._check(references)
        return paired_over_runs(*([self.said_by(name) for name in some] for some in (rivals, names)), references)

    def _check(self, references: Sequence[str]) -> None:
        note = self.folder / REFERENCES
        if not note.exists() or json.loads(note.read_text(encoding="utf-8")) != _described(references):
            raise InputError(f"{self.folder}: its translations do not belong to these {len(references)} references")

    def _file(self, name: str) -> Path:
        return self.folder / f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', name)}.json.gz"

    def _write(self, name: str, data: Any) -> None:
        file = self._file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
        # no time in the header: the same content gives the same file
        file.write_bytes(gzip.compress(text.encode(), mtime=0))

    def _read(self, name: str) -> Any:
        file = self._file(name)
        if not file.exists():
            raise InputError(f"{file}: not stored")
        return json.loads(gzip.decompress(file.read_bytes()))


def _described(references: Sequence[str]) -> Mapping[str, Any]:
    return {"sentences": len(references), "sha256": sha256("\n".join(references).encode()).hexdigest()}
