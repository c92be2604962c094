"""Tables for GPT-2 and GPT-NeoX (one map for queries, keys and values): the small model is the masked one."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
)

from tprune.core.plan import Plan, make_plan
from tprune.core.sites import Site
from tprune.families.fused import APART, INTERLEAVED, FusedAttention
from tprune.families.gpt2 import GPT2
from tprune.families.gpt_neox import GPT_NEOX as NEOX
from tprune.families.registry import couplings, family_of
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import check_coupling, random_kept, randomise_
from tprune.testing.common import apart

GPT2_SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": 20,
    "n_positions": 30,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
NEOX_SIZES: dict[str, Any] = {
    "vocab_size": 40,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "max_position_embeddings": 30,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
MODELS: dict[str, Any] = {
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(**GPT2_SIZES)),
    "neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**NEOX_SIZES)),
}
LIMITS = {"gpt2": 1e-10, "neox": 1e-10}


def made(name: str, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model: Any = MODELS[name]().double().eval()
    randomise_(model, seed)
    return model


def tokens(model: Any) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(3)
    ids = torch.randint(3, 40, (3, 8), generator=random)
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    return {"input_ids": ids, "attention_mask": mask}


@torch.no_grad()
def logits(model: Any) -> Tensor:
    batch = tokens(model)
    found: Tensor = model(**batch).logits
    return found[batch["attention_mask"].bool()]


def written(model: Any) -> Tensor:
    found: Tensor = model.generate(**tokens(model), num_beams=2, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    return found


def plan_of(model: Any, kinds: list[str] | None = None, seed: int = 0) -> Plan:
    return random_kept(model, make_plan(model, family_of(model).name, couplings(model, kinds)), seed=seed)


@pytest.mark.parametrize("name", MODELS)
def test_couplings_are_closed(name: str) -> None:
    model = made(name)
    for coupling in (one for one in couplings(model) if one.closed):
        check_coupling(model, coupling, logits, silent=coupling.kind != "width")


@pytest.mark.parametrize("name", MODELS)
def test_the_small_model_is_the_masked_one(name: str) -> None:
    model = made(name)
    for kinds in (*([kind] for kind in dict.fromkeys(c.kind for c in couplings(model))), None):
        plan = plan_of(model, kinds)
        small, reference = shrink(model, plan), masked(model, plan)
        within = LIMITS[name] if kinds is None or kinds == ["width"] else 1e-12
        assert apart(logits(model), logits(reference)) > 1e-3
        assert apart(logits(reference), logits(small)) <= within, kinds
        assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
        if kinds in (None, ["sublayer"]):  # removed attentions write caches of their own
            assert torch.equal(written(reference), written(small))


@pytest.mark.parametrize("name", MODELS)
def test_pruned_again(name: str) -> None:
    model = made(name)
    once: Any = shrink(model, plan_of(model, ["heads"], seed=1))
    plan = plan_of(once, seed=2)
    assert apart(logits(masked(once, plan)), logits(shrink(once, plan))) <= LIMITS[name]


@pytest.mark.parametrize(("table", "name", "order"), [(GPT2, "gpt2", INTERLEAVED), (NEOX, "neox", APART)])
def test_another_order_of_queries_keys_and_values_is_found(table: Any, name: str, order: str) -> None:
    def rows(model: Any) -> Any:
        return (replace(row, order=order) if isinstance(row, FusedAttention) else row for row in table.rows(model))

    model = made(name)
    heads = next(c for c in replace(table, rows=rows).couplings(model) if c.kind == "heads")
    with pytest.raises(AssertionError):
        check_coupling(model, heads, logits)


def test_fused_maps_of_other_sizes_are_refused() -> None:
    model = made("gpt2")
    attention = next(iter(GPT2.rows(model)))
    assert isinstance(attention, FusedAttention) and attention.site == Site("decoder", 0, "self_attention")
    says = r"attn\.c_attn\.weight has shape 24 x 72; its row expects any x 90"
    with pytest.raises(InputError, match=says):
        replace(attention, heads=5).check(model)


READ = """
import sys, torch
sys.modules["tprune"] = None  # importing it fails
import transformers
torch.set_num_threads(1)
for folder, auto in zip(sys.argv[1::2], sys.argv[2::2]):
    model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned memory, as in the saving process
    batch = torch.load(folder + ".in")
    found = model.generate(**batch, num_beams=2, max_new_tokens=8, min_new_tokens=8, do_sample=False)
    torch.save((model.state_dict(), found), folder + ".out")
"""
AUTO = {"gpt2": "AutoModelForCausalLM", "neox": "AutoModelForCausalLM"}


@pytest.mark.slow
def test_saved_they_load_here_and_where_tprune_is_not_installed(tmp_path: Path) -> None:
    small = {}
    for name in AUTO:
        model = made(name).float()
        small[name] = shrink(model, plan_of(model))
        again = load(save(small[name], tmp_path / name))
        assert torch.equal(logits(again), logits(small[name])) and torch.equal(written(again), written(small[name]))
        torch.save(tokens(model), tmp_path / f"{name}.in")
    given = [text for name, auto in AUTO.items() for text in (str(tmp_path / name), auto)]
    environment = {"HF_MODULES_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""}
    command = [sys.executable, "-c", READ, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, model in small.items():
        state, found = torch.load(tmp_path / f"{name}.out")
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
        assert torch.equal(found, written(model))
