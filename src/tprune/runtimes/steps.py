"""Steps of a decoder with a cache, whatever runtime takes them: the states of one step are fed to the next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tprune.core.graph import BATCH, Signature
from tprune.runtimes.layout import Layout
from tprune.runtimes.runtime import Array, Session
from tprune_runtime.decoding import Floats, Ints, Steps


class State(Steps, Protocol):
    """A batch that is being decoded, in the decoder's numbers of tokens (`TranslationLayout.numbers`, `.tokens`)."""

    def peek(self, tokens: Ints) -> Floats:
        """The logits of the step that `logits` takes, without taking it: what a decoder step is timed by."""


class Engine(Protocol):
    """An opened model that writes."""

    def start(self, rows: Ints, mask: Ints) -> State:
        """Runs the encoder on one padded batch, token ids and 1 where there is a token, both `[N, length]`."""
        ...

    def begin(self, source: Mapping[str, Array]) -> State:
        """Runs the encoder on one batch of its inputs, by name."""
        ...


def nothing_before(signature: Signature, rows: int) -> dict[str, Array]:
    """The states before the first step: caches of length 0."""
    free = {dim: 0 for spec in signature.past for dim in spec.dims if isinstance(dim, str)}
    return {spec.name: np.zeros(spec.shape(free | {BATCH: rows}), spec.dtype) for spec in signature.past}


class CachedGraph:
    """A graph with states, and what they are at the moment."""

    def __init__(self, session: Session, signature: Signature, rows: int) -> None:
        self._session, self._signature = session, signature
        self.past = nothing_before(signature, rows)
        self._outputs = (*signature.results, *(after for _, after in signature.states))

    def peek(self, feeds: Mapping[str, Array]) -> tuple[Array, list[Array]]:
        """The result of a step, and the states after it, without taking it."""
        result, *present = self._session.run(self._signature.name, {**feeds, **self.past}, self._outputs)
        return result, present

    def step(self, feeds: Mapping[str, Array]) -> Array:
        """The result of a step."""
        result, present = self.peek(feeds)
        self.past = dict(zip(self.past, present, strict=True))
        return result

    def take(self, rows: Ints) -> None:
        """Rows of the states."""
        self.past = {name: x[rows] for name, x in self.past.items()}


@dataclass(frozen=True)
class EncoderDecoderEngine:
    """The graphs `encoder` and `decoder` of a model that writes."""

    layout: Layout
    session: Session

    def start(self, rows: Ints, mask: Ints) -> EncoderDecoderSteps:
        """See `Engine`."""
        return self.begin({"input_ids": rows, "attention_mask": mask})

    def begin(self, source: Mapping[str, Array]) -> EncoderDecoderSteps:
        """See `Engine`. The decoder is given again what of the source it reads under the same name: the mask."""
        encoder, decoder = self.layout.graph("encoder"), self.layout.graph("decoder")
        crossing = self.session.run("encoder", source, encoder.outputs)
        again = {spec.name for spec in decoder.given} & {"attention_mask"}
        kept = {name: x for name, x in source.items() if name in again}
        rows = len(next(iter(source.values())))
        found = {**kept, **dict(zip(encoder.outputs, crossing, strict=True))}
        return EncoderDecoderSteps(CachedGraph(self.session, decoder, rows), found)


class EncoderDecoderSteps:
    """The state of a batch, in the decoder's numbers: see `State`."""

    def __init__(self, decoder: CachedGraph, source: dict[str, Array]) -> None:
        self._decoder, self._source, self._position = decoder, source, 0

    def logits(self, tokens: Ints) -> Floats:
        """One step: tokens `[N]` to logits `[N, V]`."""
        found = self._decoder.step(self._feeds(tokens))
        self._position += 1
        return found

    def peek(self, tokens: Ints) -> Floats:
        """The step `logits` makes, without taking it."""
        return self._decoder.peek(self._feeds(tokens))[0]

    def take(self, rows: Ints) -> None:
        """Rows of caches and sources."""
        self._source = {name: x[rows] for name, x in self._source.items()}
        self.reorder(rows)

    def reorder(self, rows: Ints) -> None:
        """Rows of the self-attention caches only: beams of one sentence share their source."""
        self._decoder.take(rows)

    def _feeds(self, tokens: Ints) -> dict[str, Array]:
        return {"input_ids": tokens[:, None], "position": np.array([self._position])} | self._source


class DecoderSteps:
    """The state of a batch of a decoder-only model, which is fed one or more tokens a row."""

    def __init__(self, session: Session, signature: Signature, rows: int) -> None:
        self._decoder = CachedGraph(session, signature, rows)
        self._names = signature.text
        self._mask = np.ones((rows, 0), np.int64)

    def logits(self, tokens: Ints) -> Floats:
        """Tokens `[N, T]` further: their logits `[N, T, V]`."""
        feeds = self._feeds(tokens)
        self._mask = feeds[self._names[1]]
        return self._decoder.step(feeds)

    def peek(self, tokens: Ints) -> Floats:
        """The step `logits` makes, without taking it."""
        return self._decoder.peek(self._feeds(tokens))[0]

    def take(self, rows: Ints) -> None:
        """Keeps, repeats or reorders the rows."""
        self._mask = self._mask[rows]
        self._decoder.take(rows)

    def _feeds(self, tokens: Ints) -> dict[str, Array]:
        return dict(zip(self._names, (tokens, np.concatenate([self._mask, np.ones_like(tokens)], 1)), strict=True))
