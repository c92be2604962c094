"""The multiples that were tuned on this machine, kept between runs: one file for a runtime in a precision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tprune.core.precision import Precision
from tprune.costs.multiples.choice import Chosen
from tprune.costs.multiples.probes import PROBES
from tprune.runtimes.runtime import Runtime
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.machine import cache_folder, machine, version_of
from tprune.support.records import decoded, encoded


@dataclass(frozen=True)
class Tuned:
    """What was measured.

    Attributes:
        runtime: its name.
        version: of its package.
        precision: its name.
        threads: of one operation.
        probes: by the name of the probe.
    """

    runtime: str
    version: str | None
    precision: str
    threads: int
    probes: Mapping[str, Chosen]

    @property
    def multiples(self) -> dict[str, int]:
        """Those that were measured, by kind; where no difference was beyond the noise there is none."""
        return {
            kind: one.multiple
            for name, one in self.probes.items()
            if one.tuned and name in PROBES
            for kind in PROBES[name].kinds
        }


def file_of(runtime: Runtime, precision: Precision, threads: int, cache: Path | None = None) -> Path:
    """Where the multiples lie: by processor, cores, runtime, what makes its files, precision and threads."""
    here = machine()
    about = [
        *(here["cpu"], here["cores"], runtime.name, version_of(runtime.package)),
        *(dict(runtime.toolchain()), precision.name, threads),
    ]
    key = sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    return (cache or cache_folder()) / "multiples" / f"{key}.json"


def keep(tuned: Tuned, file: Path) -> None:
    """Writes what was measured. Raises `InputError` where it cannot be written."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, encoded(tuned))
    except OSError as error:
        raise InputError(
            f"{file}: tuned sizes cannot be kept there ({error.strerror or error}); name another folder in "
            "XDG_CACHE_HOME"
        ) from None


def kept(runtime: Runtime, precision: Precision, threads: int, cache: Path | None = None) -> Tuned | None:
    """What was measured on this machine; None where nothing was. Raises `InputError` for a damaged file."""
    file = file_of(runtime, precision, threads, cache)
    if not file.exists():
        return None
    try:
        return decoded(Tuned, read_json(file))
    except ValueError as error:
        raise InputError(
            f"{file}: damaged ({error}); delete it, or tune again with tprune runtimes --tune-multiples"
        ) from None


def preferred(
    runtime: Runtime, precision: Precision, threads: int, kinds: Iterable[str], cache: Path | None = None
) -> tuple[dict[str, int], frozenset[str]]:
    """The multiples that a runtime likes, of those kinds of which there are any above 1, and which were tuned.

    Args:
        runtime: that the model will run in.
        precision: that it will compute in.
        threads: of one operation.
        kinds: of couplings that may be cut.
        cache: the folder of what was tuned; tprune's own if not given.
    """
    found, asked, own = kept(runtime, precision, threads, cache), set(kinds), runtime.multiple(precision)
    tuned = {} if found is None else {kind: size for kind, size in found.multiples.items() if kind in asked}
    liked = {kind: own for kind in ("ffn", "width") if kind in asked} | tuned
    return {kind: size for kind, size in liked.items() if size > 1}, frozenset(tuned)
