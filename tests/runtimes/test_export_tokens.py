"""The exported tokeniser is the tokeniser: added, special and language tokens, and random text."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from transformers import MarianTokenizer, PreTrainedTokenizerFast

from small_tokenizers import opus_tokenizer
from tprune.runtimes.export_tokens import check_tokens, probes, same_tokens, write_tokens
from tprune.support.errors import CertificateError, InputError
from tprune_runtime.added_tokens import AddedToken as Added
from tprune_runtime.added_tokens import Splitter, tangled
from tprune_runtime.marian_tokens import SentencePieceTokens
from tprune_runtime.token_settings import SETTINGS, TokenSettings
from tprune_runtime.tokens import JsonTokens, load_tokens

LINES = ["the dog sees a cat .", "a man likes the bird .", "the child finds a horse ."] * 3
ADDED = (
    "<name>",
    AddedToken("horse", single_word=True),
    AddedToken("[left]", lstrip=True),
    AddedToken("[right]", rstrip=True),
    "<name>s",
    AddedToken("[both]", lstrip=True, rstrip=True, single_word=True),
    "ab",
    "bc",
)


@pytest.fixture(scope="module")
def opus(tmp_path_factory: pytest.TempPathFactory) -> MarianTokenizer:
    tokenizer: MarianTokenizer = opus_tokenizer(tmp_path_factory.mktemp("opus"), LINES, LINES, 40)
    tokenizer.add_tokens(list(ADDED))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra>", ">>fra<<"]})
    return tokenizer


@pytest.fixture(scope="module")
def ours(opus: MarianTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("exported")
    write_tokens(opus, folder)
    return load_tokens(folder)


def pieces(tokenizer: Any) -> st.SearchStrategy[str]:
    known = [
        *tokenizer.get_added_vocab(),
        ">>deu<<",
        " ",
        "  ",
        "\t",
        "\u2581",
        ".",
        "the dog",
        "<name",
        "name>",
        "a",
        "b",
        "c",
        "[",
        ">>",
        "<<",
    ]
    return st.lists(st.one_of(st.sampled_from(known), st.text(max_size=4)), max_size=9).map("".join)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_an_opus_tokeniser_is_the_exported_one(opus: MarianTokenizer, ours: Any, data: st.DataObject) -> None:
    text = data.draw(pieces(opus))
    ids = opus(text).input_ids
    assert ours.encode([text]) == [ids]
    row = data.draw(st.lists(st.one_of(st.integers(0, len(opus) - 1), st.sampled_from(ids)), max_size=12))
    assert ours.decode([row]) == [opus.decode(row, skip_special_tokens=True)]


def test_added_tokens_are_found_in_text(opus: MarianTokenizer, ours: Any) -> None:
    """What the property above compares is not trivial."""
    name, extra = opus.convert_tokens_to_ids("<name>"), opus.convert_tokens_to_ids("<extra>")
    (row,) = ours.encode(["the<name>,<extra> dog"])
    assert name in row and extra in row and ours.decode([[name, extra]]) == ["<name>"]
    assert ours.encode(["a seahorse"]) != ours.encode(["a sea horse"])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text("ab<> ", min_size=1, max_size=4), min_size=1, max_size=4, unique=True),
    st.text("ab<> ", max_size=20),
)
def test_text_is_split_as_transformers_splits_it(contents: list[str], text: str) -> None:
    from transformers.tokenization_python import Trie

    trie = Trie()
    trie.update(contents)
    if tangled(contents) is None:
        parts = [part for part, _ in Splitter(Added(content, i) for i, content in enumerate(contents)).split(text)]
        assert parts == [part for part in trie.split(text) if part]


def test_spaces_beside_a_token() -> None:
    """SentencePiece models drop most of them anyway, so that what is compared above may not show them."""
    token = Added("[t]", 0)
    for changes, expected in (
        ({}, ["a  ", "[t]", "  b"]),
        ({"lstrip": True}, ["a", "[t]", "  b"]),
        ({"rstrip": True}, ["a  ", "[t]", "b"]),
        ({"single_word": True}, ["a  ", "[t]", "  b"]),
    ):
        assert [part for part, _ in Splitter([replace(token, **changes)]).split("a  [t]  b")] == expected
    assert Splitter([replace(token, single_word=True)]).split("a[t] b") == [("a[t]", False), (" b", False)]


def test_tangled_tokens_are_refused(opus: MarianTokenizer, tmp_path: Path) -> None:
    from transformers.tokenization_python import Trie

    trie = Trie()
    trie.update(["abd", "b"])
    assert trie.split("abXd") == ["abXd"]  # why: "b" is there
    twin = opus_tokenizer(tmp_path, LINES, LINES, 40)
    twin.add_tokens(["<name>", "name"])
    with pytest.raises(InputError, match="'name' lies inside '<name>'"):
        check_tokens(twin)


@pytest.mark.parametrize("flag", ["clean_up_tokenization_spaces", "split_special_tokens"])
def test_flags_of_transformers_are_kept(flag: str, tmp_path: Path) -> None:
    (tmp_path / "spm").mkdir()
    opus = opus_tokenizer(tmp_path / "spm", LINES, LINES, 40)
    word = PreTrainedTokenizerFast(tokenizer_object=word_piece(), unk_token="[UNK]", eos_token="</s>")
    for tokenizer in (opus, word):
        assert not getattr(tokenizer, flag)
        setattr(tokenizer, flag, True)
        check_tokens(tokenizer)
        folder = tmp_path / type(tokenizer).__name__
        folder.mkdir()
        write_tokens(tokenizer, folder)
        (folder / SETTINGS).unlink()  # they are what makes the difference
        with pytest.raises(CertificateError, match="the exported tokeniser is not the"):
            same_tokens(tokenizer, load_tokens(folder))


def word_piece() -> Tokenizer:
    words = ["[UNK]", "</s>", "the", "dog", "sees", "a", ".", "'", "##s", "do", "n't"]
    backend = Tokenizer(WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = Whitespace()
    return backend


def test_a_json_tokeniser_with_added_tokens_is_the_exported_one(tmp_path: Path) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_piece(), unk_token="[UNK]", eos_token="</s>")
    tokenizer.add_tokens(list(ADDED))
    check_tokens(tokenizer, ["the horse sees <name>s ."])
    write_tokens(tokenizer, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["tokenizer.json"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw | {"added": [one for one in raw["added"] if one["content"] != "<name>"]},
        lambda raw: raw | {"added": [one | {"lstrip": False} for one in raw["added"]]},
        lambda raw: raw | {"added": [one | {"single_word": False} for one in raw["added"]]},
        lambda raw: raw | {"special": raw["special"][:-1]},
        lambda raw: raw | {"clean_up": True},
        lambda raw: raw | {"split_special": True},
    ],
)
def test_every_setting_that_is_lost_is_noticed(
    opus: MarianTokenizer, spoil: Callable[[Any], Any], tmp_path: Path
) -> None:
    write_tokens(opus, tmp_path)
    same_tokens(opus, load_tokens(tmp_path))
    (tmp_path / SETTINGS).write_text(json.dumps(spoil(json.loads((tmp_path / SETTINGS).read_text()))))
    with pytest.raises(CertificateError, match="the exported tokeniser is not the MarianTokenizer: of "):
        same_tokens(opus, load_tokens(tmp_path))


def test_probes_hold_every_token_in_many_places(opus: MarianTokenizer) -> None:
    found = probes(opus)
    for token in (*opus.get_added_vocab(), *opus.all_special_tokens, ">>deu<<"):
        holding = [text for text in found if token in text]
        assert len(holding) > 10 and token in found and f"{token}{token}" in found
        assert any(text.startswith(f"{token} ") for text in holding) and any(
            text.endswith(f" {token}") for text in holding
        )
    assert len(set(found)) > 150 and found == probes(opus)


def test_a_tokeniser_that_draws_is_refused(tmp_path: Path) -> None:
    opus_tokenizer(tmp_path, LINES, LINES, 40)
    files = [str(tmp_path / name) for name in ("source.spm", "target.spm", "vocab.json")]
    drawing = MarianTokenizer(*files, sp_model_kwargs={"enable_sampling": True, "alpha": 0.1, "nbest_size": -1})
    with pytest.raises(InputError, match="splits text at random"):
        check_tokens(drawing)
    check_tokens(MarianTokenizer(*files))


def test_settings_round_trip_and_damage(tmp_path: Path) -> None:
    said = TokenSettings(True, False, "</e>", "<u>", ("</e>",), (Added("é\u2028", 3, True),))
    said.write(tmp_path)
    assert TokenSettings.read(tmp_path) == said and TokenSettings.read(tmp_path / "none") == TokenSettings()
    assert TokenSettings.read(tmp_path) != replace(said, clean_up=False)
    for content in (
        "{",
        "[]",
        "{}",
        '{"format": 2}',
        '{"format": 1, "added": [{"x": 1}], "special": []}',
        '{"format": 1, "added": null, "special": [], "clean_up": 1}',
    ):
        (tmp_path / SETTINGS).write_text(content)
        with pytest.raises(InputError, match=rf"{SETTINGS}: .*export the model again"):
            TokenSettings.read(tmp_path)


def test_an_export_without_settings_splits_at_the_special_tokens(tmp_path: Path) -> None:
    opus = opus_tokenizer(tmp_path, LINES, LINES, 40)
    text = "the dog</s> sees"
    assert SentencePieceTokens(tmp_path).encode([text]) == [opus(text).input_ids]


PANICS = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}


def test_a_panic_of_the_library_names_the_file(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "tokenizer.json"
    word_piece().save(str(path))
    assert JsonTokens(path).encode(["the dog"]) == [[2, 3]]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"normalizer": PANICS}))
    with pytest.raises(InputError, match=rf"{path}: not a complete tokenizer file \(.*charsmap"):
        JsonTokens(path)
    assert capfd.readouterr().err == ""  # and nothing of what Rust writes
    path.write_bytes(b"\xff{")
    with pytest.raises(InputError, match=rf"{path}: not a complete tokenizer file"):
        JsonTokens(path)


def test_interrupting_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word_piece().save(str(tmp_path / "tokenizer.json"))

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tprune_runtime.tokens.Tokenizer", type("T", (), {"from_str": staticmethod(interrupted)}))
    with pytest.raises(KeyboardInterrupt):
        JsonTokens(tmp_path / "tokenizer.json")
