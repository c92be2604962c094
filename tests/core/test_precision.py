"""A precision is a value: it says what it is, and refuses what it is not."""

from __future__ import annotations

import pytest

from tprune.core.precision import FP32, INT8, NUMBERS, Precision
from tprune.support.errors import InputError


def test_exceptions_are_a_set() -> None:
    assert Precision("int8", ("b", "a", "b")) == Precision("int8", ("a", "b")) != INT8
    assert hash(Precision("int8", ("b", "a"))) == hash(Precision("int8", ("a", "b")))


def test_folders_of_precisions_differ() -> None:
    assert FP32.suffix == "" and len({Precision(name).suffix for name in NUMBERS}) == len(NUMBERS)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(InputError, match=r"precision 'int3'; expected one of fp32, bf16, int8"):
        Precision("int3")
