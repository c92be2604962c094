"""The caches of a decoder that runs step by step: what a graph hands on from one step to the next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tprune.core.graph import BATCH, Signature, TensorSpec


@dataclass(frozen=True)
class LayerCache:
    """One decoder layer's keys `[B, heads, T, key]` and values `[B, heads, T, value]`."""

    layer: int
    heads: int
    key: int
    value: int

    def names(self, kind: Literal["cross", "past", "present"]) -> tuple[str, str]:
        """The names of both tensors in the graphs.

        Example:
            >>> LayerCache(2, 4, 16, 16).names("past")
            ('past_key_2', 'past_value_2')
        """
        return f"{kind}_key_{self.layer}", f"{kind}_value_{self.layer}"

    def inputs(self, kind: Literal["cross", "past"], length: str | int) -> tuple[TensorSpec, TensorSpec]:
        """Both tensors as inputs of a graph; `length` is what their free size is called, or its number."""
        key, value = self.names(kind)
        return (
            TensorSpec(key, "float32", (BATCH, self.heads, length, self.key)),
            TensorSpec(value, "float32", (BATCH, self.heads, length, self.value)),
        )


Caches = tuple[LayerCache, ...]


def translation_signatures(cross: Caches, past: Caches) -> tuple[Signature, Signature]:
    """The signatures of the graphs `encoder` and `decoder` of a translation model, from the sizes of their caches."""
    source = (
        TensorSpec("input_ids", "int64", (BATCH, "source")),
        TensorSpec("attention_mask", "int64", (BATCH, "source"), 1),
    )
    return _signatures(source, source[1:], "source", cross, past)


def speech_signatures(
    features: tuple[int, int], positions: int, cross: Caches, past: Caches
) -> tuple[Signature, Signature]:
    """The signatures of the graphs `encoder` and `decoder` of a model that hears recordings, all of one length.

    Args:
        features: bands and frames of a recording.
        positions: of the encoder, of each recording.
        cross: the sizes of the caches that are made of the recording.
        past: those of the caches that grow.
    """
    return _signatures((TensorSpec("input_features", "float32", (BATCH, *features)),), (), positions, cross, past)


def _signatures(
    source: tuple[TensorSpec, ...], again: tuple[TensorSpec, ...], length: str | int, cross: Caches, past: Caches
) -> tuple[Signature, Signature]:
    """Of an encoder that reads `source`, and of a decoder that reads some of it again, beside what was made of it."""
    crossing = tuple(spec for layer in cross for spec in layer.inputs("cross", length))
    before = tuple(spec for layer in past for spec in layer.inputs("past", "past"))
    after = tuple(name for layer in past for name in layer.names("present"))
    step = (
        TensorSpec("input_ids", "int64", (BATCH, 1)),
        TensorSpec("position", "int64", (1,)),
        *again,
        *crossing,
        *before,
    )
    states = tuple((spec.name, name) for spec, name in zip(before, after, strict=True))
    return (
        Signature("encoder", source, tuple(spec.name for spec in crossing)),
        Signature("decoder", step, ("logits", *after), states),
    )
