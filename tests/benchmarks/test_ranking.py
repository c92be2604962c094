"""Rank correlation as by hand; the drawing holds every component and no foreign markup."""

from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.analysis.ranking import ranked, scatter, spearman, with_interval


def test_ranks_share_ties() -> None:
    assert ranked([3.0, 1.0, 3.0, 2.0]).tolist() == [2.5, 0.0, 2.5, 1.0]


def test_spearman_of_distinct_values_is_the_closed_form() -> None:
    random = np.random.default_rng(1)
    a, b = random.permutation(12), random.permutation(12)
    assert spearman(a, b) == pytest.approx(1 - 6 * ((a - b) ** 2).sum() / (12 * (144 - 1)))
    assert spearman(a, np.exp(a)) == pytest.approx(1) and spearman(a, -a) == pytest.approx(-1)
    assert spearman(a, np.zeros(12)) == 0


def test_the_interval_holds_the_value() -> None:
    values = np.arange(20.0)
    found = with_interval(values, values + np.sin(7 * values) * 4)
    assert found["low"] < found["spearman"] < found["high"] <= 1


def test_the_drawing_is_well_formed() -> None:
    truth = {"a<b": 0.1, "c": 0.2, "d": 0.3}
    svg = scatter(truth, {"harm & more": truth}, {"a<b": "ffn", "c": "heads", "d": "other"})
    circles = ElementTree.fromstring(svg).findall(".//{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 3 + 4  # and the legend's
