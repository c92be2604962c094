"""Which tokenisers mark languages, and by which token."""

from pathlib import Path

from small_tokenizers import m2m_100_tokenizer, nllb_tokenizer
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.tasks.translation.languages import marks_languages, written_language, written_language_token

LINES = ["the dog sees a cat .", "a man likes the bird .", "the child finds a horse ."] * 3


def test_the_token_of_the_language_that_is_written(tmp_path: Path) -> None:
    m2m_100, nllb, plain = m2m_100_tokenizer(tmp_path, LINES), nllb_tokenizer(LINES), train_tokenizer(LINES, 60, 60)
    assert written_language_token(m2m_100) == m2m_100.get_lang_id("de")
    for old in (False, True):  # the language before the text, or behind its end token
        nllb.legacy_behaviour = old
        assert written_language_token(nllb) == nllb.convert_tokens_to_ids("deu_Latn")
    assert [marks_languages(one) for one in (m2m_100, nllb, plain)] == [True, True, False]
    nllb.tgt_lang = None
    assert [(written_language(one), written_language_token(one)) for one in (nllb, plain)] == [(None, None)] * 2
