from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, BloomConfig, BloomModel, MarianMTModel

from small_models import small_batch, small_model
from tprune.core.coupling import tensors_of
from tprune.core.cuts import cuts_of
from tprune.core.plan import Plan, fingerprint, make_plan
from tprune.families.modeling.modeling_pruned import Gathered
from tprune.families.registry import couplings
from tprune.realise.mask import mask_, masked
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import check_agrees, random_kept


def plan_for(model: nn.Module, *kinds: str) -> Plan:
    return make_plan(model, "marian", couplings(model, kinds or None))


def keep_first(plan: Plan, count: int) -> Plan:
    kept = {}
    for entry in plan.entries:
        kept[entry.coupling.name] = torch.zeros(entry.groups, dtype=torch.bool)
        if entry.groups:
            kept[entry.coupling.name][..., :count] = True
    return plan.with_kept(kept, {}, {})


def same(a: nn.Module, b: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, b[name]) for name, tensor in tensors_of(a).items())


# --- masked ---


def test_mask_zeroes_members_and_biases_of_what_goes_and_nothing_else(marian_small: Any) -> None:
    plan = keep_first(plan_for(marian_small, "ffn"), 7)
    before = {name: tensor.clone() for name, tensor in tensors_of(marian_small).items()}
    twin: Any = masked(marian_small, plan)
    assert same(marian_small, before)
    changed = {name for name, tensor in tensors_of(twin).items() if not torch.equal(tensor, before[name])}
    assert changed == {param for entry in plan.entries for param in entry.coupling.params}
    layer, was = twin.model.encoder.layers[1], "model.encoder.layers.1"
    assert not layer.fc1.weight[7:].any() and not layer.fc1.bias[7:].any() and not layer.fc2.weight[:, 7:].any()
    assert torch.equal(layer.fc1.weight[:7], before[f"{was}.fc1.weight"][:7])
    assert torch.equal(layer.fc2.bias, before[f"{was}.fc2.bias"])


def test_a_plan_without_selection_masks_nothing_and_is_not_shrunk(marian_small: Any) -> None:
    plan = plan_for(marian_small)
    assert same(masked(marian_small, plan), tensors_of(marian_small))
    cuts = cuts_of(marian_small, plan)
    assert not cuts.keep and not cuts.gather and not cuts.removed
    with pytest.raises(InputError, match="does not say what to keep"):
        shrink(marian_small, plan)


def test_plans_of_other_models_are_refused(marian_small: Any) -> None:
    plan = keep_first(plan_for(marian_small), 3)
    other = small_model("marian", encoder_ffn_dim=8)
    for realise in (shrink, masked, mask_, cuts_of):
        with pytest.raises(InputError, match="fingerprint"):
            realise(other, plan)


# --- cut ---


def test_cuts_of_overlapping_couplings_intersect_in_original_indices(marian_small: Any) -> None:
    name = "model.encoder.layers.0.self_attn"
    plan = plan_for(marian_small, "heads", "qk", "width")
    kept = {entry.coupling.name: entry.keep for entry in plan.entries}
    kept[f"{name}.heads"] = torch.tensor([True, False, True, False])
    kept[f"{name}.qk"] = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]]).bool()
    kept["width"] = torch.arange(16) % 3 > 0
    cuts = cuts_of(marian_small, plan.with_kept(kept, {}, {}))
    rows = [0, 1, 9, 11]
    assert cuts.keep[f"{name}.q_proj.weight"][0].nonzero().flatten().tolist() == rows
    assert cuts.shape(f"{name}.q_proj.weight") == (4, 10) and cuts.shape(f"{name}.v_proj.weight") == (8, 10)
    weight = marian_small.model.encoder.layers[0].self_attn.q_proj.weight
    expected = weight[rows][:, torch.arange(16) % 3 > 0]
    assert torch.equal(cuts.slice(f"{name}.q_proj.weight", weight), expected)
    tied = {
        "model.shared.weight",
        "lm_head.weight",
        "model.encoder.embed_tokens.weight",
        "model.decoder.embed_tokens.weight",
    }
    assert all(cuts.shape(param) == (40, 10) for param in tied)


