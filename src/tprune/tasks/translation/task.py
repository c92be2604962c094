"""Translation, as an encoder-decoder does it: how such a model is called, and what of its outputs counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from tprune.core.labels import IGNORED, label_loss
from tprune.core.model import Outputs
from tprune.core.task import Batch, States
from tprune.tasks.translation.encoding import Collate

SHORT = 7  # tokens
STACKS = ("encoder", "decoder")


@dataclass(frozen=True)
class Translation:
    """Source tokens to target tokens. A batch has `input_ids`, `attention_mask` and `labels`.

    Attributes:
        source: tokens of the example whose operations are counted.
        target: likewise.
    """

    source: int = 25
    target: int = 25
    name: ClassVar[str] = "translation"

    def matches(self, model: nn.Module) -> bool:
        """Whether it is an encoder-decoder that writes tokens."""
        return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))

    def example(self, model: nn.Module) -> Batch:
        """One sentence without padding."""
        config, device = _config(model), next(model.parameters()).device
        limit = int(config.max_position_embeddings)
        source, target = min(self.source, limit), min(self.target, limit)
        return {
            "input_ids": torch.zeros(1, source, dtype=torch.long, device=device),
            "attention_mask": torch.ones(1, source, dtype=torch.long, device=device),
            "labels": torch.zeros(1, target, dtype=torch.long, device=device),
        }

    def random(self, model: nn.Module) -> Batch:
        """Two short random sentences, the second padded."""
        chance, config = torch.Generator().manual_seed(0), _config(model)
        pad, vocabulary = int(config.pad_token_id), int(config.vocab_size)
        ids = torch.randint(vocabulary, (2, SHORT), generator=chance)
        ids[ids == pad] = (pad + 1) % vocabulary
        mask = torch.ones_like(ids)
        ids[1, -2:], mask[1, -2:] = pad, 0
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.roll(ids, 1, 1)}

    def collate(self, rows: Sequence[Any], pad: int) -> Batch:
        """A batch of encoded pairs."""
        return Collate(pad)(rows)

    def run(self, model: nn.Module, batch: Batch, *, hidden: bool = False) -> Outputs:
        """Logits (batch, target positions, tokens). The model computes no loss of its own, which nobody would read."""
        asks = {"output_hidden_states": True} if hidden else {}
        told = cast(Any, model).prepare_decoder_input_ids_from_labels(batch["labels"])
        found: Outputs = model(**self.prompt(batch), decoder_input_ids=told, use_cache=False, **asks)
        return found

    def prompt(self, batch: Batch) -> Batch:
        """The source."""
        return {key: value for key, value in batch.items() if key != "labels"}

    def loss(self, logits: Tensor, batch: Batch, smoothing: float = 0.0) -> Tensor:
        """Mean cross entropy of a target token (nats)."""
        return label_loss(logits, batch["labels"], smoothing)

    def labels(self, batch: Batch) -> Tensor:
        """The target tokens, (batch, target positions)."""
        return batch["labels"]

    def positions(self, batch: Batch, stack: str) -> Tensor:
        """Source tokens in the encoder, target tokens in the decoder."""
        return batch["attention_mask"].bool() if stack == "encoder" else batch["labels"] != IGNORED

    def states(self, outputs: Outputs, batch: Batch) -> Sequence[States]:
        """Of encoder and decoder, what their layers give (without the embeddings)."""
        return [
            States(getattr(outputs, f"{stack}_hidden_states")[1:], self.positions(batch, stack)) for stack in STACKS
        ]

    def depth(self, model: nn.Module) -> Mapping[str, int]:
        """Layers of encoder and decoder."""
        return {stack: int(getattr(_config(model), f"{stack}_layers")) for stack in STACKS}

    @torch.no_grad()
    def decode(self, models: Sequence[nn.Module], batch: Batch, steps: int) -> Iterator[Sequence[Tensor]]:
        """Greedy decoding by the first model; all step through the same tokens."""
        config = _config(models[0])
        source = self.prompt(batch)
        first = torch.full((len(source["input_ids"]), 1), int(config.decoder_start_token_id))
        token = first.to(source["input_ids"].device)
        callable_models: list[Any] = list(models)
        encoded = [model.get_encoder()(**source) for model in callable_models]
        caches: list[Any] = [None] * len(models)
        for _ in range(min(steps, int(config.max_position_embeddings) - 1)):
            logits = []
            for i, model in enumerate(callable_models):
                out = model(
                    encoder_outputs=encoded[i],
                    attention_mask=source["attention_mask"],
                    decoder_input_ids=token,
                    past_key_values=caches[i],
                    use_cache=True,
                )
                caches[i] = out.past_key_values
                logits.append(out.logits[:, -1])
            yield logits
            token = logits[0].argmax(-1, keepdim=True)

    def first_difference(
        self, models: Sequence[nn.Module], batch: Batch, differs: Callable[[Tensor, Tensor], bool]
    ) -> str:
        """The first layer whose output differs."""
        outputs = [self.run(model, batch, hidden=True) for model in models]
        for stack in STACKS:
            pairs = zip(*(getattr(found, f"{stack}_hidden_states") for found in outputs), strict=True)
            for layer, (a, b) in enumerate(pairs):
                if a.shape == b.shape and differs(a, b):
                    return f"from {stack} layer {layer - 1} on" if layer else f"from the {stack}'s embeddings on"
        return "in the output projection, or with a changed width"


def _config(model: nn.Module) -> Any:
    return model.config


TRANSLATION = Translation()
