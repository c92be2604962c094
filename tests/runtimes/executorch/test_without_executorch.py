"""What is known of ExecuTorch where it is not installed."""

import sys

import numpy as np
import pytest

from tprune.core.graph import BUILDS, Signature, TensorSpec
from tprune.core.precision import BF16, FP32, INT4_WEIGHTS, INT8, INT8_WEIGHTS
from tprune.runtimes.executorch.engine import EXECUTORCH, Program
from tprune.runtimes.executorch.package import RUNS
from tprune.runtimes.executorch.sizes import LONGEST, ROWS, bounds
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, RUNS, None)
    with pytest.raises(InputError, match=r"needs the package executorch .*; pip install 'tprune\[executorch\]'"):
        EXECUTORCH.check(())


def test_what_it_refuses_and_why() -> None:
    assert runtime_named("executorch") is EXECUTORCH
    for build in BUILDS:
        assert EXECUTORCH.supports(FP32, build) is EXECUTORCH.supports(INT8, build) is None
        for other in (BF16, INT8_WEIGHTS, INT4_WEIGHTS):
            refused = EXECUTORCH.supports(other, build)
            assert refused == f"no {other.name} is written for XNNPACK; expected fp32 or int8"


def test_sizes_have_ends() -> None:
    assert bounds("past", {"source": 7, "past": 9}) == (0, 9) and bounds("source", {"source": 7}) == (1, 7)
    assert bounds("batch", {"source": 7}) == (1, ROWS)
    assert bounds("tokens", {"total": 30}) == (1, 30) and bounds("tokens", {}) == (1, LONGEST)


class Doubling:
    """In place of a program: twice its first input plus the second, and how many rows each call had."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def forward(self, given: list) -> list:
        assert all(x.is_contiguous() for x in given)
        self.rows.append(len(given[0]))
        return [given[0] * 2 + given[1], given[0]]


def test_many_rows_are_run_in_pieces() -> None:
    """Inputs without rows go whole to each of them."""
    specs = TensorSpec("x", "float32", ("batch", 3)), TensorSpec("position", "float32", (1,))
    program = Doubling()
    rows = np.arange(6 * (2 * ROWS + 1), dtype=np.float32).reshape(2 * ROWS + 1, 6)[:, ::2]
    feeds = {"x": rows, "position": np.ones(1, np.float32)}
    (found,) = Program(Signature("g", specs, ("y", "x_again")), program).run(feeds, ["y"])
    assert program.rows == [ROWS, ROWS, 1] and np.array_equal(found, rows * 2 + 1)


def test_arrays_without_elements_lie_as_executorch_wants_them() -> None:
    """A tensor of other strides ends the process."""
    program, empty = Doubling(), np.zeros((2, 0), np.float32)
    strides = []
    program.forward = lambda given: [strides.append(given[0].stride()) or given[0]]  # type: ignore[method-assign]
    specs = (TensorSpec("past", "float32", ("batch", "past")),)
    Program(Signature("g", specs, ("y",)), program).run({"past": empty}, ["y"])
    assert strides == [(1, 1)]


def test_sizes_that_are_too_large_are_named() -> None:
    def fails(given: list) -> list:
        raise RuntimeError("Failed to execute method forward, error: 0x10")

    program = Doubling()
    program.forward = fails  # type: ignore[method-assign]
    specs = (TensorSpec("ids", "int64", ("batch", "tokens")),)
    with pytest.raises(
        InputError, match=r"graph g: executorch cannot run ids \(2, 2000\) .* 0x10\); expected no larger"
    ):
        Program(Signature("g", specs, ("y",)), program).run({"ids": np.zeros((2, 2000), np.int64)}, ["y"])
