"""What the certificate beside an exported model leaves in doubt. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tprune.runtimes.artefact import layout_file
from tprune.runtimes.certificate import CERTIFICATE, ExportCertificate, exceeded
from tprune.runtimes.parity import LIMITS
from tprune.support.errors import InputError
from tprune.support.manifest import digest


@dataclass(frozen=True)
class Doubt:
    """Why an exported model may not compute what PyTorch computes.

    Attributes:
        said: the reason, with the file.
        failed: whether it was compared, and is farther from PyTorch than its precision allows.
    """

    said: str
    failed: bool = False


def doubt_of(folder: Path) -> Doubt | None:
    """What is in doubt about an exported folder; None where its certificate is of its files, and keeps all limits.

    Args:
        folder: of an export, with a layout.
    """
    where = folder / CERTIFICATE
    if not where.is_file():
        return Doubt(f"{folder}: no {CERTIFICATE}, so nothing says that it computes what PyTorch computes")
    try:
        found = ExportCertificate.read(folder)
    except InputError as error:
        return Doubt(str(error))
    layout = layout_file(folder)
    if layout is not None and found.layout and found.layout != digest(layout):
        return Doubt(f"{where}: of other files than those of the folder; export the model again")
    if not found.ran or not found.found:
        return Doubt(f"{where}: the files were not compared with PyTorch")
    if over := exceeded(LIMITS[found.precision.name], found.found):
        return Doubt(f"{where}: farther from PyTorch than {found.precision.name} may be: {over}", failed=True)
    if found.metric is not None and not found.metric.within:
        metric = found.metric
        return Doubt(
            f"{where}: {metric.metric} differs by {metric.delta:+.3g} [{metric.low:+.3g}, {metric.high:+.3g}] from the "
            f"export in fp32, and may be no worse than by {metric.bound:.3g}"
        )
    return None
