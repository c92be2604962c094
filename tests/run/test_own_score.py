"""A dense model that hardly translates is warned of by its own score."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from small_pairs import PAIRS, model_and_tokenizer
from tprune.data.parallel import Parallel
from tprune.run.translation import own_score as dense_score
from tprune.run.translation.own_score import hardly_translates, own_score
from tprune.tasks.metrics.translation import quality


def test_an_untrained_model_is_warned_of() -> None:
    model, tokenizer = model_and_tokenizer()
    model.train()
    found = own_score(model, tokenizer, PAIRS, most=5)
    assert found.sentences == 5 and model.training
    (line,) = hardly_translates(found)
    assert line.startswith(
        f"the dense model's own greedy translations of 5 validation sentences get BLEU {found.bleu:.1f}"
    )
    assert found.bleu_signature in line


def test_a_model_that_translates_is_not_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    _, tokenizer = model_and_tokenizer()
    pairs = Parallel(PAIRS.source[:4], PAIRS.target[:4])
    given: list[dict[str, Any]] = []

    class Knowing:
        """A model that knows the references, as many at a time as it is given sentences."""

        config, training, device = SimpleNamespace(max_position_embeddings=16), False, torch.device("cpu")

        def eval(self) -> None:
            pass

        def train(self, mode: bool) -> None:
            pass

        def generate(self, input_ids: Any, **how: Any) -> Any:
            start = sum(len(each["ids"]) for each in given)
            given.append({"ids": input_ids, **how})
            texts = list(pairs.target[start : start + len(input_ids)])
            return tokenizer(text_target=texts, padding=True, return_tensors="pt").input_ids

    monkeypatch.setattr(dense_score, "BATCH", 3)
    found = own_score(Knowing(), tokenizer, pairs)
    assert found.chrf == 100.0 and not hardly_translates(found)
    assert [len(each["ids"]) for each in given] == [3, 1]
    assert all(each["num_beams"] == 1 and each["max_length"] <= 16 for each in given)


def test_either_score_is_enough() -> None:
    wrong = quality(["zzz qqq"] * 3, ["a man reads a paper"] * 3)
    inflected = quality(["manns liest papiere"] * 3, ["ein mann liest ein papier"] * 3)
    assert len(hardly_translates(wrong)) == 1
    assert inflected.bleu < dense_score.BLEU and not hardly_translates(inflected)