def test_a_cut_copies(marian_small: Any) -> None:
    before = {name: tensor.clone() for name, tensor in tensors_of(marian_small).items()}
    small = shrink(marian_small, keep_first(plan_for(marian_small, "ffn"), 5))
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
    assert same(marian_small, before)


def test_unequal_heads_and_empty_heads_are_refused(marian_small: Any) -> None:
    plan = plan_for(marian_small, "qk", "vo")
    kept = {entry.coupling.name: entry.keep for entry in plan.entries}
    name = "model.encoder.layers.1.self_attn.qk"
    uneven = kept | {name: torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0]]).bool()}
    with pytest.raises(InputError, match=r"encoder.layers.1.self_attn.q_proj.*\[2, 4, 2, 2\]"):
        shrink(marian_small, plan.with_kept(uneven, {}, {}))
    for which in (name, name.replace("qk", "vo")):
        with pytest.raises(InputError, match="cut heads instead"):
            shrink(marian_small, plan.with_kept(kept | {which: torch.zeros(4, 4).bool()}, {}, {}))


def test_nothing_left_of_the_width_is_refused(marian_small: Any) -> None:
    with pytest.raises(InputError, match="residual width"):
        shrink(marian_small, keep_first(plan_for(marian_small, "width"), 0))


def test_other_architectures_are_refused() -> None:
    bloom = BloomModel(BloomConfig(hidden_size=8, n_layer=1, n_head=2, vocab_size=9))
    with pytest.raises(InputError, match=r"BloomModel.*marian, bart"):
        shrink(bloom, Plan("bloom", fingerprint(bloom), ()))
    with pytest.raises(InputError, match="ffn"):
        couplings(small_model("marian"), ["filters"])


# --- shrunk ---


def test_masked_entries_keep_their_size(marian_small: Any) -> None:
    plan = keep_first(plan_for(marian_small, "ffn"), 5)
    left = tuple(
        type(e)(e.coupling, e.groups, e.method, e.mode, e.strength, "masked" if i else e.realisation, e.kept)
        for i, e in enumerate(plan.entries)
    )
    mixed = Plan(plan.family, plan.fingerprint, left)
    small = shrink(marian_small, mixed)
    check_agrees(masked(marian_small, mixed), small, small_batch())
    assert [layer.fc1.out_features for layer in small.model.encoder.layers] == [5, 12]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_precision_mode_and_ties_stay(dtype: torch.dtype) -> None:
    model = small_model("marian").to(dtype).train()
    small = shrink(model, random_kept(model, plan_for(model)))
    assert small.training and {p.dtype for p in small.parameters()} == {dtype}
    assert small.lm_head.weight is small.model.shared.weight is small.model.encoder.embed_tokens.weight
    kept = shrink(model, keep_first(plan_for(model, "ffn"), 5))
    assert torch.equal(kept.model.encoder.layers[0].fc1.weight, model.model.encoder.layers[0].fc1.weight[:5])


@pytest.mark.parametrize("family", ["marian", "marian_untied", "bart", "bart_untied"])
def test_the_small_model_trains(family: str) -> None:
    model = small_model(family).float().train()
    small = shrink(model, random_kept(model, plan_for(model)))
    optimizer = torch.optim.SGD(small.parameters(), lr=0.05)
    losses, unused = [], {"model.shared.weight"} if family == "bart_untied" else set()
    for _ in range(5):
        loss = small(**small_batch()).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in small.named_parameters():
            if parameter.requires_grad and name not in unused:
                assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), name
        optimizer.step()
    assert losses[-1] < losses[0]


