"""Translation quality: sacreBLEU's BLEU and chrF with signatures, and a paired bootstrap between two systems."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from tprune.core.score import Measure, Metric
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.papers import cites
from tprune.support.texts import check_list
from tprune.tasks.metrics.bleu_tokenizer import doubts, fitting, metric
from tprune.tasks.metrics.bootstrap import interval, paired

SACREBLEU = """@inproceedings{post2018call,
  title = {A Call for Clarity in Reporting {BLEU} Scores},
  author = {Post, Matt},
  booktitle = {Proceedings of the Third Conference on Machine Translation: Research Papers}, year = {2018}
}"""
BOOTSTRAP = """@inproceedings{koehn2004statistical,
  title = {Statistical Significance Tests for Machine Translation Evaluation},
  author = {Koehn, Philipp},
  booktitle = {Proceedings of EMNLP}, year = {2004}
}"""


@dataclass(frozen=True)
class Quality:
    """Scores of one system on one test set, with the signatures that say how they were computed."""

    bleu: float
    chrf: float
    bleu_signature: str
    chrf_signature: str
    sentences: int

    def to_dict(self) -> dict[str, Any]:
        """As in results.json."""
        return asdict(self)


@dataclass(frozen=True)
class Paired:
    """A paired bootstrap of a system against a baseline in BLEU.

    Attributes:
        delta: BLEU of the system minus that of the baseline, on the whole test set.
        low: lower end of the 95 % interval of the delta; `high` is the upper one.
        p_value: how often a centred resample differs by at least as much (two-sided).
        samples: how many resamples, drawn with `seed`.
    """

    delta: float
    low: float
    high: float
    p_value: float
    samples: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """As in results.json."""
        return asdict(self)


# below both a model hardly translates: chrF alone knows words in other forms, and scripts without spaces
BLEU_METRIC, CHRF_METRIC = Metric("BLEU", poor=5.0), Metric("chrF", poor=20.0)


def translation_measures(
    hypotheses: Sequence[str], references: Sequence[str], tokenize: str | None = None
) -> tuple[Measure, Measure]:
    """BLEU and chrF of translations, with the statistics of each sentence.

    Values and signatures are those of `quality`.

    Raises:
        InputError: as `quality`.
    """
    _check(hypotheses, references)
    tokenize = tokenize or fitting(references)
    with warnings.catch_warnings(action="ignore", category=TpruneWarning):  # they are with the measures
        found = quality(hypotheses, references, tokenize)
    chrf, odd = CHRF(), tuple(doubts(references, tokenize))
    counts = np.array(chrf._extract_corpus_statistics(list(hypotheses), [list(references)]))
    return (
        Measure(BLEU_METRIC, _statistics(hypotheses, references, tokenize), _bleu, found.bleu_signature, doubts=odd),
        Measure(
            CHRF_METRIC,
            counts,
            lambda terms: float(chrf._compute_score_from_stats(terms.tolist()).score),
            found.chrf_signature,
        ),
    )


@cites(SACREBLEU, BOOTSTRAP)
def quality(hypotheses: Sequence[str], references: Sequence[str], tokenize: str | None = None) -> Quality:
    """BLEU and chrF of translations.

    Args:
        hypotheses: the translations.
        references: as many.
        tokenize: sacreBLEU's tokeniser for BLEU; the one that fits the script of the references if not given.

    Raises:
        InputError: the two differ in length or are empty, or no such tokeniser.

    Warns:
        TpruneWarning: the tokeniser does not fit the references, or BLEU of these themselves is not 100.

    Example:
        >>> quality(["eine Katze sitzt hier ."], ["eine Katze sitzt hier ."]).bleu
        100.0
    """
    _check(hypotheses, references)
    tokenize = tokenize or fitting(references)
    bleu, chrf = metric(tokenize), CHRF()
    for line in doubts(references, tokenize):
        warnings.warn(line, TpruneWarning, stacklevel=2)
    b = bleu.corpus_score(list(hypotheses), [list(references)])
    c = chrf.corpus_score(list(hypotheses), [list(references)])
    return Quality(
        round(b.score, 4), round(c.score, 4), str(bleu.get_signature()), str(chrf.get_signature()), len(references)
    )


def bleu_interval(
    hypotheses: Sequence[str],
    references: Sequence[str],
    samples: int = 1000,
    seed: int = 12345,
    tokenize: str | None = None,
) -> tuple[float, float]:
    """A 95 % interval of BLEU: scores of resampled test sets (Koehn, 2004); `tokenize` as in `quality`.

    Raises:
        InputError: the two differ in length or are empty.
    """
    _check(hypotheses, references)
    low, high = interval(_statistics(hypotheses, references, tokenize), _bleu, samples, seed)
    return round(low, 4), round(high, 4)


def paired_bootstrap(
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence[str],
    samples: int = 1000,
    seed: int = 12345,
    tokenize: str | None = None,
) -> Paired:
    """Resamples the test set and scores both systems on each sample (Koehn, 2004).

    The p-value is two-sided. sacreBLEU's own bootstrap centres absolute differences, which about halves it for a clear
    one.

    Raises:
        InputError: the lists differ in length or are empty.
    """
    return paired_over_runs([baseline], [system], references, samples, seed, tokenize)


def paired_over_runs(
    baselines: Sequence[Sequence[str]],
    systems: Sequence[Sequence[str]],
    references: Sequence[str],
    samples: int = 1000,
    seed: int = 12345,
    tokenize: str | None = None,
) -> Paired:
    """The mean over training runs (say, seeds) of the differences in BLEU.

    Every resample draws the same sentences for all runs.

    The interval says what other sentences would change; not what other seeds would.

    Args:
        baselines: translations by each run of the baseline.
        systems: by each run of the system, in the same order.
        references: of all of them.
        samples: how many resamples.
        seed: of the draws.
        tokenize: sacreBLEU's tokeniser; the one that fits the script of the references if not given.

    Raises:
        InputError: there are no runs, not equally many, or lists of sentences differ in length or are empty.
    """
    for name, runs in (("baselines", baselines), ("systems", systems)):
        if isinstance(runs, str) or any(isinstance(run, str) for run in runs):
            raise InputError(f"{name}: expected a list of runs, each a list of translations; got a string")
    if len(baselines) != len(systems) or not systems:
        raise InputError(f"{len(systems)} runs against {len(baselines)}; expected equally many, at least one")
    for hypotheses in (*baselines, *systems):
        _check(hypotheses, references)
    old, new = ([_statistics(run, references, tokenize) for run in runs] for runs in (baselines, systems))
    delta, low, high, p_value = (round(each, 4) for each in paired(old, new, _bleu, samples, seed))
    return Paired(delta, low, high, p_value, samples, seed)


def _statistics(hypotheses: Sequence[str], references: Sequence[str], tokenize: str | None) -> np.ndarray:
    """Per sentence: matched and total n-grams, and both lengths."""
    bleu = metric(tokenize or fitting(references), effective_order=True)
    scores = [bleu.sentence_score(h, [r]) for h, r in zip(hypotheses, references, strict=True)]
    return np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores])


def _bleu(statistics: np.ndarray) -> float:
    counts, totals, (sys_len, ref_len) = statistics[:4].tolist(), statistics[4:8].tolist(), statistics[8:].tolist()
    return float(BLEU.compute_bleu(counts, totals, sys_len, ref_len, smooth_method="exp").score)


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    check_list(hypotheses, "translations")
    check_list(references, "references")
    if len(hypotheses) != len(references) or not references:
        raise InputError(
            f"{len(hypotheses)} translations for {len(references)} references; expected equally many, at least one"
        )
