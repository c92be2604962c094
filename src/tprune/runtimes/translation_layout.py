"""What an exported model that writes says beyond its graphs: how it decodes, and which tokens its decoder knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.core.graph import TensorSpec
from tprune.runtimes.layout import Layout, fields_of, whole
from tprune_runtime.generation import Generation, fault, plain

VOCABULARY, POSITIONS = 10_000_000, 100_000  # more than any model has; what is read from a file asks for memory
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class TranslationLayout(Layout):
    """The layout of a model that writes: a translation model, or one that hears recordings.

    `macs` are those of its task's example, such as 25 source and 25 target tokens.

    Attributes:
        generation: how it decodes.
        vocabulary: how many tokens it has.
        source_positions: how many tokens a sentence may have; of a recording the positions of the encoder.
        rows: the tokens that the decoder knows, ascending (none: all); the decoder numbers them 0, 1, 2, ...
    """

    generation: Generation
    vocabulary: int
    source_positions: int
    rows: tuple[int, ...] = ()

    @cached_property
    def decoding(self) -> Generation:
        """`generation` in the decoder's numbers.

        A forbidden word with a token that the decoder does not know is gone.
        """
        if not self.rows:
            return self.generation
        row, g = {token: row for row, token in enumerate(self.rows)}, self.generation
        return replace(
            g,
            decoder_start_token_id=row[g.decoder_start_token_id],
            pad_token_id=row[g.pad_token_id],
            eos_token_id=tuple(row[end] for end in g.eos_token_id),
            bad_words_ids=tuple(tuple(row[t] for t in word) for word in g.bad_words_ids if all(t in row for t in word)),
            prefix=tuple(row[token] for token in g.prefix),
            begin_suppress_tokens=tuple(row[token] for token in g.begin_suppress_tokens if token in row),
            forced_bos_token_id=None if g.forced_bos_token_id is None else row[g.forced_bos_token_id],
            forced_eos_token_id=tuple(row[end] for end in g.forced_eos_token_id),
        )

    @property
    def hears(self) -> TensorSpec | None:
        """The features of recordings that its encoder reads; None where it reads tokens."""
        encoder = next((graph for graph in self.graphs if graph.name == "encoder"), None)
        given = () if encoder is None else encoder.inputs
        return next((spec for spec in given if spec.dtype.startswith("float")), None)

    @property
    def writable(self) -> int:
        """How many tokens the decoder knows."""
        return len(self.rows) or self.vocabulary

    def tokens(self, rows: Sequence[int] | Ints) -> Ints:
        """The tokens of the decoder's numbers."""
        numbers = np.asarray(rows, np.int64)
        return self._known[numbers] if self.rows else numbers

    def numbers(self, tokens: Sequence[int] | Ints) -> Ints:
        """The decoder's numbers of tokens that it knows."""
        ids = np.asarray(tokens, np.int64)
        return np.searchsorted(self._known, ids) if self.rows else ids

    @cached_property
    def _known(self) -> Ints:
        return np.array(self.rows, np.int64)  # once: every sentence asks

    def to_dict(self) -> dict[str, Any]:
        """See `Layout.to_dict`."""
        more = {"generation": plain(self.generation), "rows": list(self.rows)}
        return super().to_dict() | more | {name: getattr(self, name) for name in ("vocabulary", "source_positions")}

    def faults(self) -> Iterator[str]:
        """See `Layout.faults`."""
        yield from whole("vocabulary", self.vocabulary, 1, VOCABULARY)
        yield from whole("source_positions", self.source_positions, 1, POSITIONS)
        yield from super().faults()
        rows = self.rows
        if any(type(row) is not int for row in rows) or list(rows) != sorted(set(rows)):
            yield "rows are not ascending token ids"
        elif not all(0 <= row < self.vocabulary for row in rows):
            yield f"rows are not token ids below {self.vocabulary}"
        # encoder and decoder of a model that reads tokens have equally many positions
        positions = self.source_positions if self.hears is None else self.limits.get("past", self.source_positions)
        if (wrong := fault(self.generation, self.vocabulary, positions)) is not None:
            yield wrong
        _ = self.decoding  # fails where the start, end or padding token has no row


def translation_layout(raw: Mapping[str, Any]) -> TranslationLayout:
    """From plain data. Raises as `fields_of`."""
    generation = Generation(**{key: _tuples(value) for key, value in raw["generation"].items()})
    sizes = {name: raw[name] for name in ("vocabulary", "source_positions")}
    return TranslationLayout(**fields_of(raw), generation=generation, rows=tuple(raw["rows"]), **sizes)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
