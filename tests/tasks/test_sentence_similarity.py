"""Vectors of sentences that stay those of the dense model, and the files of sentence-transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tprune
from small_tasks import TEXTS, encoder, words
from table_models import table_model
from tprune.core.known_tasks import task_of
from tprune.core.plan import make_plan
from tprune.core.task import KeepsOutputs, Predictions
from tprune.data.pairs import ScoredPairs, SentencePairs
from tprune.data.texts import Texts
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, save
from tprune.realise.sentence_files import KEY
from tprune.support.errors import InputError, OptionError
from tprune.support.files import read_json, write_json
from tprune.tasks.metrics.spearman import spearman
from tprune.tasks.pooling import pooled, pooling_mode
from tprune.tasks.scoring import scores
from tprune.tasks.sentence_similarity import SentenceSimilarity, distance

TASK = SentenceSimilarity()
PAIRS = SentencePairs(TEXTS[:3], TEXTS[3:])
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def folder_of(where: Path, model: Any, mode: str = "cls_token", modules: Any = MODULES) -> Path:
    save(model, where, words())
    write_json(where / "modules.json", modules)
    write_json(where / "1_Pooling" / "config.json", {"word_embedding_dimension": 24, f"pooling_mode_{mode}": True})
    write_json(where / "sentence_bert_config.json", {"max_seq_length": 4, "do_lower_case": False})
    return where


def test_a_bare_encoder_says_its_task(marian_small: Any) -> None:
    assert task_of(encoder()) == TASK and isinstance(TASK, KeepsOutputs)
    assert not TASK.matches(marian_small) and not TASK.matches(table_model("resnet"))
    assert not TASK.matches(table_model("bert-classifier")) and not TASK.matches(table_model("llama"))


@pytest.mark.parametrize(
    ("mode", "expected"), [("mean", [2.0, 1.0]), ("cls", [3.0, 0.0]), ("max", [3.0, 2.0]), ("lasttoken", [1.0, 2.0])]
)
def test_padding_is_not_pooled(mode: str, expected: list[float]) -> None:
    states = torch.tensor([[[3.0, 0.0], [1.0, 2.0], [99.0, 99.0]]])
    found = pooled(states, torch.tensor([[1, 1, 0]]), mode)
    assert torch.allclose(found, torch.nn.functional.normalize(torch.tensor([expected]), dim=-1))


def test_spearman_is_that_of_the_ranks() -> None:
    """Six pairs with ties: 1 - 6 Σd² / (n³ - n) holds without ties alone, so it is taken from Pearson's formula."""
    x, y = np.array([0.1, 0.4, 0.4, 0.9, 0.7, 0.2]), np.array([1.0, 3.0, 2.0, 5.0, 5.0, 0.0])
    found = spearman(x, y, "toy")
    ranked = [[1, 3.5, 3.5, 6, 5, 2], [2, 4, 3, 5.5, 5.5, 1]]
    assert found.value(found.rows.sum(0)) == pytest.approx(np.corrcoef(ranked)[0, 1])
    assert found.value(spearman(x, np.ones(6), "toy").rows.sum(0)) == 0
    with pytest.raises(InputError, match="at least two"):
        spearman(x[:1], y[:1], "toy")


def test_the_dense_model_is_the_target() -> None:
    dense, tokenizer = encoder(), words()
    examples = TASK.encode(PAIRS, tokenizer, dense)
    batch = TASK.collate([examples[i] for i in range(6)], 0)
    assert float(TASK.loss(TASK.run(dense, batch).logits, batch).detach()) < 1e-10
    other = encoder(seed=1)
    vectors = TASK.run(other, batch).logits.detach()
    apart = 1 - (vectors * examples.targets).sum(-1)
    assert float(TASK.loss(vectors, batch)) == pytest.approx(float(apart.mean()), abs=1e-6)
    (same,) = scores(TASK, TASK.predict(dense, examples), examples)
    assert same.value == 1 and same.count == 3 and "the dense model's" in same.signature
    with pytest.raises(InputError, match="sentence-similarity cuts no residual width"):
        distance(vectors[:, :20], vectors)


