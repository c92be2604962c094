"""The record of certificates: which exports were made, run and found to agree with PyTorch, with which versions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tprune.core.graph import BUILDS
from tprune.core.precision import NUMBERS
from tprune.runtimes.artefact import layout_file, read_layout
from tprune.runtimes.certificate import CERTIFICATE, ExportCertificate, exceeded
from tprune.runtimes.features import FEATURES, PASSES, READS, TRANSLATES, features_for
from tprune.runtimes.layout import LAYOUT, Layout
from tprune.runtimes.parity import LIMITS
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.manifest import digest
from tprune.support.records import decoded, encoded

CERTIFIED = Path(__file__).with_name("certified.json")  # what stood the check when tprune was last recorded
FORMAT = 1


@dataclass(frozen=True)
class Certified:
    """What the certificates of a runtime, a precision and a build say together.

    Attributes:
        runtime: its name.
        precision: its name.
        build: the name of the models' skeleton.
        version: of the runtime's package.
        toolchain: what the files were made with, by package.
        features: that were met, in the order of `FEATURES`.
        exports: how many certificates it is made of.
        artefacts: which exports these are of, as `artefact_of` names them; those of earlier records are not known.
    """

    runtime: str
    precision: str
    build: str
    version: str
    toolchain: Mapping[str, str]
    features: tuple[str, ...]
    exports: int = 1
    artefacts: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """What there is one of in a record."""
        return self.runtime, self.precision, self.build


def read_record(file: Path = CERTIFIED) -> tuple[Certified, ...]:
    """The record in a file.

    Args:
        file: that `write_record` wrote.

    Raises:
        InputError: it is no such file, or names what is not known here.
    """
    raw = read_json(file)
    if not isinstance(raw, dict):
        raise InputError(f"{file}: holds {raw!r:.40}; expected a record of certificates, record it again")
    try:
        if raw["format"] != FORMAT:
            raise InputError(f"{file}: format {raw['format']}; expected format {FORMAT}, record it again")
        found = tuple(decoded(Certified, each) for each in raw["certified"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file}: no record of certificates ({error}); record it again") from None
    for one in found:
        odd = [word for word, known in ((one.precision, NUMBERS), (one.build, BUILDS)) if word not in known]
        odd += [feature for feature in one.features if feature not in FEATURES]
        if odd:
            raise InputError(f"{file}: {one.runtime} has {odd[0]!r}, which is not known here; record it again")
    return found


def write_record(file: Path, record: Iterable[Certified]) -> None:
    """Writes a record, sorted."""
    rows: list[dict[str, Any]] = [encoded(one) for one in sorted(record, key=lambda one: one.key)]
    write_json(file, {"format": FORMAT, "certified": rows})


def outcome_of(folder: Path) -> Certified:
    """What the certificate of an exported folder says.

    Args:
        folder: of an export, whole.

    Raises:
        InputError: a file of the folder is missing or changed, the certificate is of another export, of an earlier
            version, of files that were never run, or of more than the limits of its precision allow.
    """
    layout, found = read_layout(folder), ExportCertificate.read(folder)
    where = folder / CERTIFICATE
    if not found.ran:
        raise InputError(f"{where}: the files for {found.runtime} were not run, so nothing is certified")
    if found.layout and not found.layout.startswith(artefact_of(folder)):
        raise InputError(f"{where}: of other files than those of the folder; export the model again")
    if (found.runtime, found.precision) != (layout.runtime, layout.precision):
        said = f"{found.runtime} in {found.precision}"
        raise InputError(
            f"{where}: of an export for {said}; the folder is one for {layout.runtime} in {layout.precision}"
        )
    if not found.build or not found.features or found.version is None:
        raise InputError(f"{where}: says no build, features or version; export the model again")
    if (build := _build_of(layout)) != found.build:
        raise InputError(f"{where}: build {found.build!r}; the folder holds a model of build {build!r}")
    if odd := [name for name in found.features if name not in features_for(build)]:
        raise InputError(f"{where}: feature {odd[0]!r}, which models of build {build!r} do not have")
    if over := exceeded(LIMITS[found.precision.name], found.found):
        raise InputError(f"{where}: {over}; nothing is certified")
    return Certified(
        found.runtime,
        found.precision.name,
        found.build,
        found.version,
        dict(found.toolchain),
        tuple(name for name in FEATURES if name in found.features),
        artefacts=(artefact_of(folder),),
    )


def artefact_of(folder: Path) -> str:
    """What an export is known by wherever it lies: 16 digits of the SHA-256 of its layout, which lists all files."""
    return digest(layout_file(folder) or folder / LAYOUT)[:16]


def _build_of(layout: Layout) -> str:
    if isinstance(layout, TranslationLayout):
        return TRANSLATES
    return READS if any(graph.states for graph in layout.graphs) else PASSES


def with_outcomes(record: Iterable[Certified], outcomes: Sequence[Certified]) -> tuple[Certified, ...]:
    """A record with new outcomes.

    Those of one runtime, precision and build add up where the version and the toolchain are the same, each export
    once; those of other versions take the place of what the record had.
    """
    found = {one.key: one for one in record}
    for new in outcomes:
        old = found.get(new.key)
        if old is not None and (old.version, dict(old.toolchain)) == (new.version, dict(new.toolchain)):
            features = tuple(name for name in FEATURES if name in {*old.features, *new.features})
            artefacts = tuple(sorted({*old.artefacts, *new.artefacts}))
            again = len(old.artefacts) + len(new.artefacts) - len(artefacts)
            exports = old.exports + new.exports - again
            new = replace(new, features=features, exports=exports, artefacts=artefacts)
        found[new.key] = new
    return tuple(found[key] for key in sorted(found))


def recorded(file: Path, folders: Sequence[Path], say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Adds the certificates of exported folders to a record, and says which certify nothing.

    Args:
        file: of the record; made if it is not there.
        folders: exported folders, or folders with some inside.
        say: called with a line for each that certifies nothing.

    Returns:
        the record's rows for the new certificates, as in the file.

    Raises:
        InputError: there is no certificate in a folder, or none that certifies anything, the file is no record, or the
            folder that it is to lie in is not there.
    """
    if not file.parent.is_dir():
        raise InputError(f"{file}: no such folder {file.parent}; expected a file in one that is there")
    outcomes = []
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected an exported folder, or one that holds some")
        inside = sorted(path.parent for path in folder.rglob(CERTIFICATE))
        if not inside:
            raise InputError(f"{folder}: no {CERTIFICATE} in it; expected an exported folder, or one that holds some")
        for one in inside:
            try:
                outcomes.append(outcome_of(one))
            except InputError as error:
                say(f"not recorded: {error}")
    if not outcomes:
        raise InputError(f"{', '.join(map(str, folders))}: no certificate that certifies anything; see the lines above")
    record = with_outcomes(read_record(file) if file.exists() else (), outcomes)
    write_record(file, record)
    new = {one.key for one in outcomes}
    return [encoded(one) for one in record if one.key in new]
