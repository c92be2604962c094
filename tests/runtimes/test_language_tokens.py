"""The exported tokenisers of M2M100 and NLLB are the tokenisers, with the language that they were saved with."""

from pathlib import Path

import pytest

from small_tokenizers import m2m_100_tokenizer, nllb_tokenizer
from tprune.runtimes.export_tokens import check_tokens, same_tokens, write_tokens
from tprune.support.errors import CertificateError, InputError
from tprune_runtime.language_tokens import LanguageTokens
from tprune_runtime.token_settings import SETTINGS
from tprune_runtime.tokens import JsonTokens, load_tokens

LINES = ["the dog sees a cat .", "a man likes the bird .", "the child finds a horse ."] * 3


@pytest.mark.parametrize("special", [False, True])
def test_an_m2m_100_tokeniser_is_the_exported_one(tmp_path: Path, special: bool) -> None:
    tokenizer = m2m_100_tokenizer(tmp_path, LINES)
    if special:  # as those of the hub, whose languages are special tokens
        tokenizer.add_tokens(["<name>"])
        tokenizer.add_special_tokens({"additional_special_tokens": ["__en__", "__de__", "<extra>"]})
    (tmp_path / "out").mkdir()
    write_tokens(tokenizer, tmp_path / "out")
    ours = load_tokens(tmp_path / "out")
    assert isinstance(ours, LanguageTokens)
    same_tokens(tokenizer, ours, LINES)
    row = ours.encode(["the dog"])[0]
    assert row[0] == tokenizer.get_lang_id("en") and row[-1] == tokenizer.eos_token_id
    tokenizer.src_lang = "fr"
    with pytest.raises(CertificateError, match="the exported tokeniser is not the M2M100Tokenizer"):
        same_tokens(tokenizer, ours, LINES)
    check_tokens(tokenizer, LINES)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    tokenizer = m2m_100_tokenizer(tmp_path, LINES)
    (tmp_path / "out").mkdir()
    write_tokens(tokenizer, tmp_path / "out")
    settings = (tmp_path / "out" / SETTINGS).read_text()
    (tmp_path / "out" / SETTINGS).write_text(settings.replace("__en__", "__xx__"))
    with pytest.raises(InputError, match=r"the SentencePiece files or vocab.json cannot be read \('__xx__'\)"):
        load_tokens(tmp_path / "out")


def test_an_nllb_tokeniser_is_the_exported_one(tmp_path: Path) -> None:
    tokenizer = nllb_tokenizer(LINES)
    write_tokens(tokenizer, tmp_path)
    ours = load_tokens(tmp_path)
    assert isinstance(ours, JsonTokens)
    same_tokens(tokenizer, ours, LINES)
    english, french = (tokenizer.convert_tokens_to_ids(name) for name in ("eng_Latn", "fra_Latn"))
    assert ours.encode(["the dog"])[0][0] == english
    tokenizer.src_lang = "fra_Latn"
    assert tokenizer("the dog").input_ids[0] == french
    with pytest.raises(CertificateError, match="the exported tokeniser is not the NllbTokenizer"):
        same_tokens(tokenizer, ours, LINES)
