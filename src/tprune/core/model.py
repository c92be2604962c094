"""What the toolkit expects of models and tokenisers, whoever made them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Outputs(Protocol):
    """What a model returns."""

    @property
    def logits(self) -> Tensor:
        """(batch, ..., classes or tokens)."""
        ...


@runtime_checkable
class Encoding(Protocol):
    """What a tokeniser makes of texts."""

    @property
    def input_ids(self) -> list[list[int]]:
        """The ids of every text, its end token included."""
        ...


@runtime_checkable
class Processor(Protocol):
    """What encodes a model's inputs: a tokeniser, or image preprocessing."""

    def save_pretrained(self, save_directory: str | Path) -> object:
        """Writes its files into a directory."""
        ...


@runtime_checkable
class Tokenizer(Protocol):
    """A tokeniser as transformers has them (`PreTrainedTokenizerBase`)."""

    def __call__(self, text: list[str], *, verbose: bool = True) -> Encoding:
        """The ids of texts."""
        ...

    def __len__(self) -> int:
        """How many tokens it knows, added ones included."""
        ...

    def get_vocab(self) -> dict[str, int]:
        """The id of every token."""
        ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str:
        """The text of ids."""
        ...

    def save_pretrained(self, save_directory: str | Path) -> object:
        """Writes its files into a directory."""
        ...


if TYPE_CHECKING:

    class Config(Protocol):
        """A model's configuration."""

        model_type: str

        def __getattr__(self, name: str) -> Any:
            """A setting; which there are depends on the architecture."""
            ...

        def __setattr__(self, name: str, value: object) -> None:
            """Changes a setting."""
            ...

        def to_dict(self) -> dict[str, object]:
            """All settings."""
            ...

    class Model(nn.Module):
        """A model as transformers has them (`PreTrainedModel`), dense or pruned. At run time any `torch.nn.Module`."""

        config: Config
        generation_config: Config

        def __call__(self, *inputs: Tensor | None, **named: Tensor | None) -> Outputs:
            """Logits of a batch."""
            ...

        def generate(self, *inputs: Tensor, **settings: object) -> Tensor:
            """Ids that the model writes, (batch, length)."""
            ...
else:
    Model = nn.Module
