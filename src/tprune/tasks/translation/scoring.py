"""Translations of a module or of an exported model, for scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import nn

from tprune.core.data import Sources, paths
from tprune.core.task import Predictions
from tprune.data.parallel import Parallel, read_pair
from tprune.data.tables import is_table
from tprune.support.errors import InputError
from tprune.tasks.one_pass import evaluating, in_batches
from tprune.tasks.translation.encoding import Collate, EncodedPairs

BATCH = 16  # sentences at a time of an exported model


@runtime_checkable
class Translated(Protocol):
    """Translations in the order of their sentences."""

    texts: list[str]
    limit: int

    @property
    def share(self) -> float:
        """Which part of them ends at the limit."""
        ...


@runtime_checkable
class Translates(Protocol):
    """An exported model that translates sentences."""

    def translated(self, sentences: Sequence[str], beams: int | None = None, batch: int = 8) -> Any:
        """Translations (`Translated`)."""
        ...


def read_pairs(sources: Sources, columns: Sequence[str] = ()) -> Parallel:
    """Sentence pairs: source and target files in turns, or tables with two columns.

    Raises `InputError` as `read_pair`.
    """
    files = paths(sources)
    if files and all(map(is_table, files)):
        if len(columns) != 2:
            raise InputError(
                f"{files[0]}: a table; name the columns of the sentences and of their translations, such as en,de"
            )
        pairs = [read_pair(f"{file}:{columns[0]}", f"{file}:{columns[1]}", file.name) for file in files]
    elif not files or len(files) % 2:
        raise InputError(f"{len(files)} files; expected one of sentences and one of translations, or a table")
    else:
        pairs = [read_pair(source, target) for source, target in zip(files[::2], files[1::2], strict=True)]
    return sum(pairs[1:], pairs[0])


def predictions(model: Any, examples: EncodedPairs, pad: int, beams: int | None) -> Predictions:
    """Translations by beam search; with the share of those that end at the model's limit, and the limit in tokens.

    Raises:
        InputError: the model is no module and does not translate, or the examples were encoded without their sentences.
    """
    if examples.pairs is None or examples.tokenizer is None:
        raise InputError(
            "these sentence pairs were encoded without their texts; expected what the task's `encode` gives"
        )
    if isinstance(model, nn.Module):
        return _generated(model, examples, pad, beams)
    if not isinstance(model, Translates):
        raise InputError(
            f"{type(model).__name__} translates nothing; expected a torch module, or an exported translator"
        )
    found: Translated = model.translated(examples.pairs.source, beams, BATCH)
    return Predictions(np.array(found.texts, object), {"at_limit": round(found.share, 4), "limit": found.limit})


def _generated(model: Any, examples: EncodedPairs, pad: int, beams: int | None) -> Predictions:
    texts: list[str] = [""] * len(examples)
    how = {} if beams is None else {"num_beams": beams}
    collate, device = Collate(pad), next(model.parameters()).device
    with evaluating(model):
        for indices in in_batches(examples.lengths):
            batch = collate([{"input_ids": examples.source[i]} for i in indices])
            rows = model.generate(**{name: value.to(device) for name, value in batch.items()}, do_sample=False, **how)
            for index, row in zip(indices, rows, strict=True):
                texts[index] = examples.tokenizer.decode(row.tolist(), skip_special_tokens=True)
    return Predictions(np.array(texts, object))
