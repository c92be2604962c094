"""One count of a model's size: the budget's, the forecast's and the export's, also where tokens are never written."""

from pathlib import Path
from typing import Any

import pytest

from small_models import SIZES, small_model
from small_pairs import PAIRS, model_and_tokenizer
from tprune.budget.evidence import check_reachable, select_plan
from tprune.budget.forecast import forecast
from tprune.costs.size import size_after
from tprune.counting.output_rows import rows_left_out, written_rows
from tprune.counting.size import size
from tprune.realise.shrink import shrink
from tprune.recipe.schema import Prune
from tprune.recipe.whole import from_whole
from tprune.run.steps import plan_step
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.export import export
from tprune.support.errors import InputError, UnreachableError
from tprune.tasks.translation.task import Translation
from tprune.vocabulary.trim import restricted_to, trim_vocabulary, write_only_

D, V = 16, 40


def never(model: Any, tokens: range, renormalised: bool = True) -> Any:
    model.generation_config.update(suppress_tokens=list(tokens), renormalize_logits=renormalised)
    return model


@pytest.mark.parametrize(("family", "matrices"), [("marian", 0), ("bart", 0), ("marian_untied", 1), ("bart_untied", 2)])
def test_rows_that_are_never_written_are_counted_by_hand(family: str, matrices: int) -> None:
    whole, fewer = small_model(family).float(), never(small_model(family).float(), range(10, 30))
    assert rows_left_out(fewer) == 20 and rows_left_out(whole) == 0
    before, after = size(whole, Translation(7, 5)), size(fewer, Translation(7, 5))
    assert before.macs - after.macs == 5 * D * 20
    assert before.parameters - after.parameters == matrices * D * 20  # what the encoder reads stays
    assert before.bytes - after.bytes == 4 * matrices * D * 20


def test_tokens_that_take_part_in_the_probabilities_or_are_fed_stay() -> None:
    assert size(never(small_model("marian"), range(10, 30), renormalised=False)) == size(small_model("marian"))
    fed = never(small_model("marian"), range(V))  # padding, which is the start, and the end
    assert written_rows(fed) == (SIZES["pad_token_id"], SIZES["eos_token_id"])
    g = fed.generation_config
    g.forced_bos_token_id, g.pad_token_id, g.decoder_start_token_id = 7, None, None
    assert written_rows(fed) == (1, SIZES["bos_token_id"], 7)


def models() -> dict[str, tuple[Any, Any]]:
    """Models that write all tokens, or fewer for each of the reasons there are."""
    model, tokenizer = model_and_tokenizer()
    trimmed = trim_vocabulary(model, tokenizer, PAIRS.head(2))
    suppressed = never(model_and_tokenizer()[0], range(20, 30))
    small = shrink(suppressed, select_plan(suppressed, plan_step(suppressed, HOW), HOW, None))
    return {
        "plain": (model, tokenizer),
        "trimmed": (trimmed.model, trimmed.tokenizer),
        "suppressed": (suppressed, tokenizer),
        "written": (restricted_to(model, range(30)), tokenizer),
        "pruned": (small, tokenizer),
    }


HOW = Prune(steps=0, macs=0.6, allocation="uniform")


@pytest.mark.slow
@pytest.mark.parametrize("which", ["plain", "trimmed", "suppressed", "written", "pruned"])
def test_the_size_is_what_the_exported_folder_says(which: str, tmp_path: Path) -> None:
    model, tokenizer = models()[which]
    export(model.eval(), tokenizer, tmp_path / "onnx", PAIRS.source[:1])
    layout, found = read_layout(tmp_path / "onnx"), size(model)
    assert (layout.parameters, layout.macs) == (found.parameters, found.macs)
    assert layout.rows == written_rows(model) and bool(layout.rows) == (which != "plain")


@pytest.mark.parametrize("unit", ["macs", "params", "bytes"])
def test_the_budget_the_promise_and_the_cut_model_agree(unit: str) -> None:
    model, name = never(model_and_tokenizer()[0], range(20, 30)), "parameters" if unit == "params" else unit
    how = Prune(steps=0, allocation="uniform", **{unit: 0.8})
    plan = select_plan(model, plan_step(model, how), how, None)
    small = shrink(model, plan)
    assert plan.asked[unit] == pytest.approx(0.8 * getattr(size(model), name))
    assert plan.reached[unit] == getattr(size(small), name)
    found = forecast(model, plan)
    assert found.pruned == size_after(model, plan) == size(small) and found.dense == size(model)


def test_a_fraction_counts_from_the_model_before_it_lost_words() -> None:
    model, _ = model_and_tokenizer()
    writer = restricted_to(model, range(12))
    whole, left = size(model), size(writer)
    share = left.macs / whole.macs
    assert share < 0.97
    how = from_whole(Prune(steps=0, macs=0.6), whole, left)
    assert how.macs == 0.6 * whole.macs
    plan = select_plan(writer, plan_step(model, how), how.model_copy(update={"allocation": "uniform"}), None)
    assert size(shrink(writer, plan)).macs <= 0.6 * whole.macs < size(shrink(model, plan)).macs  # fewer lines had to go
    nothing = from_whole(Prune(steps=0, macs=(1 + share) / 2), whole, left)
    assert nothing.macs == left.macs  # the words were enough
    kept = select_plan(writer, plan_step(model, nothing), nothing.model_copy(update={"allocation": "uniform"}), None)
    assert size(shrink(writer, kept)) == left
    for other in (Prune(steps=0, speedup=2.0), Prune(steps=0, latency_ms=1.0), Prune(steps=0, memory_mb=50)):
        assert from_whole(other, whole, left) == other
    with pytest.raises(InputError, match="the dense model has"):
        from_whole(Prune(steps=0, macs=2.0 * whole.macs), whole, left)


@pytest.mark.slow
def test_a_budget_that_only_fewer_words_reach_is_not_refused() -> None:
    model, _ = model_and_tokenizer()
    writer = restricted_to(model, range(12))
    low, high = 0.0, 1.0
    for _ in range(5):
        middle = (low + high) / 2
        low, high = (low, middle) if _reachable(model, Prune(steps=0, macs=middle)) else (middle, high)
    how = Prune(steps=0, macs=low)  # just too little
    assert _reachable(writer, from_whole(how, size(model), size(writer)))


def _reachable(model: Any, how: Prune) -> bool:
    try:
        check_reachable(model, plan_step(model, how), how)
    except UnreachableError:
        return False
    return True


def test_writing_nothing_else_changes_no_count_of_the_model_itself() -> None:
    model, _ = model_and_tokenizer()
    before = size(model)
    restricted_to(model, range(12))
    assert size(model) == before
    write_only_(model, range(12))
    assert size(model).macs < before.macs
