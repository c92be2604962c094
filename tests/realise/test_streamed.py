"""Checkpoints cut file by file: the same tensors as those of the loaded model, in as many files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

import tprune
from tprune.core.plan import Plan
from tprune.costs.size import norm_scores
from tprune.realise.on_paper import on_paper
from tprune.realise.shards import INDEX, Shards
from tprune.realise.streamed import cut_checkpoint
from tprune.scores.streamed import streamed_norms
from tprune.support.errors import InputError
from tprune.testing import randomise_

LLAMA = LlamaConfig(
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    vocab_size=50,
)
BERT = BertConfig(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, vocab_size=40, num_labels=3
)


def written(folder: Path, kind: str) -> tuple[Any, Path]:
    torch.manual_seed(1)
    tied = LlamaConfig(**{**LLAMA.to_dict(), "tie_word_embeddings": True})
    made: dict[str, Any] = {
        "untied": lambda: LlamaForCausalLM(LLAMA),
        "tied": lambda: LlamaForCausalLM(tied).to(torch.bfloat16),
        "bert": lambda: BertForSequenceClassification(BERT),
    }
    model = made[kind]()
    randomise_(model)
    model.save_pretrained(folder, max_shard_size="100MB" if kind == "bert" else "8KB")
    (folder / "tokenizer.json").write_text("{}")
    return model.eval(), folder


def half(model: Any, folder: Path, kinds: list[str]) -> Plan:
    plan = tprune.make_plan(model, "any", tprune.couplings(model, kinds))
    words = {coupling.name: coupling.kind for coupling in plan.couplings}
    return plan.with_kept(tprune.Uniform()(streamed_norms(folder, plan), words, 0.5), {}, {})


@pytest.mark.parametrize("kind", ["untied", "tied", "bert"])
def test_it_is_the_cut_of_the_loaded_model(kind: str, tmp_path: Path) -> None:
    model, folder = written(tmp_path / "dense", kind)
    plan = half(model, folder, ["ffn", "heads", "width"] if kind != "bert" else ["ffn", "heads"])
    cut_checkpoint(folder, tmp_path / "small", plan)
    found, expected = tprune.load(tmp_path / "small"), tprune.shrink(model, plan)
    assert type(found) is type(expected)
    assert found.dtype == model.dtype
    mine, theirs = found.state_dict(), expected.state_dict()
    assert list(mine) == list(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert found.config.pruned == expected.config.pruned
    assert Plan.load(tmp_path / "small") == plan
    assert (tmp_path / "small" / "tokenizer.json").exists()
    assert set(Shards.of(tmp_path / "small").names) == set(Shards.of(folder).names)


def test_norms_are_those_of_the_loaded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tprune.scores.streamed.ROWS", 7)
    model, folder = written(tmp_path, "tied")
    plan = tprune.make_plan(model, "llama", tprune.couplings(model, ["ffn", "heads", "width"]))
    mine, theirs = streamed_norms(folder, plan), norm_scores(model, plan)
    assert all(torch.allclose(mine[name], theirs[name], rtol=1e-5) for name in theirs)


def test_on_paper_no_weight_has_values(tmp_path: Path) -> None:
    _, folder = written(tmp_path, "untied")
    model = on_paper(folder, Shards.of(folder))
    assert {parameter.is_meta for parameter in model.parameters() if parameter.ndim > 1} == {True}


def test_a_cut_checkpoint_may_be_cut_again(tmp_path: Path) -> None:
    model, folder = written(tmp_path / "dense", "untied")
    cut_checkpoint(folder, tmp_path / "small", half(model, folder, ["ffn", "width"]))
    small = tprune.load(tmp_path / "small")
    plan = half(small, tmp_path / "small", ["ffn", "heads", "width"])
    cut_checkpoint(tmp_path / "small", tmp_path / "smaller", plan)
    mine, theirs = tprune.load(tmp_path / "smaller").state_dict(), tprune.shrink(small, plan).state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def _changed(folder: Path, change: Any) -> None:
    file = sorted(folder.glob("*.safetensors"))[0]
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, {"format": "pt"})


def test_what_does_not_fit_the_class_is_refused(tmp_path: Path) -> None:
    _, folder = written(tmp_path / "more", "bert")
    _changed(folder, lambda tensors: tensors.update({"adapter.weight": torch.zeros(2, 2)}))
    with pytest.raises(InputError, match=r"adapter\.weight is no tensor of BertForSequenceClassification"):
        on_paper(folder, Shards.of(folder))
    _, folder = written(tmp_path / "less", "bert")
    _changed(folder, lambda tensors: tensors.pop("classifier.weight"))
    with pytest.raises(InputError, match=r"no file has classifier\.weight"):
        on_paper(folder, Shards.of(folder))
    _, folder = written(tmp_path / "other", "bert")
    _changed(folder, lambda tensors: tensors.update({"classifier.weight": torch.zeros(3, 25)}))
    with pytest.raises(InputError, match=r"classifier\.weight has shape \(3, 25\)"):
        on_paper(folder, Shards.of(folder))


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    model, folder = written(tmp_path / "dense", "untied")
    plan = half(model, folder, ["ffn"])
    cut_checkpoint(folder, tmp_path / "small", plan)
    before = {path.name: path.read_bytes() for path in (tmp_path / "small").iterdir()}
    sorted(folder.glob("*.safetensors"))[-1].unlink()
    with pytest.raises(InputError, match="no such file"):
        cut_checkpoint(folder, tmp_path / "small", plan)
    assert {path.name: path.read_bytes() for path in (tmp_path / "small").iterdir()} == before
    assert (folder / INDEX).exists()
