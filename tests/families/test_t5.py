"""T5: heads keep their own bias by distance, the attention that computes it stays, and wrong tables are found out."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sequence_models import outputs, sequence_model
from tprune.budget.reach import smallest
from tprune.budget.request import limits_of
from tprune.core.plan import Plan, make_plan
from tprune.core.task import Batch
from tprune.families import registry
from tprune.families.attention import Attention
from tprune.families.feed_forward import FeedForward
from tprune.families.registry import couplings
from tprune.families.residual import Residual
from tprune.families.rows import Row
from tprune.families.t5 import T5
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.recipe.schema import Prune
from tprune.support.errors import InputError
from tprune.tasks.translation.task import TRANSLATION
from tprune.testing import check_coupling, check_family, random_kept
from tprune.testing.common import apart


@torch.no_grad()
def test_heads_take_their_own_bias_of_the_dense_models() -> None:
    model = sequence_model("t5")
    plan = make_plan(model, "t5", couplings(model, ["heads"]))
    kept = {e.coupling.name: torch.tensor([True, False, True, True]) for e in plan.entries}
    once: Any = shrink(model, plan.with_kept(kept, {}, {}))
    assert once.config.pruned["kept"]["decoder.block.1.layer.0.SelfAttention"] == [0, 2, 3]
    again = make_plan(once, "t5", couplings(once, ["heads"]))
    left = {e.coupling.name: torch.tensor([False, True, True]) for e in again.entries}
    twice: Any = shrink(once, again.with_kept(left, {}, {}))
    assert twice.config.pruned["kept"]["decoder.block.1.layer.0.SelfAttention"] == [2, 3]
    assert not any("EncDec" in name for name in twice.config.pruned["kept"])
    twice.encoder.block[0].layer[0].SelfAttention.kept = [0, 1]  # another head's bias
    assert apart(outputs(masked(once, again.with_kept(left, {}, {}))), outputs(twice)) > 1e-3


def test_the_attention_that_computes_the_bias_stays() -> None:
    model = sequence_model("t5")
    first = "encoder.block.0.layer.0.SelfAttention"
    assert f"{first}.sublayer" not in {c.name for c in couplings(model)}
    plan = make_plan(model, "t5", couplings(model, ["heads"]))
    kept = {e.coupling.name: e.keep & (e.coupling.name != f"{first}.heads") for e in plan.entries}
    with pytest.raises(InputError, match=f"{first}: no heads are left, but other blocks need it"):
        shrink(model, plan.with_kept(kept, {}, {}))


def test_a_selection_leaves_it_a_head_and_a_plan_remembers(tmp_path: Path) -> None:
    model, request = sequence_model("t5"), Prune(macs=0.5, floor=0.0, kinds=["heads"], steps=1)
    plan = make_plan(model, "t5", couplings(model, ["heads"]))
    plan.save(tmp_path / "plan.json")
    read = Plan.load(tmp_path / "plan.json")
    assert read == plan and read.to_json() == plan.to_json()
    for one in (plan, read):
        kept = {name: int(keep.sum()) for name, keep in smallest(model, one, limits_of(request, one)).items()}
        first = [name for name in kept if ".block.0.layer.0." in name]
        assert len(first) == 2 and all(kept[name] == 1 for name in first)
        last = "decoder.block.1.layer.1.EncDecAttention.heads"  # which reads the source
        assert {name for name, count in kept.items() if count} == {*first, last}
        shrink(model, one.with_kept(smallest(model, one, limits_of(request, one)), {}, {}))


@torch.no_grad()
def test_untied_heads_stay_untied_and_divide_by_the_dense_width(tmp_path: Path) -> None:
    model = sequence_model("flan-t5").float()
    small: Any = shrink(model, random_kept(model, make_plan(model, "t5", couplings(model, ["width"]))))
    assert model.config.tie_word_embeddings  # whatever its weights are
    assert small.lm_head.weight is not small.shared.weight and small.shared.weight is small.encoder.embed_tokens.weight
    again: Any = load(save(small, tmp_path / "m"))
    assert torch.equal(again.lm_head.weight, small.lm_head.weight) and torch.equal(outputs(again), outputs(small))
    tied = sequence_model("t5")
    narrow: Any = shrink(tied, random_kept(tied, make_plan(tied, "t5", couplings(tied, ["width"]))))
    assert narrow.lm_head.weight is narrow.shared.weight and narrow.shared.weight.shape[1] < narrow.model_dim == 24


def test_stock_models_have_one_number_of_units() -> None:
    model = sequence_model("flan-t5")
    plan = make_plan(model, "t5", couplings(model, ["ffn"]))
    kept = {e.coupling.name: torch.arange(20) < 11 for e in plan.entries}
    small: Any = shrink(model, plan.with_kept(kept, {}, {}), stock=True)
    assert type(small) is type(model) and small.config.d_ff == 11
    assert apart(outputs(masked(model, plan.with_kept(kept, {}, {}))), outputs(small)) <= 1e-10


# --- mistakes in the table ---


def without_a_norm(row: Row) -> Row:
    return replace(row, norms=row.norms[:-1]) if isinstance(row, Residual) else row


def without_a_reader(row: Row) -> Row:
    return replace(row, readers=row.readers[:-1]) if isinstance(row, Residual) else row


def without_a_gate(row: Row) -> Row:
    return replace(row, ups=row.ups[:1]) if isinstance(row, FeedForward) else row


def without_own_biases(row: Row) -> Row:
    return replace(row, shared_bias=False) if isinstance(row, Attention) else row


def with_another_name(row: Row) -> Row:
    return replace(row, down=f"{row.module}.wx") if isinstance(row, FeedForward) else row


@pytest.mark.parametrize(
    ("mistake", "kind", "says"),
    [
        (without_a_norm, "width", "width"),
        (without_a_reader, "width", "width"),
        (without_a_gate, "ffn", "ffn"),
        (without_own_biases, "heads", "heads"),
        (with_another_name, "ffn", "wx"),
    ],
)
def test_mistakes_are_found(
    monkeypatch: pytest.MonkeyPatch, mistake: Callable[[Row], Row], kind: str, says: str
) -> None:
    def rows(model: Any) -> Iterator[Row]:
        return (mistake(row) for row in T5.rows(model))

    monkeypatch.setattr(registry, "family_of", lambda _: replace(T5, rows=rows))
    for module in ("tprune.realise.cut", "tprune.testing.family"):
        monkeypatch.setattr(f"{module}.family_of", lambda _: replace(T5, rows=rows))
    model = sequence_model("flan-t5")
    batch: Batch = TRANSLATION.random(model)
    with pytest.raises((AssertionError, InputError), match=says):
        for coupling in couplings(model, [kind]):
            check_coupling(model, coupling, outputs, silent=kind != "width")
        check_family(model, batch, [kind])


def test_the_table_is_right() -> None:
    model = sequence_model("flan-t5")
    check_family(model, TRANSLATION.random(model), ["heads"])
