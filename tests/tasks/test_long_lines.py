"""Sentences that are too long for a model: what becomes of them, and that it is said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from small_models import small_model
from tprune.data.parallel import Corpus, Parallel, place, read_corpus, read_pair
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import encode, max_length, train_tokenizer
from tprune.tasks.translation.long_lines import LongLines, crop, lengths, too_long

LIMIT = 9
LONG = "one two three four five six seven eight nine ten"


def words(texts: Any) -> list[int]:
    return [len(text.split()) for text in texts]


def pairs_with(long: int, total: int = 1000, name: str = "set") -> Parallel:
    """So many pairs; of the first `long` ones the source is too long."""
    return Parallel(
        tuple(LONG if i < long else f"a cat {i}" for i in range(total)), tuple(f"x {i}" for i in range(total)), name
    )


def test_few_long_pairs_are_left_out_and_counted() -> None:
    kept, said = LongLines().fit(pairs_with(10), words, words, LIMIT)
    assert len(kept) == 990 and kept.source[0] == "a cat 10" and kept.target[0] == "x 10" and kept.line(0) == 11
    assert said == [
        "set: 10 of 1,000 pairs are left out, for the model takes 9 tokens and set: source line 1 has 10 tokens"
    ]
    same = pairs_with(0)
    assert LongLines().fit(same, words, words, LIMIT) == (same, [])


def test_more_than_the_share_stops_and_names_count_example_and_what_helps() -> None:
    with pytest.raises(InputError) as caught:
        LongLines().fit(pairs_with(11), words, words, LIMIT)
    said = str(caught.value)
    assert "set: 11 of 1,000 sentences (1.1%) have more tokens than the 9 that the model takes" in said
    assert "set: source line 1 has 10 tokens" in said and "--long-lines skip" in said
    asked = re.search(r"--set data\.long_share=([\d.]+)$", said)
    assert asked is not None and asked[1] == "0.02"
    assert len(LongLines(share=float(asked[1])).fit(pairs_with(11), words, words, LIMIT)[0]) == 989
    with pytest.raises(InputError, match=r"11 of 1,000 .*--long-share 0\.02$"):
        LongLines("crop", option="--long-share ").fit(pairs_with(11), words, words, LIMIT)
    with pytest.raises(InputError, match="3 of 3 sentences"):
        LongLines(share=1.0).fit(pairs_with(3, 3), words, words, LIMIT)


def test_cropped_pairs_keep_their_beginnings() -> None:
    kept, said = LongLines("crop").fit(pairs_with(10), words, words, LIMIT)
    assert len(kept) == 1000 and kept.source[0] == "one two three four five six seven eight nine"
    assert kept.source[10:] == pairs_with(10).source[10:] and kept.target == pairs_with(10).target
    assert said == [
        "set: 10 of 1,000 sentences are cropped to the 9 tokens that the model takes; set: source line 1 has 10 tokens"
    ]


def test_any_long_line_fails_where_that_is_asked() -> None:
    with pytest.raises(
        InputError, match=r"set: source line 1 has 10 tokens; the model takes at most 9; too long, too, are lines 2, 3"
    ):
        LongLines("fail").fit(pairs_with(3), words, words, LIMIT)
    assert len(LongLines("fail").fit(pairs_with(0), words, words, LIMIT)[0]) == 1000


def test_a_test_sentence_is_never_left_out_in_silence_and_long_references_stay() -> None:
    kept, said = LongLines().fit(pairs_with(10, name="news"), words, None, LIMIT)
    assert (
        len(kept) == 990
        and "news: 10 of 1,000 test sentences are NOT SCORED" in said[0]
        and "--long-lines crop" in said[0]
    )
    turned = Parallel(pairs_with(10).target, pairs_with(10).source)
    assert LongLines().fit(turned, words, None, LIMIT) == (turned, [])
    assert len(LongLines().fit(turned, words, words, LIMIT)[0]) == 990


def test_file_and_line_are_named_after_drawing_and_joining(tmp_path: Path) -> None:
    for name, long in (("a", 0), ("b", 1)):
        text = pairs_with(0)
        source = (*text.source[:700], *([LONG] * long), *text.source[700 + long :])
        (tmp_path / f"{name}.s").write_text("\n".join(source) + "\n")
        (tmp_path / f"{name}.t").write_text("\n".join(text.target) + "\n")
    files = {split: [(Path(f"{n}.s"), Path(f"{n}.t")) for n in "ab"] for split in ("train", "valid", "test")}
    joined = read_corpus(files, tmp_path).train
    _, said = LongLines().fit(joined, words, words, LIMIT)
    assert said[0].endswith(f"{tmp_path}/b.s: line 701 has 10 tokens")
    one = read_pair(tmp_path / "b.s", tmp_path / "b.t")
    drawn = one.picked([3, 700, 900])
    assert place(drawn, 0, 1) == f"{tmp_path}/b.s: line 701" and place(drawn, 1, 2) == f"{tmp_path}/b.t: line 901"


@given(st.text(alphabet="ab é漢字 \u0301ﷺ", min_size=1, max_size=60).filter(str.strip), st.integers(2, 30))
def test_what_is_cropped_is_the_longest_beginning_that_fits(text: str, limit: int) -> None:
    def characters(texts: Any) -> list[int]:
        return [len(each) + 1 for each in texts]

    if limit <= 1 + len(text) - len(text.lstrip()):
        return  # nothing but spaces would be left
    found = crop(text, characters, limit)
    assert text.startswith(found) and found == found.rstrip() and characters([found])[0] <= limit
    if len(text) + 1 <= limit:
        assert found == text.rstrip()
    elif " " not in text:
        assert len(found) + 1 == limit


TEXTS = [f"the {a} sees a {b} ." for a in ("dog", "cat", "bird") for b in ("man", "child", "horse")] * 12
TOKENIZER: Any = train_tokenizer(TEXTS, 60, 64)
MODEL: Any = small_model("marian")


def test_a_corpus_fits_the_model_whatever_is_in_it() -> None:
    source, target = lengths(TOKENIZER)
    limit = max_length(MODEL)
    book = " ".join(TEXTS[:30])
    assert source([book])[0] > limit and target([book])[0] > limit
    train = Parallel((book, *TEXTS, "x"), ("x", *TEXTS, book), "train")
    tests = {"news": Parallel((*TEXTS, book), (*TEXTS, "x"), "news")}
    corpus, said = LongLines(share=0.02).fit_corpus(Corpus(train, train, tests), MODEL, TOKENIZER)
    assert (
        len(corpus.train) == len(TEXTS) == len(corpus.tests["news"]) and len(said) == 2
    )  # one line for training and validation, which are one
    assert len(encode(corpus.train, TOKENIZER, limit)) == len(TEXTS)
    cropped, _ = LongLines("crop", share=0.02).fit_corpus(Corpus(train, train, tests), MODEL, TOKENIZER)
    assert len(cropped.train) == len(train) and max(encode(cropped.train, TOKENIZER, limit).lengths) <= limit
    assert book.startswith(cropped.train.target[-1]) and len(cropped.train.target[-1]) > 20
    with pytest.raises(InputError, match="the model takes at most"):
        encode(train, TOKENIZER, limit)


@settings(max_examples=40)
@given(st.text(min_size=1, max_size=40), st.integers(8, 64))
def test_texts_that_are_not_counted_are_short(text: str, limit: int) -> None:
    tokens = lengths(TOKENIZER)[0]([text])[0]
    assert too_long([text], lengths(TOKENIZER)[0], limit) == ({0: tokens} if tokens > limit else {})
