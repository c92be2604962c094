"""What runs where, for `tprune runtimes` and the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tprune.core.graph import BUILDS
from tprune.core.precision import NUMBERS, Precision
from tprune.runtimes.certified import Certified
from tprune.runtimes.features import features_for
from tprune.runtimes.runtime import REFERENCE_NAMES, Elsewhere, Runtime, Selective, runtimes
from tprune.support.machine import version_of

CHECKPOINT = {
    "name": "transformers",
    "package": "transformers",
    "install": "pip install torch transformers",
    "precisions": ["fp32", "bf16", "fp16"],
    "builds": {},
    "needs": "",
    "timed": False,
    "target": False,
}
REFERENCE = CHECKPOINT | {"package": "torch", "install": "pip install torch", "precisions": ["fp32"], "timed": True}
State = Literal["certified", "supported", "exported", "refused"]


@dataclass(frozen=True)
class Cell:
    """What is known of a runtime, a precision, a build and a feature.

    Attributes:
        state: `certified`: an export was run and agreed with PyTorch; `supported`: nothing speaks against it;
            `exported`: the files are written here and run elsewhere; `refused`.
        detail: the toolchain of the certificate, the systems that run it, or the reason.
    """

    state: State
    detail: str = ""


@dataclass(frozen=True)
class Line:
    """A runtime, a precision and a build: a cell for each feature that such models may have."""

    runtime: str
    precision: str
    build: str
    cells: Mapping[str, Cell]


def precisions_of(runtime: Runtime, builds: Iterable[str] = BUILDS) -> list[str]:
    """The precisions in which a runtime runs models of at least one of these builds."""
    known = tuple(builds)
    return [name for name in NUMBERS if any(runtime.supports(Precision(name), build) is None for build in known)]


def matrix() -> list[dict[str, Any]]:
    """A line for each runtime that models are exported for, for the references, and one for transformers.

    References and transformers run checkpoints as they are; references are timed by `tprune bench --runtime` alone.

    With the version that is installed here, None where there is none; `needs` says what makes a folder for it, `timed`
    whether it can be timed, and `target` whether it can be given a budget of milliseconds.
    """
    rows = [
        {
            "name": one.name,
            "package": one.package,
            "install": one.install,
            "precisions": precisions_of(one),
            "builds": {build: precisions_of(one, (build,)) for build in BUILDS},
            "needs": f"tprune export --runtime {one.name}",
            "timed": not isinstance(one, Elsewhere),
            "target": not isinstance(one, Elsewhere),
        }
        for one in runtimes()
    ]
    references = [REFERENCE | {"name": name} for name in REFERENCE_NAMES if name not in {row["name"] for row in rows}]
    return [{**row, "version": version_of(str(row["package"]))} for row in (*rows, *references, CHECKPOINT)]


def features(
    known: Iterable[Runtime],
    record: Iterable[Certified],
    installed: Callable[[str], str | None] | None = None,
) -> tuple[Line, ...]:
    """The matrix of runtimes, precisions, builds and features.

    Args:
        known: the runtimes.
        record: the outcomes of certificates that ran.
        installed: the version of a package that is installed; a certificate of another version certifies nothing here.
            Every certificate counts if not given.

    Returns:
        a line for each runtime, precision and build, refused ones too.
    """
    outcomes = {one.key: one for one in record}
    lines = []
    for runtime in known:
        version = None if installed is None else installed(runtime.package)
        for build in BUILDS:
            for precision in NUMBERS:
                outcome = outcomes.get((runtime.name, precision, build))
                counts = outcome is not None and (installed is None or version == outcome.version)
                lines.append(_line(runtime, precision, build, outcome, counts))
    return tuple(lines)


def _line(runtime: Runtime, precision: str, build: str, outcome: Certified | None, counts: bool) -> Line:
    why = runtime.supports(Precision(precision), build)
    cells = {name: _cell(runtime, name, why, outcome, counts) for name in features_for(build)}
    return Line(runtime.name, precision, build, cells)


def _cell(runtime: Runtime, feature: str, why: str | None, outcome: Certified | None, counts: bool) -> Cell:
    why = why or (runtime.refuses(feature) if isinstance(runtime, Selective) else None)
    if why is not None:
        return Cell("refused", why)
    if isinstance(runtime, Elsewhere):
        return Cell("exported", f"runs on {runtime.runs_on}")
    if outcome is None or feature not in outcome.features:
        return Cell("supported")
    with_ = f"{runtime.package} {outcome.version}"
    return Cell("certified", with_) if counts else Cell("supported", f"certified with {with_}")
