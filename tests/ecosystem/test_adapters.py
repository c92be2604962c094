"""LoRA on a pruned model trains, saves and merges; a model with adapters is refused, a merged one is pruned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pruned_models import MODELS, ids

from small_tasks import classifier
from tprune.core.plan import make_plan
from tprune.families.registry import couplings, family_of
from tprune.realise.checkpoint import load, save
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import random_kept

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.slow
TARGETS = {
    "marian": ["q_proj", "fc1"],
    "bert": ["query", "value"],
    "llama": ["q_proj", "down_proj"],
    "gpt2": ["c_attn"],
}


def cut(name: str) -> Any:
    """Without gathered maps (kind `lines`), which PEFT does not know."""
    return MODELS[name]("heads", *(("ffn", "width") if name != "marian" else ("qk", "vo")))


def wrapped(name: str, model: Any) -> Any:
    torch.manual_seed(0)
    return peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=TARGETS[name], init_lora_weights=False))


def given(name: str) -> dict[str, torch.Tensor]:
    batch = ids(None)
    if name == "bert":
        return batch | {"labels": torch.tensor([0, 1])}
    return batch | {"labels": batch["input_ids"]}


def learn(model: Any, batch: dict[str, torch.Tensor], steps: int = 12) -> tuple[float, float]:
    """The loss before and after some steps."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.02)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[0], losses[-1]


@pytest.mark.parametrize("name", TARGETS)
def test_lora_on_a_pruned_model_trains_saves_and_merges(name: str, tmp_path: Path) -> None:
    small = cut(name)
    before = {key: value.clone() for key, value in small.state_dict().items()}
    model, batch = wrapped(name, small), given(name)
    first, last = learn(model, batch)
    assert last < first - 0.01
    model.eval()
    expected = model(**batch).logits.detach()
    model.save_pretrained(tmp_path / "adapter")
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(**batch).logits.detach(), expected, rtol=1e-4, atol=1e-4)
    assert any(not torch.equal(value, before[key]) for key, value in merged.state_dict().items())
    out = save(merged, tmp_path / "merged")
    assert torch.equal(load(out).eval()(**batch).logits, merged(**batch).logits)
    again = peft.PeftModel.from_pretrained(cut(name), tmp_path / "adapter").eval()
    torch.testing.assert_close(again(**batch).logits.detach(), expected, rtol=1e-4, atol=1e-4)


def test_gathered_maps_have_no_adapters() -> None:
    with pytest.raises(ValueError, match=r"Target module Gathered\(\) is not supported"):
        wrapped("bert", MODELS["bert"]())


def test_a_merged_model_is_pruned(tmp_path: Path) -> None:
    dense = classifier()
    model = wrapped("bert", dense)
    learn(model, given("bert"), 3)
    merged = load(save(model.merge_and_unload().eval(), tmp_path / "merged")).double()
    plan = random_kept(merged, make_plan(merged, family_of(merged).name, couplings(merged)))
    assert shrink(merged, plan).num_parameters() < merged.num_parameters()


@pytest.mark.parametrize("way", ["wrapped", "inside"])
def test_adapters_in_memory_are_refused_in_one_line(way: str) -> None:
    model = cut("llama")
    if way == "wrapped":
        model = wrapped("llama", model)
    else:
        model.add_adapter(peft.LoraConfig(r=2, target_modules=TARGETS["llama"]))
    with pytest.raises(InputError, match=r"with an adapter .*merge it first: model\.merge_and_unload\(\)") as refused:
        couplings(model)
    assert "\n" not in str(refused.value)
    if way == "wrapped":
        with pytest.raises(InputError, match="merge it first"):
            family_of(model)


def test_an_adapter_without_its_model_is_no_model(tmp_path: Path) -> None:
    wrapped("bert", cut("bert")).save_pretrained(tmp_path / "adapter")
    with pytest.raises(InputError, match=r"adapter_config\.json: an adapter, .*merge it into the model first"):
        load(tmp_path / "adapter")
