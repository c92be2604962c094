"""Translations in fewer tokens: the same text, as few pieces as can be, and models that write them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_pairs import PAIRS
from small_tokenizers import opus_tokenizer
from tprune.budget.evidence import select_plan
from tprune.data.parallel import Parallel
from tprune.data.synthetic.grammar import corpus
from tprune.recipe.reader import check_recipe
from tprune.recipe.schema import Prune
from tprune.run.steps import cut_step, plan_step
from tprune.run.translation.steps import resegment_step
from tprune.runtimes.export import export
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import EncodedPairs, MarianSize, max_length, new_model, train_tokenizer
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData
from tprune.vocabulary.output_vocabulary import Resegmentation, find_resegmentation, segment
from tprune.vocabulary.tokenizer_subset import vocabulary_of
from tprune.vocabulary.trim import write_only_

TEXTS = corpus(seed=0, train=300, valid=20, test=20).train.target


def model_for(tokenizer: Any) -> Any:
    return new_model(MarianSize(16, (1, 1), 2, 32, len(tokenizer), 0.0, 48), len(tokenizer)).eval()


@pytest.fixture(scope="module")
def byte_pairs() -> tuple[Any, Any]:
    tokenizer = train_tokenizer(TEXTS, vocabulary=150, max_length=48)
    return model_for(tokenizer), tokenizer


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    tokenizer = opus_tokenizer(tmp_path_factory.mktemp("opus"), TEXTS, TEXTS, 90)
    return model_for(tokenizer), tokenizer


def spelled_rows(tokenizer: Any, resegmentation: Resegmentation, texts: tuple[str, ...]) -> list[list[int]]:
    return [resegmentation(row) for row in tokenizer(text_target=list(texts)).input_ids]


@pytest.mark.parametrize("kind", ["byte_pairs", "opus"])
@pytest.mark.parametrize("share", [0.9, 0.75, 0.6])
def test_the_text_stays_and_only_kept_tokens_are_used(kind: str, share: float, request: pytest.FixtureRequest) -> None:
    model, tokenizer = request.getfixturevalue(kind)
    most = round(share * len(tokenizer))
    resegmentation = find_resegmentation(model, tokenizer, TEXTS, most)
    assert len(resegmentation.kept) <= most and not set(resegmentation.kept) & set(resegmentation.pieces)
    before, rows = tokenizer(text_target=list(TEXTS)).input_ids, spelled_rows(tokenizer, resegmentation, TEXTS)
    assert {index for row in rows for index in row} <= set(resegmentation.kept)
    assert tokenizer.batch_decode(rows, skip_special_tokens=True) == tokenizer.batch_decode(
        before, skip_special_tokens=True
    )
    assert resegmentation.longer == pytest.approx(sum(map(len, rows)) / sum(map(len, before)))


def test_it_is_shorter_than_the_most_frequent_tokens(byte_pairs: tuple[Any, Any]) -> None:
    model, tokenizer = byte_pairs
    words = vocabulary_of(tokenizer)
    counts = Counter(t for row in tokenizer(text_target=list(TEXTS)).input_ids for t in row)
    for least in (20, 60, 200):
        kept = sorted(words.base | words.needed(t for t, n in counts.items() if n >= least))
        plain = sum(map(len, words.keep(kept)(text_target=list(TEXTS)).input_ids)) / counts.total()
        assert find_resegmentation(model, tokenizer, TEXTS, len(kept)).longer <= plain


@given(st.text("abc", max_size=7), st.sets(st.text("abc", min_size=1, max_size=3), max_size=8))
@settings(max_examples=60, deadline=None)
def test_a_text_has_the_fewest_pieces(text: str, words: set[str]) -> None:
    ids = {word: number for number, word in enumerate(sorted(words))}

    def ways(rest: str) -> list[int]:
        return [0] if not rest else [1 + n for word in ids if rest.startswith(word) for n in ways(rest[len(word) :])]

    found, possible = segment(text, ids), ways(text)
    assert len(found) == min(possible, default=0)
    if possible:
        names = {number: word for word, number in ids.items()}
        assert "".join(names[piece] for piece in found) == text
    assert len(segment(text, ids, whole=False)) != 1


def test_nothing_is_longer_where_all_tokens_fit(byte_pairs: tuple[Any, Any]) -> None:
    model, tokenizer = byte_pairs
    resegmentation = find_resegmentation(model, tokenizer, TEXTS, len(tokenizer))
    assert resegmentation.longer == 1.0
    row = tokenizer(text_target=TEXTS[0]).input_ids
    assert resegmentation(row) == row


def test_tokens_that_were_not_written_before_are_not_written_after(byte_pairs: tuple[Any, Any]) -> None:
    model, tokenizer = byte_pairs
    never = find_resegmentation(model, tokenizer, TEXTS, 120).pieces.keys()
    other = model_for(tokenizer)
    write_only_(other, [index for index in range(len(tokenizer)) if index not in never])
    resegmentation = find_resegmentation(other, tokenizer, TEXTS, 130)
    assert not set(resegmentation.kept) & set(never) and never <= resegmentation.pieces.keys()
    assert {i for row in spelled_rows(tokenizer, resegmentation, TEXTS) for i in row} <= set(resegmentation.kept)


def test_what_cannot_be_is_said(byte_pairs: tuple[Any, Any]) -> None:
    model, tokenizer = byte_pairs
    with pytest.raises(InputError, match="5 tokens to write are too few; characters and special tokens alone are"):
        find_resegmentation(model, tokenizer, TEXTS, 5)
    with pytest.raises(InputError, match="no translations"):
        find_resegmentation(model, tokenizer, (), 100)
    for broken in ({}, {"kept": [1], "pieces": {"x": [1]}, "longer": 1}, {"kept": 3, "pieces": {}, "longer": 1}):
        with pytest.raises(InputError, match="no resegmentation"):
            Resegmentation.from_dict(broken)


def test_a_tokeniser_whose_pieces_do_not_join_is_refused(
    byte_pairs: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = byte_pairs
    whole = type(tokenizer).batch_decode
    monkeypatch.setattr(
        type(tokenizer),
        "batch_decode",
        lambda self, rows, **how: [f"{x} {len(r)}" for x, r in zip(whole(self, rows, **how), rows, strict=True)],
    )
    with pytest.raises(InputError, match="do not join to the same text"):
        find_resegmentation(model, tokenizer, TEXTS, 100)


def test_a_spelling_reads_back(byte_pairs: tuple[Any, Any]) -> None:
    found = find_resegmentation(*byte_pairs, TEXTS, 100)
    assert Resegmentation.from_dict(found.to_dict()) == found


def test_targets_that_would_be_too_long_stay() -> None:
    resegmentation = Resegmentation((1, 2, 3), {4: (2, 3), 5: (2, 2, 2)}, 1.5)
    found = resegmentation.of_pairs(EncodedPairs(([4], [4]), ([4, 1], [4, 5, 1])), limit=4)
    assert found.target == ([2, 3, 1], [4, 5, 1]) and found.source == ([4], [4])


@pytest.mark.slow
def test_a_cut_model_writes_the_tokens_of_its_spelling_alone(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(PAIRS.source + PAIRS.target, vocabulary=70, max_length=32)
    model = new_model(MarianSize(16, (1, 1), 2, 32, len(tokenizer), 0.0, 32), len(tokenizer)).eval()
    material, how = (
        TrainingData.of(TRANSLATION, model, tokenizer, PAIRS, PAIRS.head(8)),
        Prune(steps=0, macs=0.8, output_vocabulary=45, allocation="uniform"),
    )
    resegmentation = resegment_step(model, tokenizer, PAIRS.target, how)
    assert resegmentation is not None and resegment_step(model, tokenizer, PAIRS.target, replace_written(how)) is None
    plan = select_plan(model, plan_step(model, how), how, None)
    small, certificate = cut_step(model, plan, material, False, resegmentation)
    assert certificate.forward < 1e-5
    said = material.resegmented(resegmentation, small)
    assert {t for row in said.train.target for t in row} <= set(resegmentation.kept)
    assert said.train.source == material.train.source and max(map(len, said.train.target)) <= max_length(small)
    assert (
        replace(material, pseudo_targets=material.train).resegmented(resegmentation, small).pseudo_targets == said.train
    )
    export(small, tokenizer, tmp_path / "onnx", PAIRS.source[:4])
    translator = Translator.load(tmp_path / "onnx")
    written = translator.generate(translator.encode(PAIRS.source), beams=2)
    assert {int(t) for row in written for t in row} <= set(resegmentation.kept)


def replace_written(how: Prune) -> Prune:
    return how.model_copy(update={"output_vocabulary": None})


@pytest.mark.parametrize(
    ("recover", "says"),
    [
        ({"steps": 0, "distill": 0}, "needs recover.steps"),
        ({"steps": 2, "distill": 0.5}, "got 0.5 and 0"),
        ({"steps": 2, "distill": 0, "hidden_distillation": 1}, "got 0 and 1"),
    ],
)
def test_a_spelling_that_cannot_be_learnt_is_refused(recover: dict[str, Any], says: str) -> None:
    data = {
        "data": {},
        "train": {"steps": 0},
        "prune": {"steps": 0, "macs": 0.5, "output_vocabulary": 100},
        "recover": recover,
    }
    with pytest.raises(InputError, match=says):
        check_recipe(data)
    assert (
        check_recipe(
            {**data, "recover": {"steps": 2, "distill": 0, "sequence_distillation": 0.5}}
        ).prune.output_vocabulary
        == 100
    )


def test_an_unknown_kind_of_tokeniser_is_named() -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    pieces = models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(pieces), unk_token="[UNK]")
    with pytest.raises(InputError, match="WordPiece"):
        find_resegmentation(model_for(tokenizer), tokenizer, Parallel(("a",), ("ab",)).target, 3)
