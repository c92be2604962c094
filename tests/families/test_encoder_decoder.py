from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import MarianConfig, MarianMTModel

from small_models import small_batch, small_model
from tprune.core.coupling import Role, bind, source_params, tensors_of
from tprune.core.plan import make_plan
from tprune.core.sites import Site
from tprune.families.bart import BART
from tprune.families.modeling.modeling_pruned import (
    Gathered,
    NarrowLayerNorm,
    Nothing,
    pruned_class,
    pruned_config,
    rebuild_,
)
from tprune.families.registry import FAMILIES as FAMILIES_REGISTERED
from tprune.families.registry import couplings, family_of
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import random_kept

FAMILIES = ["marian", "marian_untied", "bart", "bart_untied"]


@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_lists_every_layer_once(name: str) -> None:
    model = small_model(name)
    table = couplings(model)
    assert family_of(model).name == name.split("_")[0]
    assert len({c.name for c in table}) == len(table)
    matrices = 4 * (2 + 3 + 3) + 2 * (2 + 3)
    expected = {"ffn": 5, "heads": 8, "qk": 8, "vo": 8, "sublayer": 13, "width": 1, "lines": 2 * matrices}
    assert Counter(c.kind for c in table) == expected
    assert all(c.closed == (c.kind != "lines") for c in table)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_coupling_says_where_it_lies(name: str) -> None:
    model = small_model(name)
    found: dict[Site | None, list[str]] = {}
    for coupling in couplings(model):
        found.setdefault(coupling.site, []).append(coupling.kind)
    attention = ["heads", "qk", "vo", "sublayer", *["lines"] * 2 * 4]
    units = ["ffn", "sublayer", *["lines"] * 2 * 2]
    assert found == {
        **{Site("encoder", i, "self_attention"): attention for i in range(2)},
        **{Site("encoder", i, "feed_forward"): units for i in range(2)},
        **{Site("decoder", i, b): attention for i in range(3) for b in ("self_attention", "cross_attention")},
        **{Site("decoder", i, "feed_forward"): units for i in range(3)},
        Site("", None, "residual"): ["width"],
    }
    for coupling in couplings(model):  # by what it holds: every tensor lies in the module of its block
        if coupling.site is not None and coupling.site.layer is not None:
            stack, layer, block = coupling.site
            modules = {
                "self_attention": ("self_attn",),
                "cross_attention": ("encoder_attn",),
                "feed_forward": ("fc1", "fc2"),
            }
            begins = tuple(f"model.{stack}.layers.{layer}.{module}." for module in modules[block])
            assert all(param.startswith(begins) for param in coupling.params)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_reads_the_source_is_the_encoder_and_keys_and_values_of_the_source(name: str) -> None:
    model = small_model(name)
    found = source_params(couplings(model))
    for param, tensor in model.named_parameters():
        if tensor.ndim == 2 and ".layers." in param:
            of_source = param.endswith(("encoder_attn.k_proj.weight", "encoder_attn.v_proj.weight"))
            assert (param in found) == (param.startswith("model.encoder.") or of_source), param


@pytest.mark.parametrize("name", FAMILIES)
def test_groups_have_the_models_sizes(name: str) -> None:
    model = small_model(name)
    shapes = {g.coupling.name: g.shape for g in bind(couplings(model), model)}
    assert shapes["model.encoder.layers.0.ffn"] == (12,) and shapes["model.decoder.layers.2.ffn"] == (20,)
    assert shapes["model.encoder.layers.1.self_attn.heads"] == (4,)
    assert shapes["model.decoder.layers.1.encoder_attn.qk"] == (2, 8)
    assert shapes["model.decoder.layers.0.self_attn.sublayer"] == () and shapes["width"] == (16,)
    assert shapes["model.decoder.layers.0.fc1.in"] == (16,)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_tensor_of_the_residual_width_is_a_member(name: str) -> None:
    """All but what lies inside a sublayer: biases of q, k, v and fc1, and the logits' bias."""
    model = small_model(name)
    width = couplings(model, ["width"])[0]
    tensors = tensors_of(model)
    listed = {id(tensors[param]) for param in width.params}
    inside = ("q_proj.bias", "k_proj.bias", "v_proj.bias", "fc1.bias", "final_logits_bias")
    for param, tensor in tensors.items():
        assert (id(tensor) in listed) != param.endswith(inside), param


def test_a_tied_embedding_counts_once_in_the_width() -> None:
    sizes = {
        name: int(bind(couplings(small_model(name), ["width"]), small_model(name))[0].sizes[0]) for name in FAMILIES
    }
    inside = sum(3 * 16 + 16 for _ in range(8)) + 2 * 12 * 2 + 3 * 20 * 2
    assert sizes["marian"] == inside + 40
    assert sizes["marian_untied"] == inside + 40 + 33
    assert sizes["bart_untied"] - sizes["bart"] >= 2 * 40


def test_biases_are_never_counted() -> None:
    for coupling in couplings(small_model("marian")):
        for view in coupling.views:
            if view.param.endswith("bias"):
                assert view.role is Role.BIAS


