"""What encoders are given to be compared with their exports: padded sentences, or features of recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationMixin

from tprune.runtimes.runtime import Array
from tprune_runtime.batches import padded

Inputs = Sequence[Any]  # token ids of sentences, or features of recordings


class Source(Protocol):
    """How a model is given its inputs."""

    @property
    def one(self) -> str:
        """What an input is, in messages."""
        ...

    def arrays(self, inputs: Inputs) -> dict[str, Array]:
        """One batch, by the names of the encoder's inputs."""
        ...

    def generate(self, model: Any, inputs: Inputs, **how: Any) -> Tensor:
        """What transformers' `generate` writes of one batch, with what outputs begin with."""
        ...


@dataclass(frozen=True)
class Sentences:
    """Token ids, filled up with padding.

    Attributes:
        pad: its id.
    """

    pad: int
    one: ClassVar[str] = "sentence"

    def arrays(self, inputs: Inputs) -> dict[str, Array]:
        """See `Source`."""
        return dict(zip(("input_ids", "attention_mask"), padded(inputs, self.pad), strict=True))

    def generate(self, model: Any, inputs: Inputs, **how: Any) -> Tensor:
        """See `Source`."""
        found: Tensor = model.generate(**_tensors(self.arrays(inputs)), **how)
        return found


@dataclass(frozen=True)
class Sounds:
    """Features of recordings, all of one length.

    Attributes:
        name: of the encoder's input.
        begun: the tokens that every transcript begins with.
    """

    name: str
    begun: tuple[int, ...]
    one: ClassVar[str] = "recording"

    def arrays(self, inputs: Inputs) -> dict[str, Array]:
        """See `Source`."""
        return {self.name: np.stack([np.asarray(one, np.float32) for one in inputs])}

    def generate(self, model: Any, inputs: Inputs, **how: Any) -> Tensor:
        """See `Source`. Whisper's own `generate` looks for time stamps, in pieces of long recordings."""
        features = torch.from_numpy(self.arrays(inputs)[self.name])
        found: Any = GenerationMixin.generate(
            model,
            features,
            attention_mask=torch.ones(len(features), features.shape[-1], dtype=torch.long),
            decoder_input_ids=torch.tensor([self.begun] * len(features)),
            do_sample=False,
            max_new_tokens=None,
            **how,
        )
        rows: Tensor = found
        return rows


def _tensors(arrays: dict[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(x) for name, x in arrays.items()}
