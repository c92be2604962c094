"""What an export found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tprune.runtimes.parity import Measured


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote and how well it agrees with PyTorch.

    `max_relative_error` is the largest |logit difference| / largest |logit|. The counts are of a translation model's
    sentences: equal token for token, or parting at a tie of (nearly) equal scores. `files` gives bytes, `seconds` the
    whole export with its check. Of other models `inputs` says how many inputs were compared. `steps` counts the forced
    steps with a cache that began empty. `rms`, `kl`, `top1` and `same` are those of `tprune.runtimes.parity.Measured`.
    `ran` is false where the files run on other systems alone; then nothing was compared.
    """

    max_relative_error: float
    sentences: int = 0
    greedy_equal: int = 0
    greedy_ties: int = 0
    beam_equal: int = 0
    beam_ties: int = 0
    files: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    inputs: int = 0
    steps: int = 0
    precision: str = "fp32"
    rms: float = 0.0
    kl: float = 0.0
    top1: float = 1.0
    same: float = 1.0
    positions: int = 0
    ran: bool = True


def report_of(found: Measured) -> ExportReport:
    """A report of what a comparison of logits found."""
    return ExportReport(
        found.relative, rms=found.rms, kl=found.kl, top1=found.top1, same=found.same, positions=found.positions
    )
