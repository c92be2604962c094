"""BLEU's tokeniser fits the language of the references: a text against itself has 100, or a warning says why not."""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import pytest
import sacrebleu

from tprune.recipe.reader import check_recipe
from tprune.support.errors import InputError, TpruneWarning
from tprune.tasks.metrics.bleu_tokenizer import NAMES, doubts, fitting, metric
from tprune.tasks.metrics.translation import bleu_interval, paired_bootstrap, quality

TEXTS = {
    "zh": "我喜欢在公园里散步。",
    "ja": "私は公園を散歩するのが好きです。",
    "ko": "나는 공원에서 산책하는 것을 좋아합니다.",
    "th": "ฉันชอบเดินเล่นในสวนสาธารณะ",
    "lo": "ຂ້ອຍມັກຍ່າງຫຼິ້ນໃນສວນສາທາລະນະ",
    "km": "ខ្ញុំចូលចិត្តដើរលេងក្នុងសួនច្បារ",
    "my": "ပန်းခြံထဲမှာလမ်းလျှောက်ရတာကြိုက်တယ်",
    "bo": "ང་སྤྱི་གླིང་ནང་འཆམ་འཆམ་བྱེད་རྒྱུར་དགའ།",
    "de": "Ich gehe gern im Park spazieren.",
    "ru": "Я люблю гулять в парке.",
    "ar": "أحب المشي في الحديقة العامة.",
    "hi": "मुझे पार्क में टहलना पसंद है।",
}
FITS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab", **dict.fromkeys(("th", "lo", "km", "my", "bo"), "char")}


@pytest.fixture(params=[True, False], ids=["with mecab", "without"])
def mecab(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the packages that split Japanese and Korean are there."""
    found = importlib.util.find_spec

    def spec(name: str, *rest: Any) -> Any:
        return (
            (object() if request.param else None)
            if name.lower().startswith(("mecab", "ipadic"))
            else found(name, *rest)
        )

    monkeypatch.setattr("tprune.tasks.metrics.bleu_tokenizer.find_spec", spec)
    return bool(request.param)


@pytest.mark.parametrize("language", TEXTS)
def test_the_tokeniser_is_told_by_the_script(language: str, mecab: bool) -> None:
    fits = FITS.get(language, "13a")
    assert fitting([TEXTS[language]] * 3) == (fits if mecab or "mecab" not in fits else "char")


def test_a_few_foreign_words_change_nothing(mecab: bool) -> None:
    del mecab
    assert fitting([TEXTS["de"]] * 9 + ["Das Zeichen 散步 heißt spazieren."]) == "13a"
    assert fitting([TEXTS["zh"] + " Central Park", "他昨天读了一本书 (の)。"] * 5) == "zh"
    assert fitting(["1 + 1 = 2", "..."]) == "13a"


@pytest.mark.parametrize("language", TEXTS)
def test_a_text_against_itself_has_100_and_the_signature_says_how(language: str) -> None:
    texts = [TEXTS[language]] * 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = quality(texts, texts)
    assert found.bleu == 100.0 and bleu_interval(texts, texts, 20) == (100.0, 100.0)
    assert f"tok:{fitting(texts)}" in found.bleu_signature
    assert paired_bootstrap(texts, texts, texts, 20).delta == 0.0


def test_scores_and_bootstrap_of_chinese_are_sacrebleus_own() -> None:
    references = ["我喜欢在公园里散步。", "他昨天读了一本书。", "今天的天气很好。"] * 20
    system = ["我喜欢在公园散步。", "他昨天读了书。", "今天天气很好。"] * 20
    found = quality(system, references)
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(system, [references], tokenize="zh").score, abs=1e-4)
    low, high = bleu_interval(system, references)
    assert 20 < low < found.bleu < high < 90
    paired = paired_bootstrap(system, references, references)
    assert paired.delta == pytest.approx(100 - found.bleu, abs=1e-3) and paired.low > 0


def test_a_tokeniser_that_does_not_fit_is_warned_of_and_so_are_texts_too_short_for_bleu() -> None:
    chinese = ["他昨天读了一本书。"] * 30
    with pytest.warns(TpruneWarning, match=r"tokeniser 13a takes words between spaces.*--bleu-tokenize zh"):
        assert quality(chinese, chinese, "13a").bleu < 99
    with pytest.warns(TpruneWarning, match="BLEU of the references themselves is 0 with the tokeniser 13a"):
        assert quality(["eine Katze"], ["eine Katze"]).bleu == 0
    assert doubts(chinese, "zh") == doubts(chinese, "char") == doubts([TEXTS["de"]], "13a") == []


def test_tokenisers_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"no BLEU tokeniser 'chinese'; expected one of 13a, intl, zh"):
        metric("chinese")
    monkeypatch.setattr("tprune.tasks.metrics.bleu_tokenizer.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"ja-mecab needs a package: pip install 'sacrebleu\[ja\]'"):
        metric("ja-mecab")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("tprune.tasks.metrics.bleu_tokenizer.SACREBLEU_DIR", "/nowhere")
    with pytest.raises(InputError, match="flores200 is downloaded at first, and this is offline"):
        metric("flores200")
    for name in ("13a", "intl", "zh", "char", "none"):
        assert name in NAMES and metric(name).corpus_score(["a b c d"], [["a b c d"]]).score == pytest.approx(100)


def test_a_recipe_names_the_tokeniser() -> None:
    least: dict[str, Any] = {
        "data": {},
        "train": {"steps": 0},
        "prune": {"steps": 0, "macs": 0.5},
        "recover": {"steps": 0},
    }
    assert check_recipe(least).bleu_tokenize is None
    assert check_recipe(least | {"bleu_tokenize": "char"}).bleu_tokenize == "char"
    with pytest.raises(InputError, match="bleu_tokenize: expected one of 13a"):
        check_recipe(least | {"bleu_tokenize": "chinese"})
    data = check_recipe(least).data
    assert (data.long_lines, data.long_share) == ("skip", 0.01)
    with pytest.raises(InputError, match=r"data\.long_lines"):
        check_recipe(least | {"data": {"long_lines": "drop"}})
