"""Tokenisers with fewer tokens: the same text splits the same way."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast, RobertaTokenizer

from small_tokenizers import opus_tokenizer
from tprune.realise.checkpoint import load_tokenizer
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.vocabulary.tokenizer_subset import steps, vocabulary_of
from tprune_runtime.marian_tokens import SentencePieceTokens
from tprune_runtime.tokens import JsonTokens

TEXT = (
    "a cat sat on the mat",
    "two dogs play in the snow",
    "the old man reads a paper",
    "children run over the grass",
    "a woman in a red coat waits for the bus",
    "men at work",
    "the band plays on a stage in the park",
    "rare zebras",
)
sentences = st.lists(st.text("abcd ", min_size=1, max_size=14).filter(str.strip), min_size=2, max_size=8)


def trimmed(tokenizer: Any, corpus: Any) -> tuple[Any, list[int]]:
    words = vocabulary_of(tokenizer)
    used = {token for row in tokenizer(list(corpus)).input_ids for token in row}
    kept = sorted(words.base | words.needed(used))
    return words.keep(kept), kept


def pieces(tokenizer: Any, texts: Any) -> list[list[str]]:
    return [tokenizer.convert_ids_to_tokens(row) for row in tokenizer(list(texts)).input_ids]


@pytest.fixture(scope="module")
def joint() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXT, vocabulary=120, max_length=40)


def byte_level(corpus: Any = TEXT, **options: Any) -> Tokenizer:
    bpe = Tokenizer(models.BPE(**options))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bpe.train_from_iterator(corpus, trainer)
    bpe.add_special_tokens(["<mask>"])
    bpe.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return bpe


@given(sentences, st.data())
@settings(deadline=None, max_examples=60)
def test_a_corpus_splits_as_before_and_other_text_is_not_lost(texts: list[str], data: st.DataObject) -> None:
    tokenizer = train_tokenizer(texts, vocabulary=data.draw(st.integers(8, 60)), max_length=40)
    corpus = data.draw(st.lists(st.sampled_from(texts), min_size=1))
    small, kept = trimmed(tokenizer, corpus)
    assert pieces(small, corpus) == pieces(tokenizer, corpus)
    for old, new in zip(tokenizer(corpus).input_ids, small(corpus).input_ids, strict=True):
        assert [kept[index] for index in new] == old
    for text in texts:
        said = (t.decode(t(text).input_ids, skip_special_tokens=True) for t in (tokenizer, small))
        assert next(said) == next(said)


def test_no_kept_token_is_spare(joint: PreTrainedTokenizerFast) -> None:
    corpus, words = TEXT[:3], vocabulary_of(joint)
    _, kept = trimmed(joint, corpus)
    assert len(kept) < len(joint)
    before = pieces(joint, corpus)
    for token in set(kept) - words.base:
        assert pieces(words.keep([index for index in kept if index != token]), corpus) != before


def test_merges_stay_only_with_their_parts(joint: PreTrainedTokenizerFast) -> None:
    small, _ = trimmed(joint, TEXT[:2])
    state = json.loads(small.backend_tokenizer.to_str())["model"]
    old = json.loads(joint.backend_tokenizer.to_str())["model"]["merges"]
    assert sorted(state["vocab"].values()) == list(range(len(small)))
    assert all({a, b, a + b} <= set(state["vocab"]) for a, b in state["merges"])
    assert state["merges"] == [[a, b] for a, b in old if {a, b, a + b} <= set(state["vocab"])]


def test_merging_takes_the_earliest_rule_leftmost_first() -> None:
    ranks = {("a", "a"): 0, ("aa", "a"): 1, ("b", "a"): 2}
    assert steps("aaa", ranks) == {"aa", "aaa"}
    assert steps("baa", ranks) == {"aa"}  # never "ba"
    assert steps("b", ranks) == set()


def test_the_given_tokeniser_stays_and_settings_go_along(joint: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    before = joint.backend_tokenizer.to_str()
    small, _ = trimmed(joint, TEXT[:2])
    assert joint.backend_tokenizer.to_str() == before
    assert (small.pad_token, small.model_max_length, type(small)) == ("<pad>", 40, type(joint))
    assert small("a").input_ids[-1] == small.eos_token_id == joint.eos_token_id
    small.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.get_vocab() == small.get_vocab()
    assert again(list(TEXT)).input_ids == small(list(TEXT)).input_ids
    assert JsonTokens(tmp_path / "tokenizer.json").encode(TEXT) == small(list(TEXT)).input_ids


def test_padding_and_the_end_token_get_their_new_ids() -> None:
    backend = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "ba": 3, "</s>": 4, "<pad>": 5}, [("a", "b"), ("b", "a")]))
    backend.add_special_tokens(["</s>", "<pad>"])
    backend.post_processor = processors.Sequence(
        [processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 4)])]
    )
    old = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", pad_token="<pad>")
    old(["ab", "abab"], padding=True)  # leaves its mark in the backend
    small, kept = trimmed(old, ["ab"])
    assert kept == [0, 1, 2, 4, 5]
    assert small(["ab", "abab"], padding=True).input_ids == [[2, 3, 4], [2, 2, 3]]
    assert (small.eos_token_id, small.pad_token_id) == (3, 4)


@pytest.mark.parametrize("kind", ["plain", "roberta"])
def test_byte_level(kind: str, tmp_path: Path) -> None:
    backend = byte_level()
    old: Any = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    if kind == "roberta":  # also BART's
        state = json.loads(backend.to_str())["model"]
        old = RobertaTokenizer(vocab=state["vocab"], merges=[tuple(merge) for merge in state["merges"]])
    small, kept = trimmed(old, TEXT[:2])
    assert len(small) == len(kept) < len(old) and "<mask>" in small.get_vocab()
    assert pieces(small, TEXT[:2]) == pieces(old, TEXT[:2])
    for text in (*TEXT, "größer 漢字 <mask>"):
        assert small.decode(small(text).input_ids) == old.decode(old(text).input_ids)
    small.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is type(small) and again(list(TEXT)).input_ids == small(list(TEXT)).input_ids


def test_bytes_for_unknown_characters_stay() -> None:
    vocab = {"<unk>": 0} | {f"<0x{i:02X}>": i + 1 for i in range(256)} | {"a": 257, "b": 258, "ab": 259, "ba": 260}
    bpe = Tokenizer(models.BPE(vocab, [("a", "b"), ("b", "a")], unk_token="<unk>", byte_fallback=True))
    old = PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>")
    small, kept = trimmed(old, ["ab"])
    assert kept == [*range(259), 259]
    assert pieces(small, ["abé"]) == pieces(old, ["abé"]) == [["ab", "<0xC3>", "<0xA9>"]]
    assert vocabulary_of(old).unknown == set(range(257))


def test_words_found_whole_need_no_merges() -> None:
    vocab = {"a": 0, "b": 1, "c": 2, "bc": 3, "abc": 4, "ab": 5}
    bpe = Tokenizer(models.BPE(vocab, [("b", "c"), ("a", "b")], ignore_merges=True))
    bpe.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    old = PreTrainedTokenizerFast(tokenizer_object=bpe)
    small, _ = trimmed(old, ["abc"])
    assert pieces(small, ["abc", "bc"]) == pieces(old, ["abc", "bc"]) == [["abc"], ["bc"]]
    assert "ab" not in small.get_vocab()


REFUSED: list[tuple[Any, str]] = [
    (models.Unigram([("a", -1.0), ("b", -2.0)]), "a TokenizersBackend of type Unigram"),
    (models.WordLevel({"a": 0}, "a"), "of type WordLevel"),
    (models.BPE({"a": 0}, [], dropout=0.1), "with dropout 0.1"),
    (models.BPE({"a": 0}, [], continuing_subword_prefix="##"), "with continuing_subword_prefix '##'"),
    (models.BPE({"a": 0}, [], end_of_word_suffix="</w>"), "with end_of_word_suffix '</w>'"),
]


@pytest.mark.parametrize(("model", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_other_tokenisers_are_refused(model: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        vocabulary_of(PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model)))


def test_what_is_no_tokeniser_is_refused() -> None:
    with pytest.raises(InputError, match="cannot trim a str"):
        vocabulary_of("opus")


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return opus_tokenizer(tmp_path_factory.mktemp("opus"), TEXT, [text[::-1] for text in TEXT])


def test_opus_splits_as_before(opus: Any, tmp_path: Path) -> None:
    vocabulary, corpus = dict(opus.encoder), list(TEXT[:3])
    words = vocabulary_of(opus)
    used = {t for rows in (opus(corpus), opus(text_target=corpus)) for row in rows.input_ids for t in row}
    kept = sorted(words.base | words.needed(used))
    small = words.keep(kept)
    assert opus.encoder == vocabulary and len(small) == len(kept) < len(opus)
    assert pieces(small, corpus) == pieces(opus, corpus)
    into = (tokenizer(text_target=corpus).input_ids for tokenizer in (opus, small))
    for old, new in zip(*into, strict=True):
        assert [kept[index] for index in new] == old
    assert small.convert_ids_to_tokens(small(">>deu<< a cat").input_ids)[0] == ">>deu<<"
    assert (small.pad_token_id, small.eos_token_id) == (len(small) - 1, 0)
    other = "rare zebras"
    lost = [token not in small.get_vocab() for token in opus.tokenize(other)]
    assert [token == "<unk>" for token in pieces(small, [other])[0][:-1]] == lost and any(lost)
    small.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.get_vocab() == small.get_vocab()
    assert again(list(TEXT)).input_ids == small(list(TEXT)).input_ids == SentencePieceTokens(tmp_path).encode(TEXT)
    assert again.batch_decode(again(corpus).input_ids) == small.batch_decode(small(corpus).input_ids)
    assert again(text_target=corpus).input_ids == small(text_target=corpus).input_ids


def test_opus_with_a_vocabulary_for_each_side_is_refused(opus: Any) -> None:
    apart = copy.deepcopy(opus)
    apart.separate_vocabs = True
    with pytest.raises(InputError, match="MarianTokenizer has separate vocabularies"):
        vocabulary_of(apart)
