"""The standing rows: one line each, and what they leave open."""

from __future__ import annotations

from dataclasses import replace

from small_results import small_results
from tprune.report.precision_table import head, lines, remarks
from tprune.report.results import RunResults
from tprune.report.sides import PrecisionRow, Ratio
from tprune.report.table import results_table


def with_rows() -> RunResults:
    found = small_results()
    speed = {found.phase: Ratio(2.0, 1.9, 2.1)}
    plain = PrecisionRow(model="dense", precision="fp32", result=found.dense)
    less = {"change": found.difference, "speedup": speed, "same": speed, "in_fp32": 1, "matrices": 9}
    pruned = PrecisionRow(model="pruned", precision="int8", result=found.pruned, **less)
    return replace(found, rows=(plain, pruned), refused={"dense-int8": "too far"})


def test_a_line_for_each_row() -> None:
    found = with_rows()
    dense, pruned = lines(found)
    assert len(dense) == len(pruned) == len(head(found))
    assert dense[0] == "dense fp32" and dense[2] == dense[-1] == ""
    assert pruned[0] == "pruned int8" and pruned[-2:] == ("2.00x [1.90, 2.10]",) * 2
    change = found.difference
    assert pruned[2] == f"{change.delta:+.2f} [{change.low:+.2f}, {change.high:+.2f}]"


def test_what_is_left_open_is_said() -> None:
    said = "\n".join(remarks(with_rows()))
    assert "pruned int8: 1 of 9 matrices stay in fp32" in said and "no row dense-int8: too far" in said
    assert "pruned int8" in results_table(with_rows()) and "int8" not in results_table(small_results())


def test_rows_come_back_from_their_file() -> None:
    found = with_rows()
    assert RunResults.from_dict(found.to_dict()) == found
