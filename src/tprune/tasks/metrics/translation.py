"""Translation quality: sacreBLEU's BLEU and chrF with signatures, and a paired bootstrap between two systems."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from tprune.support.errors import InputError, TpruneWarning
from tprune.support.texts import check_list
from tprune.tasks.metrics.bleu_tokenizer import doubts, fitting, metric


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
    counts = _statistics(hypotheses, references, tokenize)
    scores = [_bleu(counts[rows].sum(0)) for rows in _draws(len(references), samples, seed)]
    low, high = np.percentile(scores, [2.5, 97.5])
    return round(float(low), 4), round(float(high), 4)


def paired_bootstrap(
    baseline: Sequence[str], system: Sequence[str], references: Sequence[str], samples: int = 1000, seed: int = 12345,
    tokenize: str | None = None,
) -> Paired:  # fmt: skip
    """Resamples the test set and scores both systems on each sample (Koehn, 2004).

    The p-value is two-sided. sacreBLEU's own bootstrap centres absolute differences, which about halves it for a clear one.

    Raises:
        InputError: the lists differ in length or are empty.
    """
    return paired_over_runs([baseline], [system], references, samples, seed, tokenize)


def paired_over_runs(
    baselines: Sequence[Sequence[str]], systems: Sequence[Sequence[str]], references: Sequence[str], samples: int = 1000, seed: int = 12345,
    tokenize: str | None = None,
) -> Paired:  # fmt: skip
    """The mean over training runs (say, seeds) of the differences in BLEU, every resample drawing the same sentences for all.

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
    counts = [[_statistics(run, references, tokenize) for run in runs] for runs in (baselines, systems)]

    def difference(rows: Any) -> float:
        old, new = (np.mean([_bleu(run[rows].sum(0)) for run in runs]) for runs in counts)
        return float(new - old)

    deltas = np.array([difference(rows) for rows in _draws(len(references), samples, seed)])
    delta = difference(slice(None))
    low, high = np.percentile(deltas, [2.5, 97.5])
    p_value = (np.sum(np.abs(deltas - deltas.mean()) >= abs(delta)) + 1) / (samples + 1)
    return Paired(round(delta, 4), round(float(low), 4), round(float(high), 4), round(float(p_value), 4), samples, seed)


def _draws(sentences: int, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Resampled test sets: as many sentences as there are, drawn with replacement."""
    rng = np.random.default_rng(seed)
    return (rng.integers(sentences, size=sentences) for _ in range(samples))


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
