"""The golden outputs of an exported model: inputs as ids, and what the model makes of them on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tprune.core.graph import BATCH, TOKENS, TOTAL, TensorSpec
from tprune.runtimes.forced import CHUNK, FED, STEPS, forced
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.opened import Opened
from tprune.runtimes.runtime import Array
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError
from tprune_runtime.batches import padded
from tprune_runtime.decoding import Floats, Ints, constrain, forced_steps, greedy
from tprune_runtime.digest import digest, ties
from tprune_runtime.replay import pattern

GOLDEN = "golden.jsonl"
SEARCHED, PASSED = 4, 3  # cases of either kind at most
CONTINUED = 16  # tokens that a language model adds to a text
PATTERN = (7919, 2003)  # of `tprune_runtime.replay.pattern`: what an input that is no token is filled with
WIDTH = 12  # tokens of a text where nothing is given


@dataclass(frozen=True)
class Case:
    """Inputs, and what the model makes of them.

    Attributes:
        name: of the case, with its kind.
        inputs: of the encoder, or of the one graph; the tokens that are fed are none of them.
        logits: of all positions that are replayed.
        fed: the decoder's numbers of the tokens that it is fed, (rows, steps).
        begun: what a greedy search begins with: the start token, or a text.
        ids: the tokens that it writes, up to the first that two logits are too close for.
    """

    name: str
    inputs: Mapping[str, Array]
    logits: Floats
    fed: Ints | None = None
    begun: tuple[int, ...] = ()
    ids: tuple[int, ...] | None = None
    patterns: frozenset[str] = field(default_factory=frozenset)

    def to_dict(self, limit: float) -> dict[str, Any]:
        """A line of the file; `limit` is how far logits may be off elsewhere."""
        found: dict[str, Any] = {"name": self.name, "inputs": {name: self._input(name) for name in self.inputs}}
        if self.fed is not None:
            found["fed"] = self.fed.tolist()
        if self.ids is not None:
            found |= {"begun": list(self.begun), "ids": list(self.ids)}
        return found | {"digest": digest(self.logits, limit)}

    def _input(self, name: str) -> dict[str, Any]:
        x = self.inputs[name]
        what = {"pattern": list(PATTERN)} if name in self.patterns else {"values": x.ravel().tolist()}
        return {"shape": list(x.shape), **what}


def golden(opened: Opened, texts: Sequence[Sequence[int]], limit: float) -> list[Case]:
    """The golden cases of a model.

    Args:
        opened: the exported model.
        texts: token ids of some inputs; none for a model that reads no text.
        limit: how far logits may be off elsewhere, over the largest.

    Raises:
        InputError: no text for a model that translates, or logits that are no numbers.
    """
    cases = list(_cases(opened, texts, limit))
    if bad := [case.name for case in cases if np.isnan(case.logits).any()]:
        raise InputError(f"{bad[0]}: logits are no numbers; expected an exported model that computes some")
    return cases


def _cases(opened: Opened, texts: Sequence[Sequence[int]], limit: float) -> Iterator[Case]:
    if isinstance(opened, Translator):
        return _translated(opened, texts, limit)
    assert isinstance(opened, OnePass)  # no bundle hears recordings
    return _stepped(opened, texts, limit) if opened.graph.states else _passed(opened, texts)


def _translated(opened: Translator, texts: Sequence[Sequence[int]], limit: float) -> Iterator[Case]:
    if not texts:
        raise InputError("no sentences for the golden outputs of a translation model; expected at least one")
    found = [_searched(opened, text, limit) for text in texts]
    best = sorted(found, key=lambda case: -len(case.ids or ()))[:SEARCHED]
    for number, case in enumerate((case for case in best if case.ids), start=1):
        yield Case(f"greedy {number}", case.inputs, case.logits, None, case.begun, case.ids)
    layout = opened.layout
    steps = min(STEPS, layout.limits.get("past", STEPS + 1) - 1)
    start = layout.decoding.decoder_start_token_id
    written = greedy(opened.start([texts[0]]), 1, layout.decoding)[0]
    again = (written * (steps // max(1, len(written)) + 1))[: steps - 1]
    mixed = np.random.default_rng(0).integers(0, layout.writable, (2, steps - 1)).tolist()
    for name, rows in (("forced", [again]), ("forced, two inputs", mixed)):
        fed = np.array([[start, *row] for row in rows], np.int64)
        inputs = _padded([*texts, *texts][: len(rows)], layout.generation.pad_token_id)
        yield Case(f"{name}, {steps} steps", inputs, forced(opened, {**inputs, FED: fed}), fed)


def _searched(opened: Translator, text: Sequence[int], limit: float) -> Case:
    """What greedy search writes, up to the first token that could be another where logits are off by the limit."""
    layout = opened.layout
    g = layout.decoding
    numbers = greedy(opened.start([text]), 1, g)[0]
    said = np.array([[g.decoder_start_token_id, *numbers]], np.int64)
    logits = forced_steps(opened.start([text]), said[:, :-1])
    off = limit * float(np.abs(logits[logits > -1e4]).max())
    scores = [constrain(logits[:, t].copy(), said[:, : t + 1], g) for t in range(len(numbers))]
    sure = _before_a_tie(scores, off)
    ids = tuple(layout.tokens(numbers[:sure]).tolist()) if sure else ()
    inputs = _padded([text], layout.generation.pad_token_id)
    return Case("greedy", inputs, logits[:, :sure], None, (g.decoder_start_token_id,), ids)


def _before_a_tie(scores: Sequence[Floats], off: float) -> int:
    return next((t for t, row in enumerate(scores) if ties(row, off)[0]), len(scores))


def _padded(rows: Sequence[Sequence[int]], pad: int) -> dict[str, Array]:
    return dict(zip(("input_ids", "attention_mask"), padded(rows, pad), strict=True))


def _stepped(opened: OnePass, texts: Sequence[Sequence[int]], limit: float) -> Iterator[Case]:
    """A language model with a cache: whole texts, forced steps, and greedy search from a text."""
    tokens, mask = opened.graph.text
    most = opened.layout.limits.get(TOTAL, STEPS + CONTINUED)
    texts = [text[:most] for text in texts] or [_random(opened, tokens, mask)]
    for number, text in enumerate(texts[:PASSED], start=1):
        ids = np.array([text], np.int64)
        inputs = {tokens: ids, mask: np.ones_like(ids)}
        yield Case(f"pass {number}", inputs, opened.logits(inputs))
    steps = min(STEPS, most)
    row = [token for text in texts for token in text]
    row = row * (2 * steps // len(row) + 1)
    for name, fed in (("forced", [row[:steps]]), ("forced, two inputs", [row[:steps], row[steps : 2 * steps]])):
        job = {FED: np.array(fed, np.int64), CHUNK: np.array(1)}
        yield Case(f"{name}, {steps} steps", {}, forced(opened, job), job[FED])
    yield from _continued(opened, texts[0][: max(1, most - CONTINUED)], min(CONTINUED, most - 1), limit)


def _continued(opened: OnePass, text: Sequence[int], steps: int, limit: float) -> Iterator[Case]:
    state, fed = opened.start(1), list(text)
    logits, ids = [], []
    for _ in range(steps):
        logits.append(state.logits(np.array([fed], np.int64))[:, -1])
        fed = [int(logits[-1].argmax())]
        ids += fed
    sure = _before_a_tie(logits, limit * float(np.abs(np.stack(logits)).max()))
    if sure:
        yield Case("greedy 1", {}, np.stack(logits[:sure], 1), None, tuple(text), tuple(ids[:sure]))


def _random(opened: OnePass, tokens: str, mask: str) -> list[int]:
    """A text where nothing is given: tokens of the vocabulary, which are as many as logits."""
    one = np.ones((1, 1), np.int64)
    classes = opened.logits({tokens: 0 * one, mask: one}).shape[-1]
    found: list[int] = np.random.default_rng(0).integers(0, classes, WIDTH).tolist()
    return found


def _passed(opened: OnePass, texts: Sequence[Sequence[int]]) -> Iterator[Case]:
    """A model that runs in one pass: one by one, and two together."""
    most = opened.layout.limits.get(TOKENS, WIDTH if not texts else max(map(len, texts)))
    texts = [text[:most] for text in texts]
    patterns = frozenset(spec.name for spec in opened.graph.given if not _whole(spec))
    jobs = [_inputs(opened, [text]) for text in texts[:PASSED]] or [_inputs(opened, [[]])]
    width = min(map(len, texts[:2]), default=0)
    jobs.append(_inputs(opened, [text[:width] for text in [*texts, *texts][:2]] or [[], []]))
    for number, inputs in enumerate(jobs, start=1):
        yield Case(f"pass {number}", inputs, opened.logits(inputs), patterns=patterns)


def _inputs(opened: OnePass, rows: Sequence[Sequence[int]]) -> dict[str, Array]:
    """Texts as the inputs of a graph; what is not given has its typical value, or the pattern."""
    sizes = {BATCH: len(rows), TOKENS: max(map(len, rows)) or WIDTH}
    found: dict[str, Array] = {}
    for spec in opened.graph.given:
        shape = spec.shape(sizes)
        if not _whole(spec):
            found[spec.name] = pattern(shape, *PATTERN).astype(spec.dtype)
        elif spec.name == "input_ids" and rows[0]:
            found[spec.name] = np.array(rows, spec.dtype)
        else:
            found[spec.name] = np.full(shape, spec.fill, spec.dtype)
    return found


def _whole(spec: TensorSpec) -> bool:
    return not np.issubdtype(np.dtype(spec.dtype), np.floating)
