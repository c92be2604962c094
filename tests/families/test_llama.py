"""What is particular to decoders: grouped queries, rotary positions, caches; and a trained model."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, StaticCache

from benchmarks.other_tasks.stories import read_stories
from table_models import LLAMA, kept_by, limit, table_model
from tprune.core.plan import Plan, make_plan
from tprune.families.registry import couplings
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import random_kept
from tprune.testing.common import apart

NAMES = ("llama", "llama-biases")


def without(model: Any, *names: str) -> Plan:
    plan = make_plan(model, "llama", [c for c in couplings(model) if c.name in names])
    assert len(plan.entries) == len(names)
    return plan.with_kept({e.coupling.name: torch.zeros_like(e.keep) for e in plan.entries}, {}, {})


def test_key_value_heads_go_with_all_that_share_them() -> None:
    model = table_model("llama")
    heads = next(c for c in couplings(model) if c.kind == "heads")
    assert [view.structure.pattern for view in heads.views] == [
        "(k r d) i -> k",
        "(k d) i -> k",
        "(k d) i -> k",
        "o (k r d) -> k",
    ]
    plan = make_plan(model, "llama", [heads]).with_kept({heads.name: torch.tensor([True, False, True, True])}, {}, {})
    attention = shrink(model, plan).model.layers[0].self_attn
    before = model.model.layers[0].self_attn
    assert attention.q_proj.out_features == 24 and attention.k_proj.out_features == 12
    rows = torch.tensor([0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15])
    assert torch.equal(attention.k_proj.weight, before.k_proj.weight[rows])
    assert attention.num_key_value_groups == 2 and attention.head_dim == 4


def test_nothing_is_cut_inside_rotary_heads() -> None:
    kinds = {"heads", "queries", "ffn", "sublayer", "width", "lines"}
    assert {c.kind for c in couplings(table_model("llama"))} == kinds
    assert {c.kind for c in couplings(table_model("llama-biases"))} == kinds - {"queries"}


def test_query_heads_are_cut_inside_the_groups_that_share_keys_and_values() -> None:
    model = table_model("llama")
    queries = next(c for c in couplings(model) if c.kind == "queries")
    keep = torch.tensor([[True, False], [False, True], [True, False], [True, False]])
    plan = make_plan(model, "llama", [queries]).with_kept({queries.name: keep}, {}, {})
    small = shrink(model, plan)
    attention = small.model.layers[0].self_attn
    assert (attention.q_proj.out_features, attention.k_proj.out_features, attention.num_key_value_groups) == (16, 16, 1)
    assert small.config.pruned["attributes"] == {"model.layers.0.self_attn": {"num_key_value_groups": 1}}
    ragged = plan.with_kept(
        {queries.name: torch.tensor([[True, True], [True, False], [True, False], [True, True]])}, {}, {}
    )
    with pytest.raises(InputError, match="keep equally many in every head"):
        shrink(model, ragged)


def test_gates_go_with_the_units_that_they_open() -> None:
    ffn = next(c for c in couplings(table_model("llama-biases")) if c.kind == "ffn")
    assert [view.param.removeprefix("model.layers.0.mlp.") for view in ffn.views] == [
        "gate_proj.weight",
        "gate_proj.bias",
        "up_proj.weight",
        "up_proj.bias",
        "down_proj.weight",
    ]


@torch.no_grad()
def decoded(model: Any, tokens: torch.Tensor, cache: Any = None) -> torch.Tensor:
    """The logits of all positions, one step after another."""
    found = []
    for step in range(tokens.shape[1]):
        out = model(input_ids=tokens[:, step : step + 1], past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        found.append(out.logits)
    return torch.cat(found, 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lost", ["self_attn.sublayer", "self_attn.heads"])
@torch.no_grad()
def test_positions_go_on_without_the_first_attention(name: str, lost: str) -> None:
    """They are read from the length of its cache."""
    model = table_model(name)
    plan = without(model, f"model.layers.0.{lost}", "model.layers.2.self_attn.sublayer")
    small, reference = shrink(model, plan), masked(model, plan)
    biased = name == "llama-biases" and lost == "self_attn.heads"
    assert ("model.layers.0.self_attn.o_proj.bias" in small.state_dict()) == biased
    tokens = torch.randint(3, 40, (2, 9), generator=torch.Generator().manual_seed(1))
    expected = reference(input_ids=tokens).logits
    assert apart(expected, small(input_ids=tokens).logits) <= limit(name)
    assert apart(expected, decoded(small, tokens)) <= limit(name)
    static = StaticCache(config=small.config, max_cache_len=16)
    assert apart(expected, decoded(small, tokens, static)) <= limit(name)


@pytest.mark.parametrize("name", NAMES)
def test_beam_search_agrees(name: str) -> None:
    model = table_model(name)
    plan = random_kept(model, make_plan(model, "llama", couplings(model)), seed=2)
    tokens = torch.randint(3, 40, (2, 5), generator=torch.Generator().manual_seed(1))
    how = {"num_beams": 3, "max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "output_scores": True}
    a, b = (
        m.generate(input_ids=tokens, attention_mask=torch.ones_like(tokens), return_dict_in_generate=True, **how)
        for m in (masked(model, plan), shrink(model, plan))
    )
    assert torch.equal(a.sequences, b.sequences) and apart(a.sequences_scores, b.sequences_scores) <= limit(name)


def test_rotations_keep_their_precision() -> None:
    """They are computed, not saved, and stay in single precision where weights are in half."""
    model = LlamaForCausalLM(LlamaConfig(**LLAMA))
    for parameter in model.parameters():
        parameter.data = parameter.data.bfloat16()
    small = shrink(model, random_kept(model, make_plan(model, "llama", couplings(model, ["ffn"]))))
    assert small.dtype == torch.bfloat16
    assert torch.equal(small.model.rotary_emb.inv_freq, model.model.rotary_emb.inv_freq)


@pytest.mark.parametrize("lost", ["heads", "sublayer"])
def test_norms_of_queries_go_with_the_whole_block(lost: str) -> None:
    model = table_model("qwen3")
    sublayer = next(c for c in couplings(model) if c.kind == "sublayer")
    assert {f"model.layers.0.self_attn.{what}.weight" for what in ("q_norm", "k_norm")} < set(sublayer.params)
    plan = kept_by(model, [lost], gone=[f"model.layers.0.self_attn.{lost}"])
    small, reference = shrink(model, plan), masked(model, plan)
    assert not any("layers.0.self_attn" in name for name in small.state_dict())
    tokens = torch.arange(12).view(2, 6)
    assert apart(reference(input_ids=tokens).logits, small(input_ids=tokens).logits) <= limit("qwen3")


# --- a trained model ---


@torch.no_grad()
def test_a_trained_model() -> None:
    if "TPRUNE_DATA" not in os.environ:
        pytest.skip("TPRUNE_DATA names no folder")
    folder = Path(os.environ["TPRUNE_DATA"], "stories260K")
    model = read_stories(folder / "stories260K.bin")
    said = torch.tensor([[int(token) for token in (folder / "greedy_tokens.txt").read_text().split()]])[:, :60]
    logits = model(input_ids=said).logits
    assert torch.equal(logits[:, :-1].argmax(-1), said[:, 1:])
    plan = random_kept(model, make_plan(model, "llama", couplings(model, ["ffn", "heads"])), share=0.8)
    small, reference = shrink(model, plan), masked(model, plan)
    assert apart(reference(input_ids=said).logits, small(input_ids=said).logits) < 1e-5
    assert sum(p.numel() for p in small.parameters()) < 0.85 * sum(p.numel() for p in model.parameters())
