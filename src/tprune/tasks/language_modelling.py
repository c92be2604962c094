"""Language modelling: the next token of a text, from those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from tprune.core.data import Sources
from tprune.core.labels import IGNORED
from tprune.core.model import Tokenizer
from tprune.core.score import Measure
from tprune.core.task import Batch, Predictions, Shown
from tprune.core.words import Words
from tprune.data.read_texts import read_texts
from tprune.data.texts import Texts, TokenSequences
from tprune.support.errors import InputError
from tprune.tasks.encoded_tokens import EncodedTokens as EncodedTokens
from tprune.tasks.encoded_tokens import pieces
from tprune.tasks.metrics.perplexity import perplexity, unigram
from tprune.tasks.one_pass import OnePass
from tprune.tasks.one_stack import OneStack, check_data, is_for, settings
from tprune.tasks.padding import padded

SHOWN = 200  # characters of a text on a page
TOKENIZER = ("tokenizer*", "vocab*", "*.model", "*.tiktoken")  # files that a tokeniser is loaded from


@dataclass(frozen=True)
class LanguageModelling(OneStack, OnePass):
    """A text to the likelihood of each next token.

    Attributes:
        tokens: of the example whose operations are counted.
        window: tokens that are read at once, at most; no more than the model has positions for. Longer texts are split.
    """

    tokens: int = 25
    window: int = 512
    name: ClassVar[str] = "language-modelling"
    words: ClassVar[Words] = Words("a text", "texts", "predictions", "Text", "25 tokens", "token")

    def matches(self, model: nn.Module) -> bool:
        """Whether its class is one of transformers' for this."""
        return is_for(model, "ForCausalLM") or is_for(model, "GPT2LMHeadModel")

    def example(self, model: nn.Module) -> Batch:
        """One text without padding."""
        tokens = min(self.tokens, int(settings(model).max_position_embeddings))
        ids = torch.zeros(1, tokens, dtype=torch.long, device=next(model.parameters()).device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}

    def random(self, model: nn.Module) -> Batch:
        """Three short random texts, two of them padded."""
        chance, vocabulary = torch.Generator().manual_seed(0), int(settings(model).vocab_size)
        return self.collate([torch.randint(vocabulary, (n,), generator=chance).tolist() for n in (8, 6, 4)], 0)

    def read(self, sources: Sources, columns: Sequence[str] = ()) -> Texts | TokenSequences:
        """Lines of text files, or a column of tables; token ids from JSONL. See `tprune.data.read_texts.read_texts`."""
        return read_texts(sources, columns)

    def processor(self, folder: str | Path) -> Any:
        """The tokeniser beside a model; None where there is none: such a model takes token ids."""
        if Path(folder).is_dir() and not any(any(Path(folder).glob(name)) for name in TOKENIZER):
            return None
        return super().processor(folder)

    def encode(self, data: Texts | TokenSequences, processor: Tokenizer | None, model: nn.Module) -> EncodedTokens:
        """Tokenises texts, and splits those that are longer than the window.

        Raises:
            InputError: texts without a tokeniser, a token id that the model does not know, or other data.
        """
        check_data(data, (Texts, TokenSequences), self.name)
        ids: Sequence[Sequence[int]]
        if isinstance(data, TokenSequences):
            ids = data.ids
        elif processor is None:
            raise InputError(f"{data.name}: texts, and the model has no tokeniser; expected JSONL with `input_ids`")
        else:
            ids = processor(list(data.texts), verbose=False).input_ids
        config = settings(model)
        return pieces(data, ids, min(self.window, int(config.max_position_embeddings)), int(config.vocab_size))

    def collate(self, rows: Sequence[list[int]], pad: int) -> Batch:
        """A batch of encoded texts, padded at their ends; the label of a position is the token after it."""
        return {
            "input_ids": padded(rows, pad),
            "attention_mask": padded([[1] * len(row) for row in rows], 0),
            "labels": padded([[*row[1:], IGNORED] for row in rows], IGNORED),
        }

    def rows(self, logits: Tensor, batch: Batch) -> NDArray[Any]:
        """The nats of each text, and the number of its tokens that are predicted."""
        labels = batch["labels"]
        nats = cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
        found: NDArray[Any] = torch.stack([nats.double().sum(1), (labels != IGNORED).sum(1).double()], 1).numpy()
        return found

    def measures(self, predictions: Predictions, examples: EncodedTokens) -> Sequence[Measure]:
        """Perplexity, and its logarithm."""
        return perplexity(predictions.rows, f"texts in windows of {self.window} tokens at most")

    def baselines(self, train: EncodedTokens, test: EncodedTokens) -> Mapping[str, Predictions]:
        """The frequencies of the training set's tokens."""
        told = np.concatenate([np.asarray(text[1:]) for text in train.texts])
        vocabulary = 1 + max(int(told.max()), *(max(text) for text in test.texts))
        nats = unigram(told, vocabulary)
        rows = [[nats[text[1:]].sum(), len(text) - 1] for text in test.texts]
        return {"token frequencies": Predictions(np.array(rows))}

    def shown(self, predictions: Predictions, examples: EncodedTokens, index: int) -> Shown:
        """A text and its perplexity."""
        text = examples.inputs[index] if examples.inputs else f"text {index + 1}"
        measure, _ = perplexity(predictions.rows[index : index + 1], "")
        return Shown(
            text[:SHOWN], f"{len(examples[index]):,} tokens", f"perplexity {measure.value(measure.rows[0]):.2f}"
        )

    @torch.no_grad()
    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """Greedy continuations, by the first model, of the first token of every text.

        All step through the same tokens.
        """
        token = batch["input_ids"][:, :1]
        callable_models: list[Any] = list(models)
        caches: list[Any] = [None] * len(models)
        for _ in range(min(steps, int(settings(models[0]).max_position_embeddings) - 1)):
            logits = []
            for i, model in enumerate(callable_models):
                out = model(input_ids=token, past_key_values=caches[i], use_cache=True)
                caches[i] = out.past_key_values
                logits.append(out.logits[:, -1])
            yield logits
            token = logits[0].argmax(-1, keepdim=True)


LANGUAGE_MODELLING = LanguageModelling()
