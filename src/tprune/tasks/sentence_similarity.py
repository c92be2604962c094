"""Sentence similarity: a vector for a sentence, so that similar sentences have a large cosine.

An encoder without a head is pruned so that its vectors stay those of the dense model; this needs no labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

from tprune.core.data import Sources
from tprune.core.model import Outputs
from tprune.core.score import Measure
from tprune.core.task import Batch, Predictions, Shown
from tprune.core.words import Words
from tprune.data.pairs import ScoredPairs, SentencePairs
from tprune.data.read_pairs import PairsOfFiles, read_sentence_pairs
from tprune.data.texts import Texts
from tprune.realise.sentence_files import longest_of, pooling_of
from tprune.support.errors import InputError
from tprune.support.papers import Papers, cites, papers_of
from tprune.tasks.encoded_sentences import EncodedSentences as EncodedSentences
from tprune.tasks.encoded_sentences import cosines, pairs_in, sentences_of
from tprune.tasks.metrics.spearman import spearman
from tprune.tasks.one_pass import OnePass
from tprune.tasks.one_stack import OneStack, check_data, settings
from tprune.tasks.padding import pad_of, padded
from tprune.tasks.pooling import pooled, pooling_mode

SENTENCE_BERT = """@inproceedings{reimers2019sentence,
  title = {Sentence-{BERT}: Sentence Embeddings using Siamese {BERT}-Networks},
  author = {Reimers, Nils and Gurevych, Iryna},
  booktitle = {Proceedings of EMNLP}, year = {2019}
}"""
DATA = (ScoredPairs, SentencePairs, Texts)


@dataclass(frozen=True)
class Embedded:
    """What a model gives for sentences.

    Attributes:
        logits: (sentences, width), each of length 1.
        hidden_states: of the embeddings and of each layer, where they were asked for.
    """

    logits: Tensor
    hidden_states: Sequence[Tensor] | None = None


@cites(SENTENCE_BERT)
def distance(embeddings: Tensor, targets: Tensor) -> Tensor:
    """The mean of `1 − cos` over sentences, computed as half the squared distance of vectors of length 1.

    Args:
        embeddings: (sentences, width).
        targets: likewise.

    Raises:
        InputError: other widths.

    Example:
        >>> float(distance(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])))
        1.0
    """
    if embeddings.shape != targets.shape:
        raise InputError(
            f"embeddings of {embeddings.shape[-1]} numbers, and the dense model's have {targets.shape[-1]}; expected "
            "equally many (sentence-similarity cuts no residual width)"
        )
    return (embeddings.float() - targets.float()).square().sum(-1).mean() / 2


@dataclass(frozen=True)
class SentenceSimilarity(OneStack, OnePass):
    """A sentence to a vector of length 1, by the pooling that sentence-transformers gives the model, or by the mean.

    Attributes:
        tokens: of the example whose operations are counted.
        longest: tokens of a sentence that are read, at most; no more than the model reads.
    """

    tokens: int = 25
    longest: int = 512
    name: ClassVar[str] = "sentence-similarity"
    words: ClassVar[Words] = Words("a sentence", "sentences", "embeddings", "Sentences", "25 tokens", "sentence")
    papers: ClassVar[Papers] = papers_of([distance])

    def matches(self, model: nn.Module) -> bool:
        """Whether it is an encoder of tokens without a head: a class that `AutoModel` gives."""
        bare = {
            name for names in MODEL_MAPPING_NAMES.values() for name in ([names] if isinstance(names, str) else names)
        }
        config: Any = getattr(model, "config", None)
        if config is None or getattr(config, "is_encoder_decoder", False) or not hasattr(config, "vocab_size"):
            return False
        return any(kind.__name__ in bare for kind in type(model).__mro__)

    def example(self, model: nn.Module) -> Batch:
        """One sentence without padding."""
        one = next(model.parameters())
        ids = torch.zeros(1, min(self.tokens, _positions(model)), dtype=torch.long, device=one.device)
        targets = torch.zeros(1, int(settings(model).hidden_size), dtype=one.dtype, device=one.device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "targets": targets}

    def random(self, model: nn.Module) -> Batch:
        """Three short random sentences, two of them padded."""
        chance, config = torch.Generator().manual_seed(0), settings(model)
        rows = [torch.randint(int(config.vocab_size), (n,), generator=chance).tolist() for n in (8, 6, 4)]
        drawn = torch.randn(3, int(config.hidden_size), generator=chance)
        targets = torch.nn.functional.normalize(drawn, dim=-1)
        return self.collate([{"input_ids": a, "targets": b} for a, b in zip(rows, targets, strict=True)], 0)

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> PairsOfFiles:
        """Pairs of sentences from tables, with scores or without; or sentences alone, from text files too."""
        return read_sentence_pairs(sources, columns)

    def encode(self, data: PairsOfFiles, processor: Any, model: nn.Module) -> EncodedSentences:
        """Tokenises sentences, and embeds them by the model, whose vectors are what a pruned one is to give.

        Of longer sentences than the model reads the first tokens and the end token stay. A model without weights, which
        stands for an exported one, embeds nothing.

        Raises:
            InputError: other data.
        """
        check_data(data, DATA, self.name)
        texts = sentences_of(data)
        ids = processor(list(texts), verbose=False).input_ids
        most = min(self.longest, _positions(model), longest_of(settings(model)) or self.longest)
        cut = sum(len(row) > most for row in ids)
        notes = (f"{data.name}: {cut:,} of {len(ids):,} sentences are cut to {most} tokens",) if cut else ()
        rows = tuple(row if len(row) <= most else [*row[: most - 1], row[-1]] for row in ids)
        scores = data.scores if isinstance(data, ScoredPairs) else ()
        found = EncodedSentences(rows, pairs_in(data), scores, None, texts, notes)
        if next(model.parameters(), None) is None:
            return found
        return self.relative_to(found, self.predict(model, found, pad_of(model)))

    def relative_to(self, examples: EncodedSentences, reference: Predictions | None) -> EncodedSentences:
        """The same sentences with other embeddings as targets; None for none."""
        return replace(examples, targets=None if reference is None else torch.from_numpy(reference.rows))

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of encoded sentences."""
        ids = [row["input_ids"] for row in rows]
        known = {"targets": torch.stack([row["targets"] for row in rows])} if "targets" in rows[0] else {}
        return {
            "input_ids": padded(ids, pad),
            "attention_mask": padded([[1] * len(row) for row in ids], 0),
            **known,
        }

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """Vectors of sentences."""
        found: Any = model(**self.prompt(batch), **({"output_hidden_states": True} if hidden else {}))
        mode = pooling_mode(pooling_of(settings(model)))
        vectors = pooled(found.last_hidden_state, batch["attention_mask"], mode)
        return Embedded(vectors, found.hidden_states if hidden else None)

    def prompt(self, batch: Batch) -> Batch:
        """The tokens."""
        return {key: value for key, value in batch.items() if key != "targets"}

    def targets(self, batch: Batch) -> Tensor:
        """The dense model's vectors."""
        return batch["targets"]

    def labels(self, batch: Batch) -> Tensor:
        """0 for each sentence: something is expected of all of them, and no class."""
        return torch.zeros(len(batch["input_ids"]), dtype=torch.long, device=batch["input_ids"].device)

    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """The mean distance to the dense model's vectors, `1 − cos`."""
        return distance(logits, batch["targets"])

    def rows(self, logits: Tensor, batch: Batch) -> NDArray[Any]:
        """The vectors."""
        found: NDArray[Any] = logits.numpy()
        return found

    def measures(self, predictions: Predictions, examples: EncodedSentences) -> Sequence[Measure]:
        """Spearman's correlation of the pairs' cosines with their scores, else with the dense model's cosines.

        Raises `InputError` for pairs with neither.
        """
        found = cosines(predictions.rows, examples.pairs)
        if examples.scores:
            return (spearman(found, torch.tensor(examples.scores).double().numpy(), "cosines and scores"),)
        if examples.targets is None:
            raise InputError(
                "pairs without scores are compared with the dense model's cosines, and there is no dense model; name "
                "it (--against), or give a table with a column of scores"
            )
        expected = cosines(examples.targets.numpy(), examples.pairs)
        return (spearman(found, expected, "cosines and the dense model's"),)

    def baselines(self, train: EncodedSentences, test: EncodedSentences) -> Mapping[str, Predictions]:
        """None: frequencies of the training set say nothing of pairs."""
        return {}

    def shown(self, predictions: Predictions, examples: EncodedSentences, index: int) -> Shown:
        """The pair that a sentence is in, its score or the dense model's cosine, and its cosine."""
        number = next((i for i, pair in enumerate(examples.pairs) if index in pair), None)
        if number is None:
            return Shown(_text(examples, index), "in no pair", "in no pair")
        pair = examples.pairs[number : number + 1]
        expected = "no score"
        if examples.scores:
            expected = f"score {examples.scores[number]:g}"
        elif examples.targets is not None:
            expected = f"cosine {cosines(examples.targets.numpy(), pair)[0]:.3f}"
        both = " · ".join(_text(examples, each) for each in pair[0])
        return Shown(both, expected, f"cosine {cosines(predictions.rows, pair)[0]:.3f}")


def _positions(model: nn.Module) -> int:
    return int(settings(model).max_position_embeddings)


def _text(examples: EncodedSentences, index: int) -> str:
    return examples.inputs[index] if examples.inputs else f"sentence {index + 1}"


SENTENCE_SIMILARITY = SentenceSimilarity()
