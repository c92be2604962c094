"""Families that are tables: the small model computes what the masked one computes, and comes back from disk."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertLMHeadModel

from table_models import BERT as BERT_SIZES
from table_models import (
    DECODERS,
    EAGER_ALONE,
    EXACT,
    MODELS,
    back,
    inputs,
    kept_by,
    kinds_of,
    limit,
    outputs,
    table_model,
)
from tprune.core.coupling import tensors_of
from tprune.core.cuts import cuts_of
from tprune.core.plan import Plan, make_plan
from tprune.core.sites import Site
from tprune.families.bert import BERT
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import check_coupling, randomise_
from tprune.testing.common import apart

NAMES = tuple(MODELS)
FIRST = ("bert", "bert-classifier", "llama", "resnet", "llama-biases")
LONG = [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]  # what takes long
EAGER = {name: 5e-6 for name in DECODERS if name != "gpt2"}  # eager attention takes the softmax in single precision


@torch.no_grad()
def assert_exact(model: Any, plan: Plan, within: float) -> Any:
    """Masked and shrunk agree, both differ from the dense model, and something has become smaller."""
    small, reference = shrink(model, plan), masked(model, plan)
    dense, expected = outputs(model), outputs(reference)
    assert apart(dense, expected) > 1e-3
    assert apart(expected, outputs(small)) <= within
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    return small


def choices(model: nn.Module) -> list[list[str]]:
    kinds = kinds_of(model)
    return [*([kind] for kind in kinds), kinds]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_couplings_are_closed(name: str) -> None:
    model = table_model(name)
    for coupling in (one for one in couplings(model) if one.closed):
        silent = coupling.kind != "width"  # norms mix dimensions
        check_coupling(
            model, coupling, outputs, silent=silent
        )  # TOLERANCE holds for single precision too: what is silent is zero


@pytest.mark.parametrize("name", NAMES)
def test_masked_is_shrunk(name: str) -> None:
    check_masked_is_shrunk(name, 0)


@pytest.mark.parametrize("name", LONG)
def test_masked_is_shrunk_with_another_seed(name: str) -> None:
    check_masked_is_shrunk(name, 1)


def check_masked_is_shrunk(name: str, seed: int) -> None:
    model = table_model(name, seed)
    for kinds in choices(model):
        assert_exact(model, kept_by(model, kinds, seed), limit(name))


@pytest.mark.parametrize(
    "name", [x for x, name in zip(LONG, NAMES, strict=True) if name not in ("resnet", EAGER_ALONE)]
)
def test_other_attention_functions(name: str) -> None:
    model = table_model(name)
    model.set_attn_implementation("eager")
    within = EAGER.get(name, limit(name))
    small = assert_exact(model, kept_by(model, [k for k in kinds_of(model) if k != "sublayer"]), within)
    assert small.config._attn_implementation == "eager"
    eager = outputs(small)
    small.set_attn_implementation("sdpa")
    assert 0 < apart(eager, outputs(small)) <= within


@pytest.mark.parametrize("name", LONG)
def test_a_pruned_model_can_be_pruned_again(name: str) -> None:
    model = table_model(name)
    kinds = [kind for kind in kinds_of(model) if kind != "lines"]  # of a gathered matrix nothing more can be cut
    first = shrink(model, kept_by(model, kinds, seed=1))
    again = kept_by(first, [kind for kind in kinds if kind in kinds_of(first)], seed=3)
    assert_exact(first, again, limit(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_pruned_model_comes_back(name: str, tmp_path: Path) -> None:
    model = table_model(name).float()
    plan = kept_by(model, kinds_of(model))
    small = shrink(model, plan)
    again = back(save(small, tmp_path / "m", plan=plan), model)
    assert type(again) is type(small) and not again.training
    before, after = tensors_of(small), tensors_of(again)
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)
    assert torch.equal(outputs(again), outputs(small))
    assert Plan.load(tmp_path / "m" / "plan.json") == plan
    assert not torch.equal(outputs(again), outputs(model))


@pytest.mark.parametrize("name", LONG)
def test_a_dense_model_comes_back(name: str, tmp_path: Path) -> None:
    model = table_model(name).float()
    again = back(save(model, tmp_path / "m"), model)
    assert type(again) is type(model) and torch.equal(outputs(again), outputs(model))
    assert not list((tmp_path / "m").glob("*.py"))


READ = """
import sys, torch
sys.modules["tprune"] = None  # importing it fails
import transformers
for folder, auto in zip(sys.argv[1::2], sys.argv[2::2]):
    model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned memory, as in the saving process
    torch.set_num_threads(1)
    found = model(**torch.load(folder + ".in"))
    torch.save(found.logits if "logits" in found else found.last_hidden_state, folder + ".out")
