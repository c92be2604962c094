"""What tasks share whose models read tokens, in one stack of layers or in several.

A batch has `input_ids`, `attention_mask` and `labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tprune.core.labels import label_loss
from tprune.core.model import Outputs
from tprune.core.task import Batch, States
from tprune.realise.checkpoint import load_tokenizer
from tprune.support.errors import InputError


class OverTokens:
    """A model whose inputs are token ids, made by the tokeniser beside it."""

    def processor(self, folder: str | Path) -> Any:
        """The tokeniser beside a model. Raises `InputError` where there is none."""
        return load_tokenizer(folder)

    def prompt(self, batch: Batch) -> Batch:
        """The tokens."""
        return {key: value for key, value in batch.items() if key != "labels"}

    def labels(self, batch: Batch) -> Tensor:
        """What is expected of every output."""
        return batch["labels"]

    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """Mean cross entropy of an output (nats)."""
        return label_loss(logits, self.labels(batch), smoothing)


class OneStack(OverTokens):
    """A model that is called with tokens and their mask, whatever its layers are called."""

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """Its outputs; the model computes no loss of its own, which nobody would read."""
        found: Outputs = model(**self.prompt(batch), **({"output_hidden_states": True} if hidden else {}))
        return found

    def positions(self, batch: Batch, stack: str) -> Tensor:
        """The tokens that are no padding."""
        return batch["attention_mask"].bool()

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """What the layers give (without the embeddings)."""
        found: Any = outputs
        return [States(found.hidden_states[1:], self.positions(batch, ""))]

    def depth(self, model: nn.Module) -> Mapping[str, int]:
        """The layers."""
        return {"hidden": int(settings(model).num_hidden_layers)}

    def first_difference(
        self, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
    ) -> str:
        """The first layer whose output differs."""
        found = [self.states(self.run(model, batch, hidden=True), batch)[0].layers for model in models]
        for layer, (a, b) in enumerate(zip(*found, strict=True)):
            if a.shape == b.shape and differs(a, b):
                return f"from layer {layer} on"
        return "in the output layer, or with a changed width"


def settings(model: nn.Module) -> Any:
    """A model's configuration."""
    return model.config


def is_for(model: nn.Module, head: str) -> bool:
    """Whether a model, or what it was pruned from, is a class of transformers with this head, as `ForCausalLM`."""
    return any(kind.__name__.endswith(head) for kind in type(model).__mro__)


def check_data(data: object, expected: type | tuple[type, ...], task: str) -> None:
    """Raises `InputError` where data is of another kind than a task encodes."""
    if not isinstance(data, expected):
        kinds = expected if isinstance(expected, tuple) else (expected,)
        raise InputError(f"{task}: {type(data).__name__}; expected {' or '.join(kind.__name__ for kind in kinds)}")
