"""The steps of a compression that only models have which write sentences: other tokens to write, and pseudo-targets."""

from __future__ import annotations

from dataclasses import replace

import torch

from tprune.budget.evidence import with_output_vocabulary
from tprune.core.units import TIMES
from tprune.run.work import Work
from tprune.tasks.translation.encoding import encode, max_length
from tprune.train.pseudo_targets import make_pseudo_targets
from tprune.vocabulary.output_vocabulary import find_resegmentation


def resegment(work: Work) -> Work:
    """Chooses the tokens that the smaller model writes, where fewer than all are asked for.

    Raises:
        InputError: too few tokens, or a tokeniser whose pieces do not join.
    """
    start, size = work.start, work.start.recipe.prune.output_vocabulary
    found = None if size is None else find_resegmentation(start.dense, start.processor, start.corpus.train.target, size)
    if found is not None:
        start.note(f"{len(found.kept):,} tokens are written, translations have {found.longer:.3f} times as many")
    return replace(work, spelling=found)


def respelled(work: Work) -> Work:
    """The latency table of the model that writes the tokens of the spelling alone."""
    start, evidence = work.start, work.evidence
    if evidence is None or work.spelling is None or work.how.target()[0] not in TIMES:
        return work
    sentences = start.sentences
    evidence = with_output_vocabulary(evidence, start.dense, start.processor, work.spelling, sentences, start.report)
    start.note(f"with fewer tokens to write, before anything is cut: {evidence.faster:.2f}x faster")
    return replace(work, evidence=evidence)


def distill_data(work: Work) -> Work:
    """The material with the dense model's translations of the training sentences; those that are made already are read."""
    start = work.start
    out, threads = start.translations, torch.get_num_threads()
    said = make_pseudo_targets(
        start.dense, start.processor, start.corpus.train, out, threads=threads, report=start.report
    )
    pseudo_targets = encode(said, start.processor, max_length(start.dense))
    return replace(work, material=replace(work.material, pseudo_targets=pseudo_targets))
