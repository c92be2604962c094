"""Decoders of many families: all their heads, what they write, and mistakes in their tables."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from table_models import DECODERS, MODELS, inputs, kept_by, kinds_of, limit, outputs, table_model
from tprune.core.plan import Plan, make_plan
from tprune.families.decoder import Layout
from tprune.families.decoder import table as like_llama
from tprune.families.experts import Experts
from tprune.families.feed_forward import FeedForward
from tprune.families.fused import FusedAttention
from tprune.families.gemma2 import GEMMA2, NORMS
from tprune.families.mixtral import MIXTRAL
from tprune.families.phi3 import PHI3
from tprune.families.registry import couplings, family_of
from tprune.families.residual import Residual
from tprune.families.table import Table
from tprune.realise import cut as cutting
from tprune.realise import mask
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import check_coupling, check_family, random_kept, randomise_
from tprune.testing.common import apart

HEADS = ("Model", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")


@torch.no_grad()
def assert_exact(model: Any, plan: Plan, within: float) -> Any:
    small, reference = shrink(model, plan), masked(model, plan)
    expected = outputs(reference)
    assert apart(outputs(model), expected) > 1e-3
    assert apart(expected, outputs(small)) <= within
    return small


# --- heads ---


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", DECODERS)
def test_every_head_is_known(name: str, head: str) -> None:
    torch.manual_seed(0)
    causal = type(table_model(name))
    kind = getattr(transformers, causal.__name__.removesuffix("ForCausalLM").removesuffix("LMHeadModel") + head, None)
    if kind is None:
        pytest.skip("transformers has no such class")
    model = kind(MODELS[name]().config).double().eval()  # type: ignore[operator]  # a model of transformers
    randomise_(model)
    assert kinds_of(model) == kinds_of(table_model(name))
    plan = kept_by(model, [kind for kind in kinds_of(model) if kind != "width" or head != "Model"])
    with torch.no_grad():
        small, reference = shrink(model, plan), masked(model, plan)
        a, b = (each(**inputs(model)) for each in (reference, small))
    says = next(key for key in ("logits", "start_logits", "last_hidden_state") if key in a)
    counts = (
        slice(None)
        if a[says].ndim == 2 and head == "ForSequenceClassification"
        else inputs(model)["attention_mask"].bool()
    )
    assert apart(a[says][counts], b[says][counts]) <= limit(name)


# --- other settings ---


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("opt", {"do_layer_norm_before": False, "hidden_size": 24}),  # embeddings of another width, norms after blocks
        ("opt", {"enable_bias": False, "layer_norm_elementwise_affine": False}),
        ("gpt_neox", {"use_parallel_residual": False, "attention_bias": False}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True, "tie_word_embeddings": False}),
        ("qwen2", {"num_key_value_heads": 2, "tie_word_embeddings": True}),
        ("mixtral", {"num_experts_per_tok": 1}),
    ],
)
@torch.no_grad()
def test_settings_of_the_architecture(name: str, settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    dense: Any = MODELS[name]()
    given = dense.config.to_dict() | settings | {"experts_implementation": "eager"}
    model = type(dense)(type(dense.config)(**given)).double().eval()
    randomise_(model)
    for coupling in (one for one in couplings(model) if one.closed):
        check_coupling(model, coupling, outputs, silent=coupling.kind != "width")
    for kinds in (*([kind] for kind in kinds_of(model)), kinds_of(model)):
        assert_exact(model, kept_by(model, kinds), limit(name))
    assert ("width" in kinds_of(model)) == settings.get("layer_norm_elementwise_affine", True)


# --- what they write ---


def written(model: Any, **how: Any) -> Tensor:
    """Greedy continuations of three prompts, two of them padded at the left."""
    ids = torch.randint(3, 40, (3, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :2], mask[2, :3] = 0, 0
    more = {"max_new_tokens": 10, "min_new_tokens": 10, "do_sample": False}
    found: Tensor = model.generate(input_ids=ids, attention_mask=mask, **more, **how)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", DECODERS)
def test_greedy_texts_are_those_of_the_masked_model(name: str) -> None:
    model = table_model(name).float()  # in double precision stock eager attention of padding alone is not a number
    for attention in ("eager",) if name == "gemma2" else ("eager", "sdpa"):
        model.set_attn_implementation(attention)
        for kinds in (["sublayer"], kinds_of(model)):
            plan = kept_by(model, kinds, seed=2)
            small, reference = shrink(model, plan), masked(model, plan)
            assert torch.equal(written(reference), written(small)), (attention, kinds)
        assert torch.equal(written(small), written(small, use_cache=False))
        assert torch.equal(written(small), written(small, cache_implementation="static"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen3", "gemma2", "mixtral", "phi3", "gpt2", "gpt_neox"])
def test_the_public_check_passes(name: str) -> None:
    model = table_model(name)
    check_family(
        model, {key: value[:, :6] for key, value in inputs(model).items()} | {"labels": torch.zeros(3, 6).long()}
    )


# --- stock classes ---


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in DECODERS if name not in ("gemma", "gemma2", "mixtral")])
@torch.no_grad()
def test_stock_classes_hold_fewer_hidden_units(name: str) -> None:
    model = table_model(name)
    plan = make_plan(model, family_of(model).name, couplings(model, ["ffn"]))
    keep = torch.arange(20) % 3 > 0
    plan = plan.with_kept({entry.coupling.name: keep for entry in plan.entries}, {}, {})
    small = shrink(model, plan, stock=True)
    assert type(small) is type(model) and apart(outputs(masked(model, plan)), outputs(small)) <= limit(name)


# --- experts ---


def test_tokens_of_lost_experts_go_to_others() -> None:
    model = table_model("mixtral")
    plan = make_plan(model, "mixtral", couplings(model, ["experts"]))
    keep = torch.tensor([True, False, False, False])
    plan = plan.with_kept({entry.coupling.name: keep for entry in plan.entries}, {}, {})
    small = assert_exact(model, plan, limit("mixtral"))
    block = small.model.layers[0].mlp
    assert (block.gate.top_k, block.gate.num_experts, block.experts.num_experts) == (1, 1, 1)
    assert block.gate.weight.shape == (1, 32) and block.experts.gate_up_proj.shape == (1, 40, 32)
    twice = masked(masked(model, plan), plan)
    assert torch.equal(outputs(twice), outputs(masked(model, plan)))
    open_ = model.model.layers[0].mlp.gate(torch.randn(5, 32, dtype=torch.float64))[2]
    assert open_.max() > 0  # the model itself is left as it was
    none = plan.with_kept({entry.coupling.name: keep & False for entry in plan.entries}, {}, {})
    with pytest.raises(InputError, match="0 experts of 40 units are left; cut the sublayer instead"):
        shrink(model, none)


def test_zero_rows_of_a_router_are_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    model = table_model("mixtral")
    plan = kept_by(model, ["experts"])
    monkeypatch.setattr(mask, "FAMILIES", {"mixtral": replace(MIXTRAL, silence=lambda _model, _plan: None)})
    assert apart(outputs(masked(model, plan)), outputs(shrink(model, plan))) > 1e-3


# --- mistakes ---


def lost(table: Table, kind: type, **changes: Any) -> Table:
    """A table of whose rows of one kind something is changed."""

    def rows(model: Any) -> Any:
        return [replace(row, **changes) if isinstance(row, kind) else row for row in table.rows(model)]

    return replace(table, rows=rows)


def with_plan(monkeypatch: pytest.MonkeyPatch, table: Table, model: Any, kind: str) -> tuple[Tensor, Tensor]:
    """What the masked and the small model say by a table."""
    monkeypatch.setattr(cutting, "family_of", lambda _: table)
    plan = random_kept(model, make_plan(model, table.name, [c for c in table.couplings(model) if c.kind == kind]))
    return outputs(masked(model, plan)), outputs(shrink(model, plan))


@torch.no_grad()
def test_norms_without_their_offset_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = table_model("gemma2")
    expected, found = with_plan(monkeypatch, lost(GEMMA2, Residual, offset=0), model, "width")
    assert apart(expected, found) > 1e-3


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch, norm: str) -> None:
    model = table_model("gemma2")
    layout = Layout(tuple(name for name in NORMS if name != norm), offset=1)
    with pytest.raises((InputError, RuntimeError), match=r"size|shape|expects"):
        with_plan(monkeypatch, like_llama("gemma2", type(model), layout), model, "width")


def test_a_reader_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = table_model("gpt_neox")
    table: Any = family_of(model)
    (stream,) = [row for row in table.rows(model) if isinstance(row, Residual)]
    with pytest.raises((InputError, RuntimeError), match=r"shape|expects"):
        with_plan(monkeypatch, lost(table, Residual, readers=stream.readers[1:]), model, "width")


@pytest.mark.parametrize(
    ("name", "table", "says"),
    [
        ("phi3", lost(PHI3, FeedForward, parts=1), r"down_proj\.weight has shape 32 x 20; its row expects any x 40"),
        ("phi3", lost(PHI3, FusedAttention, kv=2), r"qkv_proj\.weight has shape 64 x 32; its row expects 48 x any"),
        ("phi3", lost(PHI3, FusedAttention, kv=3), "8 heads cannot share 3 key-value heads"),
        ("mixtral", lost(MIXTRAL, Experts, down="gate_up_proj"), "gate_up_proj has shape 4 x 40 x 32; its row expects"),
        (
            "mixtral",
            lost(MIXTRAL, Experts, router="model.norm"),
            r"model\.norm\.weight has shape 32; its row expects 4",
        ),
        ("qwen2", like_llama("qwen2", object, Layout(norms=("input_norm",))), "names 'model.layers.0.input_norm'"),
    ],
)
def test_wrong_rows_are_named(name: str, table: Table, says: str) -> None:
    with pytest.raises(InputError, match=says):
        table.couplings(table_model(name))


@torch.no_grad()
def test_a_forgotten_bias_is_found() -> None:
    model = table_model("qwen2")
    heads = next(c for c in couplings(model) if c.kind == "heads")
    broken = replace(heads, views=tuple(view for view in heads.views if not view.param.endswith("v_proj.bias")))
    with pytest.raises(AssertionError, match="still read"):
        check_coupling(model, broken, outputs)


def test_cross_attentions_are_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9, add_cross_attention=True))
    with pytest.raises(InputError, match="has cross-attentions, which the table of GPT-2 does not hold"):
        couplings(model)


def test_what_else_stands_on_a_decoder_keeps_its_stream() -> None:
    from transformers import GPT2Config, GPT2DoubleHeadsModel

    model = GPT2DoubleHeadsModel(GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9))
    assert kinds_of(model) == ["heads", "sublayer", "ffn"]
