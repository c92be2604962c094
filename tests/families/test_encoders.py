"""Encoders under every head that transformers has for them: the small model is the masked one, and comes back."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from encoders import EACH, FIRST, OTHERS, chosen, encoder, given, kinds_of, limit, said
from torch import Tensor, nn

from tprune.core.known_tasks import task_of
from tprune.core.plan import Plan, make_plan
from tprune.core.positions import most_tokens
from tprune.core.sublayers import sublayers_of
from tprune.core.views import producer
from tprune.families.distilbert import DISTILBERT
from tprune.families.electra import ELECTRA
from tprune.families.registry import FAMILIES, couplings
from tprune.families.residual import Residual
from tprune.families.roberta import ROBERTA
from tprune.families.table import Table
from tprune.families.vit import VIT
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import check_coupling, check_family
from tprune.testing.common import apart


@torch.no_grad()
def assert_exact(model: Any, plan: Plan, within: float) -> Any:
    small, reference = shrink(model, plan), masked(model, plan)
    dense, expected = said(model), said(reference)
    assert dense.shape != expected.shape or apart(dense, expected) > 1e-3
    assert apart(expected, said(small)) <= within
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    return small


@torch.no_grad()
def check(name: str, folder: Path) -> None:
    """One coupling of each kind is perturbed; all kinds are cut together; the small model comes back from disk."""
    model = encoder(name)
    last = {coupling.kind: coupling for coupling in couplings(model) if coupling.closed}
    assert "width" in last
    for kind, coupling in last.items():
        check_coupling(model, coupling, said, silent=kind not in ("width", "embedding"))
    small = assert_exact(model, chosen(model, [kind for kind in kinds_of(model) if kind != "lines"]), limit(name))
    again = load(save(small, folder / "m"))
    assert type(again) is type(small) and torch.equal(said(again), said(small))


@pytest.mark.parametrize("name", FIRST)
def test_one_head_of_each_family(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_heads(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
@torch.no_grad()
def test_every_kind_by_itself(name: str) -> None:
    model, within = encoder(name, 1), limit(name)
    for coupling in (one for one in couplings(model) if one.closed):
        check_coupling(model, coupling, said, silent=coupling.kind not in ("width", "embedding"))
    for kind in kinds_of(model):
        plans = (chosen(model, [kind], seed) for seed in range(1, 9))
        assert_exact(model, next(plan for plan in plans if not all(e.keep.all() for e in plan.entries)), within)
    kinds = [kind for kind in kinds_of(model) if kind != "lines"]
    once: Any = shrink(model, chosen(model, kinds, seed=2))
    assert_exact(once, chosen(once, [kind for kind in kinds if kind in kinds_of(once)], seed=3), within)
    model.set_attn_implementation("eager")
    small = assert_exact(model, chosen(model), limit(name, eager=True))
    assert small.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("name", "table", "change", "says"),
    [
        ("ViTForImageClassification", VIT, {"tensors": -2}, "cannot run"),  # the class token is left out
        ("DistilBertForSequenceClassification", DISTILBERT, {"norms": -1}, "cannot run"),
        ("DistilBertForSequenceClassification", DISTILBERT, {"readers": -1}, "cannot run"),
        ("RobertaForSequenceClassification", ROBERTA, {"writers": -1}, "cannot run|still read"),
        ("ElectraForSequenceClassification", ELECTRA, {"writers": 0}, "cannot run"),  # the map after the embeddings
    ],
)
def test_what_is_left_out_of_the_stream_is_found(
    name: str, table: Table, change: dict[str, int], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(model: Any) -> Any:
        for row in table.rows(model):
            short = {what: without(getattr(row, what), at) for what, at in change.items() if hasattr(row, what)}
            yield replace(row, **short) if isinstance(row, Residual) and row.kind == "width" else row

    ours = {family: path for family, path in FAMILIES.ours.items() if family != table.name}
    monkeypatch.setattr(FAMILIES, "ours", ours)
    monkeypatch.setattr(FAMILIES, "entered", {table.name: replace(table, rows=rows)})
    model = encoder(name)
    with pytest.raises(AssertionError, match=says):
        check_family(model, task_of(model).random(model), ["width"])


def without(names: tuple[Any, ...], at: int) -> tuple[Any, ...]:
    return (*names[:at], *names[len(names) + at + 1 if at < 0 else at + 1 :])


def test_a_wrong_name_is_told() -> None:
    model = encoder("ViTModel")
    (width,) = (row for row in VIT.rows(model) if isinstance(row, Residual))
    wrong = replace(width, tensors=(producer("embeddings.cls", "a b u -> u"),))
    with pytest.raises(InputError, match=r"width: its row names 'embeddings\.cls', and the model has no such tensor"):
        wrong.check(model)
    wrong = replace(width, tensors=(producer("embeddings.cls_token", "u b w -> u"),))
    with pytest.raises(InputError, match="has 1 groups; its row expects 24"):
        wrong.check(model)


def test_two_streams_share_no_budget() -> None:
    model = encoder("CLIPModel")
    plan = make_plan(model, "clip", couplings(model, ["ffn", "width"]))
    with pytest.raises(InputError, match=r"text_model\.width and vision_model\.width: two residual widths"):
        sublayers_of(plan)


@torch.no_grad()
def test_positions_are_those_after_the_paddings() -> None:
    model = encoder("RobertaForSequenceClassification")
    ids = torch.full((1, most_tokens(model) or 0), 5)
    assert ids.shape[1] == 28 and model(input_ids=ids).logits.isfinite().all()
    with pytest.raises((IndexError, RuntimeError)):
        model(input_ids=torch.full((1, 29), 5))
    assert most_tokens(encoder("BertModel")) == 30


@torch.no_grad()
def test_pooled_sentences_of_a_narrow_encoder() -> None:
    """As sentence encoders use it: the mean of the hidden states of all tokens, of length 1."""
    model = encoder("BertModel", num_attention_heads=12, intermediate_size=96)
    plan = chosen(model, ["heads", "ffn", "width", "sublayer"])

    def cosines(of: Any) -> Tensor:
        batch = given(of)
        mask = batch["attention_mask"][..., None].double()
        mean = (of(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
        unit: Tensor = nn.functional.normalize(mean, dim=-1)
        return unit @ unit.T

    assert apart(cosines(masked(model, plan)), cosines(shrink(model, plan))) <= 1e-10
    assert apart(cosines(model), cosines(masked(model, plan))) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BertLMHeadModel", "RobertaForCausalLM", "ElectraForCausalLM"])
@torch.no_grad()
def test_those_that_generate_give_the_same_tokens(name: str) -> None:
    model = encoder(name)
    plan = chosen(model, [kind for kind in kinds_of(model) if kind != "lines"])
    batch = {key: x[:1] for key, x in given(model).items()}
    how = {"max_new_tokens": 10, "min_new_tokens": 10, "do_sample": False, "pad_token_id": 0}
    dense, expected, found = (one.generate(**batch, **how) for one in (model, masked(model, plan), shrink(model, plan)))
    assert torch.equal(expected, found) and not torch.equal(dense, expected)


READ = """
import sys, torch
sys.modules["tprune"] = None  # importing it fails
import transformers
torch.set_num_threads(1)
for folder, auto in zip(sys.argv[1::2], sys.argv[2::2]):
    model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned memory, as in the saving process
    torch.save((type(model).__name__, model(**torch.load(folder + ".in"))[0]), folder + ".out")
"""


@pytest.mark.slow
@torch.no_grad()
def test_a_fresh_process_without_tprune_reads_them(tmp_path: Path) -> None:
    names = [f"{name}{heads[1]}" for name, heads in EACH.items()]
    expected, arguments = {}, list[str]()
    for name in names:
        model = encoder(name).float()
        small: Any = shrink(model, chosen(model))
        folder = save(small, tmp_path / name)
        batch = {key: x.float() if x.is_floating_point() else x for key, x in given(model).items()}
        torch.save(batch, f"{folder}.in")
        expected[name] = type(small).__name__, small(**batch)[0]
        arguments += [str(folder), next(iter(small.config.auto_map.keys() - {"AutoConfig"}))]
    environment = {"HF_MODULES_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""}
    command = [sys.executable, "-c", READ, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, (kind, result) in expected.items():
        found = torch.load(tmp_path / f"{name}.out")
        assert found[0] == kind and torch.equal(found[1], result), name
