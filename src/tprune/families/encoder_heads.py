"""What the heads of transformers' classes have of a residual stream, and where their base model lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from tprune.core.views import View


@dataclass(frozen=True)
class Head:
    """What lies outside the base model and reads or writes the stream, by names of modules.

    Attributes:
        readers: linear maps out of the stream.
        writers: linear maps into what a tied output layer reads, whose dimensions are those of the embeddings.
        norms: layer norms of these dimensions.
        tensors: views of what else reads it, such as convolutions.

    Example:
        >>> (Head(readers=("classifier",)) + Head(norms=("norm",))).norms
        ('norm',)
    """

    readers: tuple[str, ...] = ()
    writers: tuple[str, ...] = ()
    norms: tuple[str, ...] = ()
    tensors: tuple[View, ...] = ()

    def __add__(self, other: Head) -> Head:
        """Both."""
        return Head(
            (*self.readers, *other.readers),
            (*self.writers, *other.writers),
            (*self.norms, *other.norms),
            (*self.tensors, *other.tensors),
        )


def head_of(model: nn.Module, heads: Mapping[type[nn.Module], Head]) -> Head | None:
    """The head of a model's class, or of the class that it is made from; None where it is not known.

    Args:
        model: any module.
        heads: by class.
    """
    return next((heads[kind] for kind in type(model).__mro__ if kind in heads), None)


def root_of(model: PreTrainedModel) -> str:
    """What names of the base model's modules begin with: nothing where the model is its own base.

    Args:
        model: of transformers.
    """
    return "" if model.base_model is model else f"{model.base_model_prefix}."


def vocabulary_head(dense: str, norm: str, output: str) -> Head:
    """A head that predicts words: a map of the stream into the dimensions of the embeddings, a norm, an output layer.

    Where the output layer is tied to the embeddings, these dimensions must be those of the stream; elsewhere they are
    cut with it too.

    Args:
        dense: the map.
        norm: the norm.
        output: the output layer.
    """
    return Head(readers=(dense, output), writers=(dense,), norms=(norm,))
