"""The steps of a compression that only models have which write sentences: other tokens to write, and pseudo-targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tprune.budget.by_vocabulary import with_output_vocabulary
from tprune.core.units import TIMES
from tprune.data.parallel import Parallel
from tprune.recipe.schema import Prune
from tprune.run.work import Work
from tprune.support.reporting import Report
from tprune.tasks.translation.encoding import encode, max_length
from tprune.train.pseudo_targets import make_pseudo_targets
from tprune.train.training_data import TrainingData
from tprune.vocabulary.output_vocabulary import Resegmentation, find_resegmentation


def resegment_step(model: Any, tokenizer: Any, texts: Sequence[str], how: Prune) -> Resegmentation | None:
    """Which tokens the pruned model writes, where fewer than all are asked for.

    Of translations, see `tprune.vocabulary.output_vocabulary`.

    Raises:
        InputError: too few tokens, or a tokeniser whose pieces do not join.
    """
    size = how.output_vocabulary
    return None if size is None else find_resegmentation(model, tokenizer, texts, size)


def distill_data_step(
    model: Any,
    tokenizer: Any,
    pairs: Parallel,
    material: TrainingData,
    out: Path,
    report: Report = lambda text: None,
) -> TrainingData:
    """The material with the model's translations of the training sentences, made in `out`.

    See `tprune.train.pseudo_targets`.
    """
    said = make_pseudo_targets(
        model, tokenizer, pairs, out, threads=torch.get_num_threads(), report=report, task=material.task
    )
    return replace(material, pseudo_targets=encode(said, tokenizer, max_length(model)))


def resegment(work: Work) -> Work:
    """Chooses the tokens that the smaller model writes."""
    start = work.start
    found = resegment_step(start.dense, start.processor, start.corpus.train.target, start.recipe.prune)
    if found is not None:
        start.note(f"{len(found.kept):,} tokens are written, translations have {found.longer:.3f} times as many")
    return replace(work, spelling=found)


def respelled(work: Work) -> Work:
    """The latency table of the model that writes the tokens of the spelling alone."""
    start, evidence = work.start, work.evidence
    if evidence is None or work.spelling is None or work.how.target()[0] not in TIMES:
        return work
    evidence = with_output_vocabulary(
        evidence, start.dense, start.processor, work.spelling, start.sentences, start.report, work.material.task
    )
    start.note(f"with fewer tokens to write, before anything is cut: {evidence.faster:.2f}x faster")
    return replace(work, evidence=evidence)


def distill_data(work: Work) -> Work:
    """The material with the dense model's translations of the training sentences.

    Those that are made already are read.
    """
    start = work.start
    made = distill_data_step(
        start.dense, start.processor, start.corpus.train, work.material, start.translations, start.report
    )
    return replace(work, material=made)
