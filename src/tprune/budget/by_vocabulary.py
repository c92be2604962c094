"""What a smaller vocabulary makes faster by itself, and the evidence for a model that writes fewer tokens."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from tprune.budget.evidence import Evidence, ModelAndTokenizer
from tprune.core.model import Model
from tprune.core.task import Task
from tprune.costs.latency.table import TimingConfig
from tprune.costs.latency.timer import Timer
from tprune.support.reporting import Report
from tprune.vocabulary.output_vocabulary import Resegmentation
from tprune.vocabulary.trim import restricted_to


def vocabulary_speedup(
    before: ModelAndTokenizer,
    after: ModelAndTokenizer,
    sentences: Sequence[str],
    setting: TimingConfig,
    report: Report = lambda text: None,
    task: Task | None = None,
) -> float:
    """The speedup of a sentence by a smaller vocabulary, `time before / time after`, measured here.

    Both models write as many tokens.

    Args:
        before: a model and its tokeniser.
        after: likewise, with a smaller vocabulary, say.
        sentences: source sentences.
        setting: threads, batch and lengths.
        report: called with a line for times that vary.
        task: what both are for; the first one's own if not given.

    Raises:
        NoisyMachineError: times differ too much between repetitions.
    """
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(*before, sentences, setting, Path(folder), report=report, task=task)
        return timer.compare(after[0], "the smaller vocabulary", after[1])[timer.phases.quoted]


def with_output_vocabulary(
    evidence: Evidence,
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    resegmentation: Resegmentation,
    sentences: Sequence[str],
    report: Report = lambda text: None,
    task: Task | None = None,
) -> Evidence:
    """The evidence for a model with a smaller output vocabulary; what this saves in each token is measured here.

    Args:
        evidence: with a table of the model.
        model: the dense model.
        tokenizer: its own.
        resegmentation: with the output vocabulary.
        sentences: source sentences.
        report: called with a line for times that vary.
        task: what the model is for; its own if not given.

    Raises:
        NoisyMachineError: times differ too much between repetitions.
    """
    table = evidence.table
    if table is None:
        return evidence
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(model, tokenizer, sentences, table.setting, Path(folder), report=report, task=task)
        ratios = timer.compare(restricted_to(model, resegmentation.kept), "fewer tokens to write")
        saved = float(table.dense.array[-1] - table.times(ratios).array[-1])
    restricted = table.with_output_vocabulary(max(0.0, saved), resegmentation.longer)
    return replace(evidence, table=restricted, faster=evidence.faster * table.dense.total / restricted.dense.total)