def test_plugins_join_the_families(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    class Point:
        name = "mine"

        def load(self) -> Any:
            return replace(BART, name="mine")

    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group: [Point()] if group == "tprune.families" else []
    )
    names = [family.name for family in FAMILIES_REGISTERED.values()]
    assert names[:2] == ["marian", "bart"] and names[-1] == "mine"


def test_unknown_kinds_are_named(marian_small: Any) -> None:
    with pytest.raises(InputError, match=r"'filters'.*ffn, heads, lines, qk, sublayer, vo, width"):
        couplings(marian_small, ["filters"])


# --- the code that travels with the weights ---


def test_a_configuration_without_cuts_is_the_dense_model() -> None:
    dense = small_model("marian")
    given = {key: value for key, value in dense.config.to_dict().items() if key not in ("model_type", "architectures")}
    model: Any = pruned_class(MarianMTModel)(pruned_config(MarianConfig)(**given)).double().eval()
    model.load_state_dict(dense.state_dict())
    assert torch.equal(model(**small_batch()).logits, dense(**small_batch()).logits)


def test_norm_over_what_is_left_is_the_dense_norm() -> None:
    dense = torch.nn.LayerNorm(6).double()
    torch.nn.init.normal_(dense.weight)
    torch.nn.init.normal_(dense.bias)
    small = NarrowLayerNorm(dense)
    rebuild_(small, {"tensors": {"weight": [4], "bias": [4]}})
    small.load_state_dict({"weight": dense.weight[:4], "bias": dense.bias[:4]})
    x = torch.randn(3, 4, dtype=torch.float64) + 2
    full = torch.cat([x, x.new_zeros(3, 2)], 1)
    assert torch.allclose(small(x), dense(full)[:, :4], atol=1e-14)


@pytest.mark.parametrize(("n_in", "n_out"), [(3, None), (None, 2), (3, 2), (None, None), (0, None), (None, 0)])
def test_gathered_linear_is_a_masked_linear(n_in: int | None, n_out: int | None) -> None:
    weight, bias, x = torch.randn(4, 5), torch.randn(4), torch.randn(2, 3, 5)
    rows = torch.arange(4) if n_out is None else torch.tensor([1, 3])[:n_out]
    columns = torch.arange(5) if n_in is None else torch.tensor([0, 2, 4])[:n_in]
    module = Gathered(torch.nn.Linear(5, 4), 5, 4, n_in, n_out)
    module.weight.data, module.bias.data = weight[rows][:, columns].clone(), bias
    if n_in is not None:
        module.input_index = torch.nn.Buffer(columns)
    if n_out is not None:
        index = torch.full((4,), n_out)
        index[rows] = torch.arange(n_out)
        module.output_index = torch.nn.Buffer(index)
    mask = torch.zeros(4, 5)
    mask[rows[:, None], columns] = 1
    assert torch.allclose(module(x), torch.nn.functional.linear(x, weight * mask, bias), atol=1e-6)


@pytest.mark.parametrize("name", ["marian", "bart"])
def test_without_caches_and_with_attention_outputs(name: str) -> None:
    model = small_model(name)
    model.set_attn_implementation("eager")
    small = shrink(model, random_kept(model, make_plan(model, name, couplings(model, ["heads", "qk", "vo", "width"]))))
    cached, plain = (small(**small_batch(), use_cache=cache, output_attentions=True) for cache in (True, False))
    assert torch.equal(cached.logits, plain.logits) and plain.past_key_values is None
    heads = [layer.self_attn.num_heads for layer in small.model.encoder.layers]
    assert [weights.shape[1] for weights in plain.encoder_attentions] == heads
    assert all(torch.allclose(w.sum(-1), torch.ones_like(w.sum(-1))) for w in plain.cross_attentions)


def test_without_decoder_self_attentions_the_caches_go_on_counting_positions() -> None:
    model = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, ["sublayer"]))
    gone = {e.coupling.name: torch.zeros((), dtype=torch.bool) for e in plan.entries}
    small = shrink(model, plan.with_kept(gone, {}, {}))
    assert sum(isinstance(m, Nothing) and m.layer_idx is not None for m in small.modules()) == 3 + 3
    tokens = small_batch()["input_ids"]
    cache = small(input_ids=tokens, decoder_input_ids=tokens[:, :6], use_cache=True).past_key_values
    assert [layer.keys.shape for layer in cache.self_attention_cache.layers] == [(3, 1, 6, 1)] * 3
    assert cache.get_seq_length() == 6 and cache.cross_attention_cache.get_seq_length() == 0


def test_gradient_checkpointing_and_dropout_still_work() -> None:
    model = small_model("marian", dropout=0.1, attention_dropout=0.1).float().train()
    small = shrink(
        model, random_kept(model, make_plan(model, "marian", couplings(model, ["ffn", "heads", "qk", "width"])))
    )
    small.gradient_checkpointing_enable()
    small(**small_batch()).loss.backward()
    assert all(p.grad is not None for p in small.parameters() if p.requires_grad)