def test_pairs_with_scores_are_scored_by_these() -> None:
    scored = ScoredPairs(PAIRS.first, PAIRS.second, (0.2, 0.1, 0.9))
    examples = TASK.encode(scored, words(), encoder())
    rows = np.array([[1, 0], [1, 1], [1, 0], [0, 1], [1, 0], [1, 0.1]], np.float32)  # cosines 0.71, 0, 0.995
    (score,) = scores(TASK, Predictions(rows), examples)
    assert score.value == 1 and score.signature.startswith("cosines and scores")
    assert TASK.shown(Predictions(rows), examples, 3).reference == "score 0.1"


def test_without_scores_and_without_a_dense_model_nothing_is_scored() -> None:
    examples = TASK.encode(Texts(TEXTS), words(), encoder())
    assert examples.pairs == ((0, 3), (1, 4), (2, 5))
    found = TASK.predict(encoder(seed=1), examples)
    with pytest.raises(InputError, match=r"there is no dense model; name it \(--against\)"):
        scores(TASK, found, TASK.relative_to(examples, None))
    assert scores(TASK, found, TASK.relative_to(examples, found))[0].value == 1


def test_a_folder_of_sentence_transformers_stays_whole(tmp_path: Path) -> None:
    dense = load(folder_of(tmp_path / "dense", encoder()))
    examples = TASK.encode(PAIRS, words(), dense)
    assert max(examples.lengths) == 4 and "cut to 4 tokens" in examples.notes[0]
    batch = TASK.prompt(TASK.collate([examples[0]], 0))
    first = dense(**batch).last_hidden_state[:, 0]
    assert torch.allclose(TASK.run(dense, batch).logits, torch.nn.functional.normalize(first, dim=-1))
    plan = make_plan(dense, "bert", couplings(dense, ["ffn"]))
    kept = tuple(replace(entry, kept=tuple(range(16))) for entry in plan.entries)
    small = tprune.shrink(dense, replace(plan, entries=kept))
    out = save(small, tmp_path / "small", words())
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        assert read_json(out / name) == read_json(tmp_path / "dense" / name)
    assert (out / "2_Normalize").is_dir()
    again = load(out)
    assert getattr(again.config, KEY) == getattr(dense.config, KEY)
    assert torch.equal(TASK.run(again, batch).logits, TASK.run(small, batch).logits)


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    dense = [*MODULES[:2], {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    with pytest.raises(InputError, match=r"modules.json lists '2_Dense', a module 'Dense', which is not computed here"):
        load(folder_of(tmp_path / "dense", encoder(), modules=dense))
    with pytest.raises(InputError, match="pooling by pooling_mode_weightedmean_tokens; expected one of mean, cls"):
        pooling_mode({"pooling_mode_weightedmean_tokens": True})
    with pytest.raises(InputError, match="pooling by cls and mean; expected one"):
        pooling_mode({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True})
    for content, columns, says in (
        ("sentence1,sentence2,score\na,b,high\n", (), "row 1 has 'high' in 'score'; expected a number"),
        ("sentence1,sentence2,score\na,b,nan\n", (), "row 1: the score is nan; expected a finite number"),
        ("sentence1,sentence2,score\na,,1\n", (), "row 1"),
        ("a,b\nx,y\n", (), "no columns sentence1 and sentence2, and none called text or sentence; there"),
        ("a,b\nx,y\n", ("a", "c"), "no column 'c'"),
    ):
        (tmp_path / "a.csv").write_text(content)
        with pytest.raises(InputError, match=says):
            TASK.read(tmp_path / "a.csv", columns)
    with pytest.raises(OptionError, match="expected at most three"):
        TASK.read(tmp_path / "a.csv", "abcd")
    (tmp_path / "a.csv").write_text("text1,text2\nx,y\n")
    (tmp_path / "b.txt").write_text("x\n")
    assert TASK.read(tmp_path / "a.csv")[0] == ("x", "y") and TASK.read(tmp_path / "b.txt")[0] == ("x",)
    with pytest.raises(InputError, match=r"a.csv holds first and second, b.txt holds texts; expected one kind"):
        TASK.read([tmp_path / "a.csv", tmp_path / "b.txt"])
