"""Summarisation, as an encoder-decoder does it: like translation, of documents that may be longer than the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from tprune.core.data import Sources
from tprune.core.score import Measure
from tprune.core.task import Predictions
from tprune.core.words import Words
from tprune.data.parallel import Parallel
from tprune.data.read_documents import read_documents
from tprune.support.errors import InputError
from tprune.support.papers import Papers, papers_of
from tprune.tasks.metrics.rouge import rouge
from tprune.tasks.one_stack import check_data
from tprune.tasks.translation.encoding import EncodedPairs, max_length
from tprune.tasks.translation.encoding import encode as encoded
from tprune.tasks.translation.task import Translation

ANY_LENGTH = 1_000_000_000  # tokens


@dataclass(frozen=True)
class Summarisation(Translation):
    """A document to its summary. No class says that a model summarises: name the task.

    Attributes:
        source: tokens of the document whose operations are counted.
        target: of its summary.
        beams: of the summaries that are scored; as the model's generation settings have it if not given.
        tokenize: of no use here.
    """

    source: int = 256
    target: int = 64
    name: ClassVar[str] = "summarisation"
    words: ClassVar[Words] = Words("a document", "documents", "summaries", "Document", "256 + 64 tokens", "token")
    papers: ClassVar[Papers] = papers_of([rouge])

    def searching(self, beams: int, tokenize: str | None) -> Summarisation:
        """With so many beams. Raises `InputError` for a tokeniser of BLEU."""
        if tokenize is not None:
            raise InputError(f"bleu_tokenize {tokenize}: summaries are scored by ROUGE; expected none")
        return replace(self, beams=beams)

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> Parallel:
        """Documents and summaries from two columns of tables, or from two line-aligned files."""
        return read_documents(sources, columns)

    def encode(self, data: Parallel, processor: Any, model: Any) -> EncodedPairs:
        """Tokenises both sides; of what is longer than the model takes the first tokens and the end token stay.

        Raises:
            InputError: other data.
        """
        check_data(data, Parallel, self.name)
        whole, most = encoded(data, processor, ANY_LENGTH), max_length(model)
        notes = [
            f"{data.name}: {long:,} of {len(side):,} {what} are cut to {most} tokens"
            for side, what in ((whole.source, "documents"), (whole.target, "summaries"))
            if (long := sum(len(row) > most for row in side))
        ]
        source, target = (
            tuple(row if len(row) <= most else [*row[: most - 1], row[-1]] for row in side)
            for side in (whole.source, whole.target)
        )
        return replace(whole, source=source, target=target, notes=tuple(notes))

    def measures(self, predictions: Predictions, examples: EncodedPairs) -> Sequence[Measure]:
        """ROUGE-1, ROUGE-2 and ROUGE-L."""
        assert examples.pairs is not None
        return rouge(predictions.rows.tolist(), examples.pairs.target)

    def baselines(self, train: EncodedPairs, test: EncodedPairs) -> Mapping[str, Predictions]:
        """The beginning of each document, as long as a summary of the training set in the mean."""
        assert train.pairs is not None and test.pairs is not None
        words = round(np.mean([len(summary.split()) for summary in train.pairs.target]))
        begun = [" ".join(document.split()[: max(1, words)]) for document in test.pairs.source]
        return {"beginning of the document": Predictions(np.array(begun, object))}


SUMMARISATION = Summarisation()
