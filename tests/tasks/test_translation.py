"""The translation task: tokeniser, encoding, padding, batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tprune.data.parallel import Parallel
from tprune.support.errors import InputError
from tprune.tasks.batches import TokenBatches
from tprune.tasks.translation.encoding import (
    IGNORED,
    Collate,
    EncodedPairs,
    MarianSize,
    encode,
    max_length,
    new_model,
    train_tokenizer,
)

lengths = st.lists(st.integers(1, 20), min_size=1, max_size=40).map(np.array)


def cost(found: np.ndarray, batch: list[int]) -> int:
    return int(len(batch) * found[batch].max())


@given(lengths, st.integers(20, 80))
def test_validation_gives_every_pair_once_within_the_token_limit(found: np.ndarray, tokens: int) -> None:
    sampler = TokenBatches(found, tokens)
    batches = list(sampler)
    assert sorted(itertools.chain(*batches)) == list(range(len(found)))
    assert all(0 < cost(found, batch) <= tokens for batch in batches)
    assert len(sampler) == len(batches) and list(sampler) == batches
    assert [found[i] for batch in batches for i in batch] == sorted(found)


@given(lengths, st.integers(20, 80), st.integers(0, 5))
@settings(deadline=None)
def test_training_gives_every_pair_once_an_epoch(found: np.ndarray, tokens: int, seed: int) -> None:
    sampler = TokenBatches(found, tokens, batches=60, seed=seed)
    batches = list(sampler)
    assert len(batches) == len(sampler) == 60
    assert all(0 < cost(found, batch) <= tokens for batch in batches)
    epoch: list[int] = []
    epochs = 0
    for batch in batches:
        epoch += batch
        assert len(set(epoch)) == len(epoch)  # no pair twice before all have been seen
        if len(epoch) == len(found):
            epoch, epochs = [], epochs + 1
    assert epochs >= 1


def test_a_pair_longer_than_the_limit_is_a_batch_of_its_own() -> None:
    assert list(TokenBatches(np.array([50, 3, 60]), 10)) == [[1], [0], [2]]


def test_batches_depend_on_the_seed_alone_and_later_ones_not_on_how_many_are_asked() -> None:
    found = np.random.default_rng(0).integers(1, 30, 200)
    first = list(TokenBatches(found, 100, batches=80, seed=3))
    assert list(TokenBatches(found, 100, batches=80, seed=3)) == first
    assert (
        list(TokenBatches(found, 100, batches=200, seed=3))[:80] == first
    )  # a longer run starts with the same batches
    assert list(TokenBatches(found, 100, batches=80, seed=4)) != first
    again = TokenBatches(found, 100, batches=80, seed=3)
    assert list(again) == list(again)


def test_epochs_are_shuffled_anew() -> None:
    found = np.full(30, 5)
    batches = list(TokenBatches(found, 25, batches=12))
    assert batches[:6] != batches[6:] and {tuple(sorted(b)) for b in batches[:6]} != {
        tuple(sorted(b)) for b in batches[6:]
    }


PAIRS = Parallel(("a cat sat", "the dog ran home quickly"), ("eine Katze saß", "der Hund lief schnell heim"), "toy")


def test_tokeniser_round_trip_ends_with_the_end_token_and_has_fixed_ids() -> None:
    tok = train_tokenizer([*PAIRS.source, *PAIRS.target], 80, 32)
    assert (tok.pad_token_id, tok.eos_token_id, tok.unk_token_id) == (0, 1, 2)
    for sentence in (*PAIRS.source, *PAIRS.target):
        ids = tok(sentence).input_ids
        assert ids[-1] == 1 and tok.decode(ids, skip_special_tokens=True) == sentence
    assert len(tok) <= 80 and tok.model_max_length == 32
    assert tok("a\u0308").input_ids == tok("ä").input_ids  # NFC


def test_encoded_pairs_know_their_lengths() -> None:
    tok = train_tokenizer([*PAIRS.source, *PAIRS.target], 80, 64)
    data = encode(PAIRS, tok, 64)
    assert len(data) == 2 and data[1]["labels"] == tok(PAIRS.target[1]).input_ids
    assert data.lengths.tolist() == [max(len(data[i]["input_ids"]), len(data[i]["labels"])) for i in range(2)]


@pytest.mark.parametrize(("side", "number"), [("source", 2), ("target", 2)])
def test_a_sentence_too_long_is_named(side: str, number: int) -> None:
    tok = train_tokenizer([*PAIRS.source, *PAIRS.target], 40, 64)
    long = "the dog ran home quickly " * 3
    pairs = Parallel(
        ("a cat", long if side == "source" else "x"), ("eine Katze", long if side == "target" else "y"), "toy"
    )
    with pytest.raises(InputError, match=rf"toy: {side} line {number} has \d+ tokens; the model takes at most 12"):
        encode(pairs, tok, 12)


def test_collate_pads_and_hides_label_padding() -> None:
    data = EncodedPairs(([5, 1], [6, 7, 1]), ([8, 9, 9, 1], [1]))
    batch = Collate(0)([data[0], data[1]])
    assert batch["input_ids"].tolist() == [[5, 1, 0], [6, 7, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [[8, 9, 9, 1], [1, IGNORED, IGNORED, IGNORED]]
    assert "labels" not in Collate(0)([{"input_ids": [1]}])


def test_a_new_model_has_the_asked_shape_and_tied_embeddings() -> None:
    model = new_model(MarianSize(16, (2, 1), 4, 24, 50, 0.1, 20), 50)
    assert len(model.model.encoder.layers) == 2 and len(model.model.decoder.layers) == 1
    assert model.model.encoder.layers[0].fc1.weight.shape == (24, 16)
    assert model.lm_head.weight is model.model.shared.weight and max_length(model) == 20
    torch.manual_seed(0)
    loss = model(input_ids=torch.tensor([[3, 1]]), labels=torch.tensor([[4, 1]])).loss
    assert loss.isfinite() and loss < 8
    with pytest.raises(InputError, match="d_model 16 is not a multiple of heads 3"):
        new_model(MarianSize(16, heads=3), 50)


def test_a_long_sentence_of_a_sample_is_named_by_its_line_in_the_file() -> None:
    texts = tuple("a" if i != 70 else "a b a b a b" for i in range(100))
    pairs = Parallel(texts, ("a",) * 100, files=("x.en", "x.de"))
    seed = next(seed for seed in range(99) if 71 in pairs.sample(20, seed).lines)
    tokenizer = train_tokenizer(["a b"], vocabulary=10, max_length=16)
    with pytest.raises(InputError, match=r"x\.en: line 71 has \d+ tokens"):
        encode(pairs.sample(20, seed), tokenizer, 4)
