"""Quality against sacrebleu itself, and the paired bootstrap against what it must be."""

from __future__ import annotations

import random

import pytest
import sacrebleu
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest

from tprune.support.errors import InputError
from tprune.tasks.metrics.translation import paired_bootstrap, paired_over_runs, quality

WORDS = [
    *[
        "ein",
        "zwei",
        "Hund",
        "Katze",
        "läuft",
        "schnell",
        "nach",
        "Hause",
        "und",
        "schläft",
        "im",
        "Garten",
        "am",
        "Abend",
        "mit",
        "dem",
        "Ball",
    ],
    ".",
    ",",
]


def corpus(sentences: int, noise: float, seed: int = 0) -> tuple[list[str], list[str]]:
    """References, and translations with that share of words wrong."""
    rng, wrong = random.Random(0), random.Random(seed + 1)
    references = [[rng.choice(WORDS) for _ in range(rng.randint(4, 14))] for _ in range(sentences)]
    system = [[wrong.choice(WORDS) if wrong.random() < noise else word for word in r] for r in references]
    return [" ".join(r) for r in references], [" ".join(s) for s in system]


def test_scores_equal_sacrebleus_own() -> None:
    references, system = corpus(60, 0.3)
    found = quality(system, references)
    assert found.bleu == pytest.approx(sacrebleu.corpus_bleu(system, [references]).score, abs=1e-4)
    assert found.chrf == pytest.approx(sacrebleu.corpus_chrf(system, [references]).score, abs=1e-4)
    assert found.sentences == 60
    assert found.bleu_signature == f"nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    assert found.chrf_signature.startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no")
    assert found.to_dict()["bleu"] == found.bleu


def test_a_perfect_translation_and_a_short_one() -> None:
    references, _ = corpus(20, 0.0)
    assert quality(references, references).bleu == pytest.approx(100)
    short = [r.rsplit(" ", 2)[0] for r in references]
    assert quality(short, references).bleu == pytest.approx(sacrebleu.corpus_bleu(short, [references]).score, abs=1e-4)


def test_a_system_against_itself_differs_by_nothing() -> None:
    references, system = corpus(40, 0.3)
    found = paired_bootstrap(system, list(system), references, samples=200)
    assert (found.delta, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_a_clear_improvement_is_significant_and_a_loss_is_its_mirror() -> None:
    references, bad = corpus(80, 0.5)
    _, good = corpus(80, 0.1, seed=5)
    up = paired_bootstrap(bad, good, references, samples=300)
    down = paired_bootstrap(good, bad, references, samples=300)
    assert up.delta > 10 and 0 < up.low <= up.delta <= up.high and up.p_value < 0.01
    assert (down.delta, down.low, down.high, down.p_value) == pytest.approx((-up.delta, -up.high, -up.low, up.p_value))


def test_delta_is_the_difference_of_corpus_bleu() -> None:
    references, one = corpus(50, 0.3)
    _, other = corpus(50, 0.25, seed=9)
    found = paired_bootstrap(one, other, references, samples=100)
    expected = quality(other, references).bleu - quality(one, references).bleu
    assert found.delta == pytest.approx(expected, abs=2e-4)
    assert found.low <= found.delta <= found.high


def test_the_same_seed_gives_the_same_result_and_another_seed_another() -> None:
    references, one = corpus(50, 0.3)
    _, other = corpus(50, 0.25, seed=9)
    first = paired_bootstrap(one, other, references, samples=100)
    assert paired_bootstrap(one, other, references, samples=100) == first
    assert paired_bootstrap(one, other, references, samples=100, seed=1) != first


def sacrebleus_p(kind: str, one: list[str], other: list[str], references: list[str]) -> float:
    named = [("baseline", one), ("system", other)]
    _, scores = PairedTest(named, {"BLEU": BLEU()}, [references], test_type=kind, n_samples=1000)()
    return float(scores["BLEU"][1].p_value)


@pytest.mark.parametrize("noise", [0.3, 0.285, 0.25, 0.2])
def test_p_values_are_close_to_sacrebleus_and_no_less_strict(noise: float) -> None:
    references, one = corpus(120, 0.3)
    _, other = corpus(120, noise, seed=3)
    ours = paired_bootstrap(one, other, references, samples=1000)
    assert ours.p_value == pytest.approx(sacrebleus_p("ar", one, other, references), abs=0.06)  # two-sided as ours is
    assert (
        sacrebleus_p("bs", one, other, references) <= ours.p_value + 0.02
    )  # centres absolute differences: more lenient


@pytest.mark.parametrize(("system", "references"), [(["a"], ["a", "b"]), ([], [])])
def test_unequal_or_no_sentences_are_refused(system: list[str], references: list[str]) -> None:
    with pytest.raises(InputError, match=f"{len(system)} translations for {len(references)} references"):
        quality(system, references)
    with pytest.raises(InputError, match="expected equally many, at least one"):
        paired_bootstrap(references, system, references)


def test_over_runs_the_difference_is_the_mean_and_equal_runs_change_nothing() -> None:
    references, one = corpus(50, 0.3)
    others = [corpus(50, 0.25, seed=9)[1], corpus(50, 0.1, seed=5)[1]]
    both = paired_over_runs([one, one], others, references, samples=100)
    alone = [paired_bootstrap(one, other, references, samples=100) for other in others]
    assert both.delta == pytest.approx(sum(found.delta for found in alone) / 2, abs=2e-4)
    assert both.low < both.delta < both.high
    assert paired_over_runs([one] * 3, [others[0]] * 3, references, samples=100) == alone[0]
    with pytest.raises(InputError, match="1 runs against 2"):
        paired_over_runs([one, one], others[:1], references)
    with pytest.raises(InputError, match="0 runs"):
        paired_over_runs([], [], references)
