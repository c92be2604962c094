"""What is stored of the recipes' runs comes back as it was."""

from __future__ import annotations

import json

import pytest

from small_results import ONNX, small_results
from tprune.report.results import RunResults


def test_the_stored_numbers_come_back_byte_for_byte() -> None:
    from benchmarks.recipes.run import NUMBERS, RECIPES, Shown

    text = NUMBERS.read_text(encoding="utf-8")
    again = {name: Shown.from_dict(found).to_dict() for name, found in json.loads(text).items()}
    assert json.dumps(again, indent=1, ensure_ascii=False) == text.rstrip("\n")
    assert again and set(again) <= set(RECIPES) and all(file.exists() for file in RECIPES.values())


def test_of_a_runs_results_only_what_the_page_says_is_stored() -> None:
    from benchmarks.recipes.run import Shown

    results: RunResults = small_results()
    shown = Shown.of(results, "demo").to_dict()
    assert shown["kept"] == "demo" and "command" not in shown and "bytes" not in shown["dense"]
    assert shown["target"] == results.target.to_dict() and shown["speedup"][ONNX] == results.speedup[ONNX]
    assert shown["pruned"]["bleu"] == pytest.approx(results.pruned.scores["BLEU"].value)
