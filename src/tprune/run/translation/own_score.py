"""What a dense model's own translations are worth, before anything is done to it.

A model that hardly translates is not worth pruning.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from tprune.data.parallel import Parallel
from tprune.support.activity import doing
from tprune.support.errors import TpruneWarning
from tprune.tasks.metrics.translation import Quality, quality
from tprune.tasks.translation.encoding import max_length

SENTENCES = 32
BATCH = 32  # at a time
BLEU, CHRF = (
    5.0,
    20.0,
)  # below both a model hardly translates: chrF alone knows words in other forms, and scripts without spaces
LONGER = 1.5  # times the longest reference, after which a translation is cut off


@torch.no_grad()
def own_score(
    model: Any, tokenizer: PreTrainedTokenizerBase, pairs: Parallel, most: int = SENTENCES, tokenize: str | None = None
) -> Quality:
    """The quality of a model's greedy translations of at most so many sentences, evenly spaced.

    Args:
        model: a trained translation model; as it was when this returns.
        tokenizer: its own.
        pairs: sentences with references.
        most: how many of them.
        tokenize: sacreBLEU's tokeniser; the one that fits the references if not given.
    """
    rows = np.linspace(0, len(pairs) - 1, min(most, len(pairs))).astype(int)
    source, target = [pairs.source[i] for i in rows], [pairs.target[i] for i in rows]
    longest = max(map(len, tokenizer(text_target=target, verbose=False).input_ids))
    limit = min(max_length(model), round(LONGER * longest) + 4)
    training, said = model.training, list[str]()
    model.eval()
    for start in range(0, len(source), BATCH):
        with doing(f"translating validation sentences: {start} of {len(source)}"):
            batch = tokenizer(source[start : start + BATCH], padding=True, return_tensors="pt", verbose=False)
            given = {key: batch[key].to(model.device) for key in ("input_ids", "attention_mask")}
            found = model.generate(**given, num_beams=1, do_sample=False, max_length=limit, max_new_tokens=None)
            said += tokenizer.batch_decode(found, skip_special_tokens=True)
    model.train(training)
    with warnings.catch_warnings():  # what speaks against this BLEU is said of the whole test set
        warnings.simplefilter("ignore", TpruneWarning)
        return quality(said, target, tokenize)


def hardly_translates(found: Quality) -> list[str]:
    """A warning where a model's own score is hardly one."""
    if found.bleu >= BLEU or found.chrf >= CHRF:
        return []
    return [
        f"the dense model's own greedy translations of {found.sentences} validation sentences get BLEU "
        f"{found.bleu:.1f} and chrF {found.chrf:.1f} ({found.bleu_signature}): it hardly translates them, and a pruned "
        "one will do no better; is it trained, on this pair of languages?"
    ]
