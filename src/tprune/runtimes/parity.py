"""How far an exported model may be from the PyTorch model: limits for each precision, and what is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tprune.core.precision import Precision
from tprune.support.errors import CertificateError
from tprune_runtime.decoding import Floats, log_softmax

LOGIT_TOLERANCE = 1e-4  # of the largest logit, in single precision
NEVER = -1e4  # logits below are of tokens that are never written
TIE = 2.0  # times the root mean square of the differences
Where = Callable[[Sequence[int]], str]


@dataclass(frozen=True)
class Limits:
    """What is allowed at most (`top1`: at least); None where it is not looked at.

    Attributes:
        relative: the largest |difference| of a logit over the largest |logit|, of every batch.
        rms: root mean square of the differences over that of the logits, both less their mean at a position.
        kl: Kullback-Leibler divergence from the PyTorch model, in nats a position.
        top1: the share of positions with the same likeliest class or token, or with a tie: two logits of PyTorch that
            are no farther apart than twice the root mean square of the differences. One position may differ however few
            there are: a single one says nothing of a share.
    """

    relative: float | None = None
    rms: float | None = None
    kl: float | None = None
    top1: float | None = None

    def differs(self, top1: float, positions: float) -> bool:
        """Whether more positions have another likeliest token than may.

        Args:
            top1: the share of positions that agree.
            positions: how many were compared.

        Example:
            >>> Limits(top1=0.95).differs(12 / 13, 13), Limits(top1=0.95).differs(11 / 13, 13)
            (False, True)
        """
        return self.top1 is not None and not (top1 >= self.top1 or (1 - top1) * positions < 1.5)


LIMITS: Mapping[str, Limits] = {
    "fp32": Limits(relative=LOGIT_TOLERANCE),
    "fp16": Limits(rms=0.02, kl=1e-3, top1=0.98),
    "bf16": Limits(rms=0.05, kl=5e-3, top1=0.97),
    "int8": Limits(rms=0.1, kl=0.02, top1=0.95),
    "int8-static": Limits(rms=0.1, kl=0.02, top1=0.95),
    "int8-greedy": Limits(rms=0.1, kl=0.02, top1=0.95),
    "int8-weights": Limits(rms=0.1, kl=0.02, top1=0.95),
    "int4-weights": Limits(rms=0.5, kl=0.2, top1=0.8),
}

# How far logits of the same files may be off on another processor, over the largest. Sums in another order change
# single precision by less; where activations are rounded, in int8 and in blocks of 4 bits, some go to the next step.
ELSEWHERE: Mapping[str, float] = {
    "fp32": 1e-3,
    "fp16": 0.01,
    "bf16": 0.02,
    "int8": 0.02,
    "int8-static": 0.02,
    "int8-greedy": 0.02,
    "int8-weights": 1e-3,
    "int4-weights": 0.02,
}


@dataclass(frozen=True)
class Measured:
    """What the comparison of many logits found; see `Limits`. `same` is the share without ties."""

    relative: float
    rms: float
    kl: float
    top1: float
    same: float
    positions: int


class Agreement:
    """Collects the differences of logits, batch by batch, and holds them against the limits of a precision."""

    def __init__(self, precision: Precision) -> None:
        self.limits = LIMITS[precision.name]
        self._relative, self._off, self._size, self._kl, self._numbers = 0.0, 0.0, 0.0, 0.0, 0
        self._margins: list[Floats] = []

    def add(self, expected: Floats, got: Floats, counts: NDArray[np.bool_], where: Where) -> None:
        """Compares the logits of a batch.

        Args:
            expected: of PyTorch, (..., classes).
            got: of the export.
            counts: which positions are no padding, of all axes but the last.
            where: says in words where a position is.

        Raises:
            CertificateError: the shapes differ, something is no number, or a logit differs by more than `relative`
                allows, with the first position where that is so.
        """
        if expected.shape != got.shape:
            raise CertificateError(
                f"the exported graphs are not the model: {where((0,) * counts.ndim)}: logits of shape {got.shape}, "
                f"expected {expected.shape}"
            )
        expected, got = np.maximum(expected, NEVER), np.maximum(got, NEVER)
        error = np.where(counts, np.abs(got - expected).max(-1), 0) / np.abs(expected[counts]).max()
        limit = np.inf if self.limits.relative is None else self.limits.relative
        if not error.max() <= limit:  # also true for NaN
            first = min(np.argwhere(~(error <= limit)).tolist(), key=lambda place: place[::-1])
            at_most = "a number" if limit == np.inf else f"at most {limit:g}"
            raise CertificateError(
                f"the exported graphs are not the model: {where(first)}: "
                f"logits differ by {error[tuple(first)]:.2g} of the largest, expected {at_most}"
            )
        self._relative = max(self._relative, float(error.max()))
        self._collect(expected[counts], got[counts])

    def _collect(self, a: Floats, b: Floats) -> None:
        off = b - a
        self._off += float(np.square(off - off.mean(-1, keepdims=True)).sum())
        self._size += float(np.square(a - a.mean(-1, keepdims=True)).sum())
        self._numbers += a.size
        p, q = log_softmax(a), log_softmax(b)
        self._kl += float((np.exp(p) * (p - q)).sum())
        self._margins.append(a.max(-1) - np.take_along_axis(a, b.argmax(-1)[..., None], -1)[..., 0])

    def measured(self) -> Measured:
        """All that was compared."""
        margins = np.concatenate([np.ravel(each) for each in self._margins])
        tie = TIE * float(np.sqrt(self._off / self._numbers))
        return Measured(
            self._relative,
            float(np.sqrt(self._off / max(self._size, 1e-30))),
            self._kl / len(margins),
            float((margins <= tie).mean()),
            float((margins == 0).mean()),
            len(margins),
        )

    def check(self) -> Measured:
        """All that was compared.

        Raises:
            CertificateError: more than the limits allow; says how much, and what is allowed.
        """
        found, limits = self.measured(), self.limits
        over = [
            f"{name} {value:.3g}, expected at most {limit:g}"
            for name, value, limit in (("rms", found.rms, limits.rms), ("kl", found.kl, limits.kl))
            if limit is not None and not value <= limit  # also true for NaN
        ]
        if limits.differs(found.top1, found.positions):
            over.append(f"top1 {found.top1:.3g}, expected at least {limits.top1:g}")
        if over:
            raise CertificateError(
                f"the exported model is too far from the PyTorch model on {found.positions} positions: "
                f"{'; '.join(over)}"
            )
        return found
