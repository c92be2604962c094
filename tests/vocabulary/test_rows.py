"""A model of fewer tokens computes the logits it computed for them before."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, GenerationConfig

from small_models import small_batch, small_model
from text_writers import WRITERS, writer
from tprune.core.plan import make_plan
from tprune.counting.size import size
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, save
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import random_kept
from tprune.vocabulary.embedding_rows import special_ids, trim_model
from tprune.vocabulary.output_vocabulary import find_resegmentation
from tprune.vocabulary.trim import write_only_

KEPT = [0, 1, 2, 5, 6, 9, 12, 13, 20, 31, 39]
EVEN: dict[str, Any] = {"decoder_vocab_size": 40}  # two embeddings over one joint vocabulary
CASES: list[tuple[str, dict[str, Any]]] = [
    ("marian", {}),
    ("marian_untied", EVEN),
    ("marian_untied", EVEN | {"tie_word_embeddings": False}),
    ("bart", {}),
    ("bart_untied", {}),
]


def model_of(name: str, changes: dict[str, Any], kind: str | None = None) -> Any:
    model = small_model(name, **changes)
    model.final_logits_bias.normal_()
    if kind is None:
        return model
    plan = make_plan(model, name.partition("_")[0], couplings(model, [kind]))
    return shrink(model, random_kept(model, plan))


def batches() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """New ids, and the same in old ids."""
    new = small_batch()
    for key in ("input_ids", "labels"):
        new[key] = torch.where(new[key] > 0, new[key] % len(KEPT), new[key])
    old = dict(new)
    for key in ("input_ids", "labels"):
        old[key] = torch.where(new[key] >= 0, torch.tensor(KEPT)[new[key].clamp_min(0)], new[key])
    return new, old


@pytest.mark.parametrize("kind", [None, "ffn", "heads", "width", "lines"])
@pytest.mark.parametrize(("name", "changes"), CASES, ids=str)
@torch.no_grad()
def test_logits_of_kept_tokens(name: str, changes: dict[str, Any], kind: str | None) -> None:
    model = model_of(name, changes, kind)
    state = copy.deepcopy(model.state_dict())
    small, (new, old) = trim_model(model, KEPT), batches()
    expected, got = model(**old).logits[..., KEPT], small(**new).logits
    assert torch.allclose(expected, got, rtol=1e-12, atol=1e-12)
    assert type(small) is type(model) and not small.training
    assert size(small).parameters < size(model).parameters
    assert model.config.vocab_size == 40 and all(torch.equal(model.state_dict()[k], v) for k, v in state.items())
    tied = small.lm_head.weight is small.model.decoder.embed_tokens.weight
    assert tied is (model.lm_head.weight is model.model.decoder.embed_tokens.weight)


def test_the_loss_and_its_gradient() -> None:
    model = small_model("marian")
    small, (new, old) = trim_model(model, KEPT), batches()
    model.final_logits_bias[:, [i for i in range(40) if i not in KEPT]] = -torch.inf  # as if they were not there
    for m, batch in ((model, old), (small, new)):
        m(**batch).loss.backward()
    assert torch.allclose(model.model.shared.weight.grad[KEPT], small.model.shared.weight.grad, atol=1e-12)


@pytest.mark.parametrize(("name", "changes"), CASES, ids=str)
@pytest.mark.parametrize("kind", [None, "heads"])
@torch.no_grad()
def test_saved_and_loaded(name: str, changes: dict[str, Any], kind: str | None, tmp_path: Path) -> None:
    small, (new, _) = trim_model(model_of(name, changes, kind), KEPT), batches()
    save(small, tmp_path / "m")
    expected = small(**new).logits
    assert torch.equal(load(tmp_path / "m")(**new).logits, expected)
    if kind is None:
        stock = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "m", dtype=torch.float64)
        assert torch.allclose(stock(**new).logits, expected, rtol=1e-12, atol=1e-12)


def test_settings_get_the_new_ids() -> None:
    model = small_model("bart", pad_token_id=39, eos_token_id=31, bos_token_id=5, decoder_start_token_id=31)
    model.generation_config = GenerationConfig(
        pad_token_id=39,
        eos_token_id=[31, 12],
        bos_token_id=5,
        decoder_start_token_id=31,
        forced_bos_token_id=6,
        forced_eos_token_id=31,
        bad_words_ids=[[39], [7], [5, 9], [5, 8]],
        suppress_tokens=[7, 9],
        begin_suppress_tokens=[8],
        sequence_bias={(9,): -1.0, (9, 8): 2.0},
        force_words_ids=[[[9, 13], [20]]],
        num_beams=3,
        max_length=11,
    )
    assert special_ids(model) == {39, 31, 12, 5, 6, 9, 13, 20}
    kept = [5, 6, 9, 12, 13, 20, 31, 39]
    small = trim_model(model, kept)
    found = small.generation_config
    assert (found.pad_token_id, found.eos_token_id, found.bos_token_id) == (7, [6, 3], 0)
    assert (found.decoder_start_token_id, found.forced_bos_token_id, found.forced_eos_token_id) == (6, 1, 6)
    assert found.bad_words_ids == [[7], [0, 2]] and found.sequence_bias == {(2,): -1.0}
    assert (found.suppress_tokens, found.begin_suppress_tokens) == ([2], None)
    assert found.force_words_ids == [[[2, 4], [5]]] and (found.num_beams, found.max_length) == (3, 11)
    config = small.config
    assert (config.pad_token_id, config.eos_token_id, config.bos_token_id) == (7, 6, 0)
    assert config.decoder_start_token_id == 6 and config.vocab_size == 8
    assert small.model.shared.padding_idx == 7
    assert model.generation_config.eos_token_id == [31, 12] and model.config.pad_token_id == 39


def test_modes_precision_and_frozen_parameters_go_along() -> None:
    model = small_model("marian").to(torch.bfloat16).train()
    model.model.shared.weight.requires_grad_(False)
    model.generation_config.bad_words_ids = [[3]]
    small = trim_model(model, KEPT)
    assert small.training and {p.dtype for p in small.parameters()} == {torch.bfloat16}
    assert not small.model.shared.weight.requires_grad and small.model.decoder.layers[0].fc1.weight.requires_grad
    assert small.generation_config.bad_words_ids is None


def test_what_is_refused(marian_small: Any) -> None:
    for kept in ([], [0, 1, 40], [-1, 0, 1], [0, 1, 1, 2], [1, 0, 2]):
        with pytest.raises(InputError, match="expected ascending ones from 0 to 39"):
            trim_model(marian_small, kept)
    with pytest.raises(InputError, match="this MarianMTModel need token 1, which is not"):
        trim_model(marian_small, [0, 2, 3])
    with pytest.raises(InputError, match="vocabularies of 33 and 40 tokens"):
        trim_model(small_model("marian_untied"), KEPT)
    with pytest.raises(InputError, match="Linear"):
        trim_model(torch.nn.Linear(2, 2), KEPT)


@pytest.mark.parametrize("name", WRITERS)
def test_models_that_are_not_trimmed_are_named(name: str) -> None:
    model = writer(name, 40)
    kind = type(model).__name__
    says = rf"cannot trim the vocabulary of a {kind}; expected a \(pruned\) Marian or BART model, or no --trim-vocab"
    with pytest.raises(InputError, match=says):
        trim_model(model, KEPT)
    if name in ("mbart", "pegasus"):
        write_only_(model, KEPT)
        assert set(model.generation_config.suppress_tokens) == set(range(40)) - set(KEPT)
        return
    for leave_out in (lambda: write_only_(model, KEPT), lambda: find_resegmentation(model, None, ["a"], 12)):
        with pytest.raises(InputError, match=f"cannot leave out tokens that a {kind} writes; expected .* or no --out"):
            leave_out()