def test_eager_and_sdpa_attention_agree() -> None:
    model = small_model("marian")
    plan = random_kept(model, plan_for(model, "qk", "vo", "heads"))
    for implementation in ("eager", "sdpa"):
        model.set_attn_implementation(implementation)
        small = shrink(model, plan)
        assert small.config._attn_implementation == implementation
        check_agrees(masked(model, plan), small, small_batch())


def test_generation_settings_are_inherited(marian_small: Any) -> None:
    marian_small.generation_config.num_beams = 5
    small = shrink(marian_small, keep_first(plan_for(marian_small, "ffn"), 5))
    assert small.generation_config.num_beams == 5
    small.generation_config.num_beams = 2
    assert marian_small.generation_config.num_beams == 5


# --- gathered ---


def test_gathered_matrices_hold_only_their_lines(marian_small: Any) -> None:
    name = "model.encoder.layers.0.fc1"
    plan = plan_for(marian_small, "lines")
    kept = {entry.coupling.name: entry.keep for entry in plan.entries}
    kept[f"{name}.in"] = torch.arange(16) % 2 == 0
    kept[f"{name}.out"] = torch.tensor([0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0]).bool()
    plan = plan.with_kept(kept, {}, {})
    small = shrink(marian_small, plan)
    module = small.get_submodule(name)
    assert isinstance(module, Gathered)
    assert tuple(module.weight.shape) == (3, 8) and tuple(module.bias.shape) == (12,)
    assert torch.equal(module.weight, marian_small.model.encoder.layers[0].fc1.weight[[1, 2, 6]][:, ::2])
    assert sum(isinstance(m, Gathered) for m in small.modules()) == 1
    check_agrees(masked(marian_small, plan), small, small_batch())
    with pytest.raises(InputError, match=f"{name} is a gathered matrix"):
        couplings(small)


def test_gathered_lines_of_a_matrix_that_is_cut_too(marian_small: Any) -> None:
    name = "model.decoder.layers.1.fc2"
    plan = plan_for(marian_small, "lines", "ffn", "width")
    kept = {entry.coupling.name: entry.keep for entry in plan.entries}
    kept["model.decoder.layers.1.ffn"] = torch.arange(20) >= 6
    kept["width"] = torch.arange(16) != 3
    kept[f"{name}.in"] = torch.arange(20) % 3 == 0
    kept[f"{name}.out"] = torch.arange(16) < 5
    plan = plan.with_kept(kept, {}, {})
    small = shrink(marian_small, plan)
    assert tuple(small.get_parameter(f"{name}.weight").shape) == (4, 5)
    check_agrees(masked(marian_small, plan), small, small_batch())


# --- stock ---


def test_stock_export_is_a_plain_model(marian_small: Any, tmp_path: Any) -> None:
    plan = keep_first(plan_for(marian_small, "ffn"), 5)
    small = shrink(marian_small, plan, stock=True)
    assert type(small) is MarianMTModel
    check_agrees(masked(marian_small, plan), small, small_batch())
    small.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.py"))
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    assert type(again) is MarianMTModel and again.config.encoder_ffn_dim == 5
    check_agrees(small, again.eval(), small_batch())


@pytest.mark.parametrize(
    ("kind", "says"), [("heads", "heads"), ("width", "width"), ("sublayer", "removed"), ("lines", "gather")]
)
def test_stock_refuses_what_stock_configurations_cannot_say(kind: str, says: str, marian_small: Any) -> None:
    plan = random_kept(marian_small, plan_for(marian_small, kind))
    with pytest.raises(InputError, match=f"stock configuration cannot express.*{says}"):
        shrink(marian_small, plan, stock=True)


def test_stock_refuses_layers_of_unequal_sizes(marian_small: Any) -> None:
    plan = plan_for(marian_small, "ffn")
    kept = {e.coupling.name: torch.arange(e.groups[0]) < 4 + i for i, e in enumerate(plan.entries)}
    with pytest.raises(InputError, match=r"one FFN size per side.*encoder.*\[4, 5\]"):
        shrink(marian_small, plan.with_kept(kept, {}, {}), stock=True)
