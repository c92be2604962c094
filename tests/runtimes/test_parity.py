"""What is measured of two sets of logits, and what is allowed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tprune.core.precision import FP32, INT4_WEIGHTS, INT8
from tprune.runtimes.parity import LIMITS, Agreement
from tprune.support.errors import CertificateError

Floats = NDArray[np.float32]


def logits(seed: int = 0, shape: tuple[int, ...] = (4, 6, 50)) -> Floats:
    return np.random.default_rng(seed).normal(0, 3, shape).astype(np.float32)


def compared(expected: Floats, got: Floats, precision=INT8, counts: NDArray[np.bool_] | None = None) -> Agreement:
    agreement = Agreement(precision)
    everywhere = np.ones(expected.shape[:-1], bool)
    agreement.add(expected, got, everywhere if counts is None else counts, lambda at: f"place {tuple(at)}")
    return agreement


def test_equal_logits_are_at_no_distance() -> None:
    found = compared(logits(), logits()).check()
    assert (found.relative, found.rms, found.top1, found.same, found.positions) == (0, 0, 1, 1, 24)
    assert found.kl == pytest.approx(0, abs=1e-6)


def test_what_is_measured() -> None:
    a = logits()
    b = a + np.random.default_rng(1).normal(0, 0.3, a.shape).astype(np.float32)
    found = compared(a, b).measured()
    assert found.rms == pytest.approx(0.1, rel=0.05)
    p = np.exp(a) / np.exp(a).sum(-1, keepdims=True)
    q = np.exp(b) / np.exp(b).sum(-1, keepdims=True)
    assert found.kl == pytest.approx((p * np.log(p / q)).sum(-1).mean(), rel=1e-4)
    assert found.same == pytest.approx((a.argmax(-1) == b.argmax(-1)).mean())


def test_a_constant_shift_is_no_difference_of_distributions() -> None:
    found = compared(logits(), logits() + 0.5).check()
    assert found.rms < 1e-6 and found.kl < 1e-6 and found.relative > 0


def test_a_tie_counts_as_the_same_answer() -> None:
    a = np.zeros((1, 1, 10), np.float32)
    a[0, 0, :2] = 5.0, 4.99
    b = a.copy()
    b[0, 0, 1] += 0.05
    found = compared(a, b).measured()
    assert (found.same, found.top1) == (0, 1)


@pytest.mark.parametrize(
    ("noise", "says"),
    [(1.5, r"rms 0\.\d+, expected at most 0\.1; kl .*, expected at most 0\.02"), (np.nan, "differ by")],
)
def test_too_far_is_refused(noise: float, says: str) -> None:
    a = logits()
    with pytest.raises(CertificateError, match=says):
        compared(a, a + noise * logits(1) / 3).check()
    if noise == noise:
        compared(a, a + 0.3 * logits(1) / 3, INT4_WEIGHTS).check()


def test_another_answer_is_refused() -> None:
    a = logits(shape=(40, 1, 5)) * 0.01
    a[:, 0, 0] += 1
    b = a.copy()
    b[:5, 0, 0] = -1  # five of forty
    with pytest.raises(CertificateError, match=r"top1 0\.875, expected at least 0\.95"):
        compared(a, b).check()


def test_one_position_says_nothing_of_a_share() -> None:
    a = logits(shape=(13, 1, 5)) * 0.01
    a[:, 0, 0] += 1
    a[:2, 0, 1] = 0.99
    one, two = a.copy(), a.copy()
    one[:1, 0, 1], two[:2, 0, 1] = 1.01, 1.01
    assert LIMITS["int8"].differs(12 / 13, 13) is False
    assert compared(a, one).check().positions == 13
    assert LIMITS["int8"].differs(11 / 13, 13) and not LIMITS["fp32"].differs(0.0, 13)
    assert LIMITS["int8"].differs(float("nan"), 13)


def test_single_precision_says_where() -> None:
    a, b = logits(), logits()
    b[2, 3, 7] += 0.01
    with pytest.raises(CertificateError, match=r"not the model: place \(2, 3\): logits differ by .* at most 0\.0001"):
        compared(a, b, FP32)
    counts = np.ones((4, 6), bool)
    counts[2, 3] = False
    assert compared(a, b, FP32, counts).check().relative == 0


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(CertificateError, match=r"shape \(4, 6, 49\), expected \(4, 6, 50\)"):
        compared(logits(), logits(shape=(4, 6, 49)))


def test_forbidden_tokens_do_not_count() -> None:
    a, b = logits(), logits()
    a[..., 0], b[..., 0] = -1e9, -np.inf
    assert compared(a, b).check().rms == 0
