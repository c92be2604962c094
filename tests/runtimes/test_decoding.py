"""Greedy and beam search with constraints write what `generate` writes."""

from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import SENTENCES
from transformers import MarianMTModel

from tprune.families.graphs.encoder_decoder import DecoderStep, Encoder
from tprune.runtimes.generation_settings import generation_of
from tprune_runtime.decoding import beam, constrain, greedy
from tprune_runtime.generation import Generation


class TorchSteps:
    """The graphs run by torch: the searches are tested without an export."""

    def __init__(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
        self.step, self.mask, self.position = DecoderStep(model), mask, 0
        self.cross = Encoder(model)(ids, mask)
        heads, size = model.config.decoder_attention_heads, model.config.d_model // model.config.decoder_attention_heads
        self.past = [torch.zeros(len(ids), heads, 0, size)] * 2 * len(model.model.decoder.layers)

    @torch.no_grad()
    def logits(self, tokens: Any) -> Any:
        position = torch.tensor([self.position])
        logits, *self.past = self.step(torch.from_numpy(tokens)[:, None], position, self.mask, self.cross, self.past)
        self.position += 1
        return logits.numpy()

    def take(self, rows: Any) -> None:
        self.mask, self.cross = self.mask[rows], [x[rows] for x in self.cross]
        self.reorder(rows)

    def reorder(self, rows: Any) -> None:
        self.past = [x[rows] for x in self.past]


def as_generated(rows: torch.Tensor, eos: tuple[int, ...]) -> list[list[int]]:
    out = []
    for row in rows[:, 1:].tolist():
        ends = [i for i, token in enumerate(row) if token in eos]
        out.append(row[: ends[0] + 1] if ends else row)
    return out


SETTINGS: list[dict[str, Any]] = [
    {},
    {"length_penalty": 0.3},
    {"length_penalty": 2.0},
    {"length_penalty": -0.5},
    {"early_stopping": True},
    {"early_stopping": "never"},
    {"early_stopping": "never", "length_penalty": 0.0},
    {"forced_eos_token_id": 1},
    {"forced_bos_token_id": 5},
    {"min_length": 12},
    {"bad_words_ids": [[0], [7], [5, 9], [4, 5, 6]]},
    {"eos_token_id": [1, 9, 11]},
    {"renormalize_logits": True, "bad_words_ids": [[0], [8]]},
    {"max_length": 5},
    {"max_length": 2},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "forced_eos_token_id": 1},
    {"no_repeat_ngram_size": 30},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.6},
    {"repetition_penalty": 4.0},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "min_length": 9, "length_penalty": 0.4},
    {"repetition_penalty": 1.7, "renormalize_logits": True, "bad_words_ids": [[0], [8]]},
    {"no_repeat_ngram_size": 2, "renormalize_logits": True},
    {"repetition_penalty": 1.3, "early_stopping": True},
]


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@torch.no_grad()
def test_search_is_what_generate_does(
    marian: MarianMTModel, tokenizer: Any, settings: dict[str, Any], beams: int
) -> None:
    for key, value in ({"num_beams": beams} | settings).items():
        setattr(marian.generation_config, key, value)
    g = generation_of(marian)
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    rows = marian.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    steps = TorchSteps(marian, batch.input_ids, batch.attention_mask)
    got = greedy(steps, len(SENTENCES), g) if beams == 1 else beam(steps, len(SENTENCES), beams, g)
    assert got == as_generated(rows, g.eos_token_id)


def test_the_tiny_model_says_something(marian: MarianMTModel, tokenizer: Any) -> None:
    """Else the comparisons above would compare nothing: lengths differ, some end by themselves, tokens vary."""
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    out = greedy(TorchSteps(marian, batch.input_ids, batch.attention_mask), len(SENTENCES), generation_of(marian))
    assert len({len(row) for row in out}) > 2
    assert len({tuple(row) for row in out}) > 5


@pytest.mark.parametrize("settings", [{"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.5}], ids=str)
def test_the_tiny_model_repeats_itself_where_it_may(
    marian: MarianMTModel, tokenizer: Any, settings: dict[str, Any]
) -> None:
    """Else the comparisons of n-grams and penalties above would compare nothing."""
    batch, found = tokenizer(list(SENTENCES), padding=True, return_tensors="pt"), []
    for change in ({}, settings):
        for key, value in change.items():
            setattr(marian.generation_config, key, value)
        g = generation_of(marian)
        found.append(greedy(TorchSteps(marian, batch.input_ids, batch.attention_mask), len(SENTENCES), g))
    assert sum(a != b for a, b in zip(*found, strict=True)) >= 3


def test_repeats_and_penalties_by_hand() -> None:
    prefix = np.array([[0, 2, 3, 2], [0, 4, 4, 4]])
    banned = constrain(np.zeros((2, 6), np.float32), prefix, Generation(0, (1,), 0, 9, no_repeat_ngram_size=2))
    assert [np.flatnonzero(np.isinf(row)).tolist() for row in banned] == [[3], [4]]
    once = constrain(np.zeros((2, 6), np.float32), prefix, Generation(0, (1,), 0, 9, no_repeat_ngram_size=1))
    assert [np.flatnonzero(np.isinf(row)).tolist() for row in once] == [[0, 2, 3], [0, 4]]
    scores = np.array([[-1, 1, 2, -2, 5, -5]] * 2, np.float32)
    penalised = constrain(scores, prefix, Generation(0, (1,), 0, 9, repetition_penalty=2.0))
    assert penalised.tolist() == [[-2, 1, 1, -4, 5, -5], [-2, 1, 2, -2, 2.5, -5]]


def test_constraints_in_order() -> None:
    g = Generation(0, (1,), 0, 4, bad_words_ids=((3,), (2, 4)), min_length=2, forced_eos_token_id=(1,))
    first = constrain(np.zeros((2, 6), np.float32), np.array([[2], [0]]), g)
    assert np.isinf(first).tolist() == [
        [False, True, False, True, True, False],
        [False, True, False, True, False, False],
    ]
    last = constrain(np.ones((1, 6), np.float32), np.array([[0, 2, 5]]), g)
    assert last[0, 1] == 0
    assert np.isinf(np.delete(last[0], 1)).all()
