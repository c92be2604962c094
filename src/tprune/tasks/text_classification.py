"""Text classification: one class for a text. A batch has `input_ids`, `attention_mask` and `labels`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from tprune.core.labels import label_loss
from tprune.core.model import Outputs, Tokenizer
from tprune.core.score import Score
from tprune.core.task import Batch, States
from tprune.support.errors import InputError
from tprune.tasks.metrics.accuracy import accuracy
from tprune.tasks.padding import padded

STACK = "encoder"


@dataclass(frozen=True)
class EncodedTexts:
    """Token ids of texts, and their classes."""

    texts: tuple[list[int], ...]
    classes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.texts[index], "labels": self.classes[index]}

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each text."""
        return np.array([len(text) for text in self.texts])


@dataclass(frozen=True)
class TextClassification:
    """A text to one of several classes.

    Attributes:
        tokens: of the example whose operations are counted.
    """

    tokens: int = 25
    name: ClassVar[str] = "text-classification"

    def matches(self, model: nn.Module) -> bool:
        """Whether its class is one of transformers' for this."""
        return any(kind.__name__.endswith("ForSequenceClassification") for kind in type(model).__mro__)

    def example(self, model: nn.Module) -> Batch:
        """One text without padding."""
        tokens = min(self.tokens, int(_config(model).max_position_embeddings))
        device = next(model.parameters()).device
        ids = torch.zeros(1, tokens, dtype=torch.long, device=device)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0]}

    def random(self, model: nn.Module) -> Batch:
        """Three short random texts, two of them padded."""
        chance, config = torch.Generator().manual_seed(0), _config(model)
        pad = int(config.pad_token_id or 0)
        ids = torch.randint(int(config.vocab_size), (3, 8), generator=chance)
        mask = torch.ones_like(ids)
        for row in (1, 2):
            ids[row, -2 * row :], mask[row, -2 * row :] = pad, 0
        labels = torch.randint(int(config.num_labels), (3,), generator=chance)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def encode(self, texts: Sequence[str], classes: Sequence[int], tokenizer: Tokenizer, most: int) -> EncodedTexts:
        """Tokenises texts, each cut off after `most` tokens. Raises `InputError` unless there are as many texts as classes."""
        if len(texts) != len(classes):
            raise InputError(f"{len(texts)} texts, but {len(classes)} classes; expected equally many")
        ids = tokenizer(list(texts), verbose=False).input_ids
        return EncodedTexts(tuple(row[:most] for row in ids), tuple(map(int, classes)))

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of encoded texts."""
        ids = [row["input_ids"] for row in rows]
        mask = padded([[1] * len(row) for row in ids], 0)
        return {
            "input_ids": padded(ids, pad), "attention_mask": mask, "labels": torch.tensor([row["labels"] for row in rows]),
        }  # fmt: skip

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """Logits (batch, classes)."""
        asks = {"output_hidden_states": True} if hidden else {}
        found: Outputs = model(**self.prompt(batch), **asks)
        return found

    def prompt(self, batch: Batch) -> Batch:
        """The text."""
        return {key: value for key, value in batch.items() if key != "labels"}

    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """Mean cross entropy of a text (nats)."""
        return label_loss(logits, batch["labels"], smoothing)

    def labels(self, batch: Batch) -> Tensor:
        """The classes, (batch,)."""
        return batch["labels"]

    def positions(self, batch: Batch, stack: str) -> Tensor:
        """The tokens of the text."""
        return batch["attention_mask"].bool()

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """What the layers give (without the embeddings)."""
        return [States(getattr(outputs, "hidden_states")[1:], self.positions(batch, STACK))]  # noqa: B009

    def depth(self, model: nn.Module) -> Mapping[str, int]:
        """The layers of the encoder."""
        return {STACK: int(_config(model).num_hidden_layers)}

    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """Nothing: the model runs in one pass."""
        return iter(())

    def first_difference(
        self, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
    ) -> str:
        """The first layer whose output differs."""
        found = [self.states(self.run(model, batch, hidden=True), batch)[0].layers for model in models]
        for layer, (a, b) in enumerate(zip(*found, strict=True)):
            if a.shape == b.shape and differs(a, b):
                return f"from layer {layer} on"
        return "in the classifier, or with a changed width"

    @torch.no_grad()
    def predict(self, model: nn.Module, batch: Batch) -> list[int]:
        """The likeliest class of every text."""
        classes: list[int] = self.run(model, batch).logits.argmax(-1).tolist()
        return classes

    def score(self, predicted: Sequence[int], expected: Sequence[int]) -> Score:
        """Accuracy."""
        return accuracy(predicted, expected)


def _config(model: nn.Module) -> Any:
    return model.config


TEXT_CLASSIFICATION = TextClassification()
