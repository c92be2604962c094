"""The certificate of an export: what was compared with the PyTorch model, what was allowed, and what was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tprune.core.precision import Precision
from tprune.core.score import Difference
from tprune.runtimes.parity import Limits
from tprune.runtimes.products import Product
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.records import decoded, encoded

CERTIFICATE = "certificate.json"
BOUND = 0.02  # of the metric in single precision


@dataclass(frozen=True)
class MetricBound:
    """The task's metric on test data against the same model's export in single precision, paired.

    Attributes:
        metric: its name.
        delta: the difference; `low` and `high` are the ends of its 95 % interval.
        bound: how much worse the far end of the interval may be: 2 % of the metric in single precision.
        within: whether it is no worse.
    """

    metric: str
    delta: float
    low: float
    high: float
    bound: float
    within: bool


def bounded(change: Difference, value: float) -> MetricBound:
    """A difference to the export in single precision, held against the bound.

    Args:
        change: the metric in the precision minus that in single precision.
        value: the metric in single precision.
    """
    bound = BOUND * abs(value)
    worse = change.low if change.metric.larger_is_better else -change.high
    return MetricBound(change.metric.name, change.delta, change.low, change.high, bound, worse >= -bound)


def exceeded(limits: Limits, found: Mapping[str, float]) -> str:
    """Which limit a comparison does not keep, in words; empty where it keeps all.

    Example:
        >>> exceeded(Limits(rms=0.1), {"rms": 0.2}), exceeded(Limits(rms=0.1, top1=0.9), {"rms": 0.0, "top1": 1.0})
        ('rms 0.2, expected at most 0.1', '')
    """
    for name in ("relative", "rms", "kl"):
        limit, value = getattr(limits, name), found.get(name, float("nan"))
        if limit is not None and not value <= limit:  # also true for NaN
            return f"{name} {value:.3g}, expected at most {limit:g}"
    if limits.differs(found.get("top1", 0.0), found.get("positions", float("inf"))):
        return f"top1 {found.get('top1', 0.0):.3g}, expected at least {limits.top1:g}"
    return ""


@dataclass(frozen=True)
class ExportCertificate:
    """What stands in `certificate.json` beside the files of an export.

    Attributes:
        runtime: its name; `version` of its package, `toolchain` of what made the files.
        precision: of the export.
        limits: what was allowed.
        found: what was measured: `relative`, `rms`, `kl`, `top1`, `same`, `positions`; see `tprune.runtimes.parity`.
        steps: forced steps from an empty cache; 0 where the model takes none.
        fresh: whether they were taken in a process that had done nothing before.
        products: the constants, each with its precision; empty in single precision, where all are alike.
        metric: on test data; None where it was not measured.
        build: the name of the model's skeleton; empty in certificates of before this was noted.
        features: of `tprune.runtimes.features.FEATURES`, those that the check has met.
        ran: whether the files were run at all; a runtime of another system only writes them, and nothing was compared.
        layout: SHA-256 of the layout, which lists all files with theirs; empty in certificates that do not note it.
    """

    runtime: str
    version: str | None
    toolchain: Mapping[str, str]
    precision: Precision
    limits: Limits
    found: Mapping[str, float]
    steps: int
    fresh: bool
    products: tuple[Product, ...] = ()
    metric: MetricBound | None = None
    build: str = ""
    features: tuple[str, ...] = ()
    ran: bool = True
    layout: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The content of the file."""
        found: dict[str, Any] = encoded(self)
        return found

    def write(self, folder: Path) -> None:
        """Writes it into the folder of an export."""
        write_json(folder / CERTIFICATE, self.to_dict())

    @staticmethod
    def read(folder: Path) -> ExportCertificate:
        """That of an exported folder. Raises `InputError` where there is none, or it is damaged."""
        try:
            return decoded(ExportCertificate, read_json(folder / CERTIFICATE))
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{folder / CERTIFICATE}: {error}; export the model again") from None