"""


def in_a_fresh_process(code: str, *given: str, folder: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {
        "HF_MODULES_CACHE": str(folder / "cache")
    }
    command = [sys.executable, "-c", code, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=folder)
    assert done.returncode == 0, done.stderr


AUTO = {
    "bert": "AutoModel",
    "bert-classifier": "AutoModelForSequenceClassification",
    **dict.fromkeys(DECODERS, "AutoModelForCausalLM"),
}


@pytest.mark.slow
def test_a_fresh_process_without_tprune_reads_it(tmp_path: Path) -> None:
    small = {}
    for name in AUTO:
        model = table_model(name).float()
        small[name] = shrink(model, kept_by(model, kinds_of(model)))
        save(small[name], tmp_path / name)
        assert {path.name for path in (tmp_path / name).glob("*.py")} == {"modeling_pruned.py"}
        torch.save(inputs(model), tmp_path / f"{name}.in")
    given = [text for name, auto in AUTO.items() for text in (str(tmp_path / name), auto)]
    in_a_fresh_process(READ, *given, folder=tmp_path)
    for name, model in small.items():
        found = model(**inputs(model))
        expected: Tensor = found.logits if "logits" in found else found.last_hidden_state
        assert torch.equal(torch.load(tmp_path / f"{name}.out"), expected)


# --- blocks of which nothing is left ---


@pytest.mark.parametrize(
    ("kind", "block"), [("heads", "attention.self"), ("ffn", "intermediate"), ("sublayer", "attention.self")]
)
def test_empty_blocks_leave_the_bias_that_the_residual_gets(kind: str, block: str, tmp_path: Path) -> None:
    model = table_model("bert")
    gone = f"encoder.layer.1.{block}.{kind}"
    plan = make_plan(model, "bert", couplings(model, [kind]))
    kept = {e.coupling.name: e.keep & (e.coupling.name != gone) for e in plan.entries}
    small = assert_exact(model, plan.with_kept(kept, {}, {}), EXACT)
    assert small.get_submodule(f"encoder.layer.1.{block}").removed
    biases = [name for name in small.state_dict() if name.startswith("encoder.layer.1.attention.output.dense")]
    assert (biases == []) == (kind == "sublayer")
    assert all(
        coupling.site.layer != 1 or coupling.site.block != plan_site(plan, gone).block for coupling in couplings(small)
    )
    again = load(save(small, tmp_path / "m"))
    assert torch.equal(outputs(again), outputs(small))


def plan_site(plan: Plan, name: str) -> Site:
    (site,) = (e.coupling.site for e in plan.entries if e.coupling.name == name)
    assert site is not None
    return site


def test_masked_heads_stay_in_place() -> None:
    model = table_model("bert")
    plan = kept_by(model, ["ffn", "heads"])
    entries = tuple(
        replace(e, realisation="masked" if e.coupling.kind == "heads" else e.realisation) for e in plan.entries
    )
    small = assert_exact(model, replace(plan, entries=entries), EXACT)
    attention = small.encoder.layer[0].attention.self
    assert attention.num_attention_heads == 4 and attention.query.out_features == 24


def test_heads_that_keep_unequally_many_dimensions_are_refused() -> None:
    model = table_model("bert")
    plan = make_plan(model, "bert", couplings(model, ["heads", "vo"]))
    kept = {e.coupling.name: e.keep for e in plan.entries}
    name = "encoder.layer.0.attention.self"
    kept[f"{name}.heads"][0] = False
    kept[f"{name}.vo"][0, :2] = False  # in a head that goes: equally many are left in the others
    assert_exact(model, plan.with_kept(kept, {}, {}), EXACT)
    kept[f"{name}.vo"][:, :] = False
    with pytest.raises(InputError, match="0 value dimensions are left of a head; cut heads instead"):
        shrink(model, plan.with_kept(kept, {}, {}))


def test_what_a_table_cannot_make_is_refused() -> None:
    model = table_model("bert")
    plan = kept_by(model, ["ffn"])
    with pytest.raises(InputError, match="stock classes have layers of one size"):
        shrink(model, plan, stock=True)
    cuts = cuts_of(model, kept_by(model, ["lines"]))
    with pytest.raises(InputError, match=r"lines of encoder\.layer\.0\.\S+\.weight are gathered; expected closed coup"):
        replace(BERT, lines=False).build(model, cuts, {}, False)
    assert not any(c.kind == "lines" for c in replace(BERT, lines=False).couplings(model))


def test_code_reads_the_sizes_that_are_left() -> None:
    model = table_model("bert")
    small = shrink(model, kept_by(model, ["heads"]))
    attention = small.encoder.layer[0].attention.self
    assert (attention.num_attention_heads, attention.attention_head_size, attention.all_head_size) == (2, 6, 12)
    assert attention.query.out_features == 12 and attention.scaling == 6**-0.5
    uneven = shrink(model, kept_by(model, ["heads", "vo"])).encoder.layer[0].attention.self
    assert tuple(uneven.uneven) == (2, 2, 6, 3) and uneven.attention_head_size == 1


def test_uneven_heads_may_become_even_again(tmp_path: Path) -> None:
    model = table_model("bert")
    uneven = shrink(model, kept_by(model, ["vo"]))
    plan = make_plan(uneven, "bert", couplings(uneven, ["qk"]))
    kept = {e.coupling.name: torch.arange(6).expand(4, 6) < 3 for e in plan.entries}
    small = assert_exact(uneven, plan.with_kept(kept, {}, {}), EXACT)
    assert small.config.pruned["values"] == {} and small.encoder.layer[0].attention.self.attention_head_size == 3
    assert torch.equal(outputs(load(save(small, tmp_path / "m"))), outputs(small))


@torch.no_grad()
def test_caches_hold_uneven_heads() -> None:
    torch.manual_seed(0)
    model = BertLMHeadModel(BertConfig(**BERT_SIZES, is_decoder=True)).double().eval()
    randomise_(model)
    first = "bert.encoder.layer.0.attention.self.sublayer"
    plan = kept_by(model, ["heads", "qk", "vo", "sublayer"], seed=1, gone=[first])
    small, cache, tokens = shrink(model, plan), None, inputs(model)["input_ids"]
    expected = masked(model, plan)(input_ids=tokens).logits
    assert apart(model(input_ids=tokens).logits, expected) > 1e-3
    for step in range(tokens.shape[1]):
        found = small(input_ids=tokens[:, step : step + 1], past_key_values=cache, use_cache=True)
        cache = found.past_key_values
        assert apart(expected[:, step], found.logits[:, 0]) <= EXACT
