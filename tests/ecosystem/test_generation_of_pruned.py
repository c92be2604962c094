"""`generate` on pruned models: dynamic and static caches, beams, samples; and the two ways to compute attention."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pruned_models import MODELS, ids
from torch import Tensor

WRITES = ("marian", "llama", "gpt2", "qwen3")
LENGTH = {"max_new_tokens": 6, "min_new_tokens": 6}


def written(model: Any, **how: Any) -> Tensor:
    torch.manual_seed(1)
    found: Tensor = model.generate(**ids(model), **LENGTH, **how)
    return found


@pytest.mark.parametrize("name", WRITES)
def test_caches_change_nothing(name: str) -> None:
    model = MODELS[name]()
    for how in ({"do_sample": False}, {"do_sample": False, "num_beams": 3}, {"do_sample": True, "top_k": 8}):
        plain = written(model, use_cache=False, **how)
        assert torch.equal(written(model, **how), plain)
        assert torch.equal(written(model, cache_implementation="static", disable_compile=True, **how), plain)


@pytest.mark.parametrize("name", WRITES)
def test_samples_are_of_the_models_distribution(name: str) -> None:
    model = MODELS[name]()
    greedy = written(model, do_sample=False)
    assert torch.equal(written(model, do_sample=True, top_k=1), greedy)
    assert not torch.equal(written(model, do_sample=True, temperature=50.0), greedy)


@pytest.mark.parametrize("name", MODELS)
def test_sdpa_and_eager_agree(name: str) -> None:
    model = MODELS[name]()
    given: dict[str, Tensor] = ids(model) if name != "vit" else {"pixel_values": torch.randn(2, 3, 8, 8)}
    if name == "marian":
        given["decoder_input_ids"] = given["input_ids"][:, :4]
    found = []
    for way in ("eager", "sdpa"):
        one = copy.deepcopy(model)
        one.set_attn_implementation(way)
        assert one.config._attn_implementation == way
        with torch.no_grad():
            logits = one(**given).logits
            seen = name in ("llama", "gpt2", "qwen3", "tagger")
            # padded positions see nothing, and each way says something else of them
            found.append(logits[given["attention_mask"].bool()] if seen else logits)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    model = MODELS[name]().train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    given: dict[str, Tensor] = ids(model) if name != "vit" else {"pixel_values": torch.randn(2, 3, 8, 8)}
    if name == "marian":
        given["decoder_input_ids"] = given["input_ids"][:, :4]
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
            assert model.is_gradient_checkpointing
        model.zero_grad()
        model(**given).logits.square().mean().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and len(gradients[0]) > 10
    for key, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], value, rtol=1e-4, atol=1e-6)
