"""Greedy and beam search in numpy, step for step what transformers 5.23's `generate` does.

A sentence that is done leaves the batch at once. `generate` keeps it until all are done, but changes nothing on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from tprune_runtime.generation import Generation

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
NEVER = np.float32(-1e9)  # generate's "this cannot win"


class Steps(Protocol):
    """A batch that is being decoded: rows of caches."""

    def logits(self, tokens: Ints) -> Floats:
        """Feeds one token a row, `[N]`; gives the next token's logits `[N, V]` and remembers the caches."""

    def take(self, rows: Ints) -> None:
        """Keeps, repeats or reorders the rows: afterwards row i is the old `rows[i]`, with the source it belongs to."""

    def reorder(self, rows: Ints) -> None:
        """As `take`, for rows that stay with the same source (the cheap half)."""


def forced_steps(state: Steps, fed: Ints) -> Floats:
    """The logits `[B, T, V]` of steps that are fed the tokens `[B, T]`."""
    return np.stack([state.logits(fed[:, t]) for t in range(fed.shape[1])], 1)


def log_softmax(x: Floats) -> Floats:
    """Along the last axis."""
    shifted = x - x.max(-1, keepdims=True)
    out: Floats = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return out


def constrain(scores: Floats, prefix: Ints, g: Generation) -> Floats:
    """The logits processors in transformers' order.

    These are repeated tokens and n-grams, forbidden words, least length, forced first and last token.

    All but `renormalize_logits`, which changes nothing for the likeliest token; see `log_probabilities`.
    `prefix` is `[N, length]` with the start token; `scores` `[N, V]` may be changed in place.
    """
    length = prefix.shape[1]
    if g.repetition_penalty != 1:
        _penalise(scores, prefix, g.repetition_penalty)
    if 0 < g.no_repeat_ngram_size <= length:
        _forbid_repeats(scores, prefix, g.no_repeat_ngram_size)
    scores[:, g.never] = -np.inf
    if length == _first(g) and g.begin_suppress_tokens:
        scores[:, list(g.begin_suppress_tokens)] = -np.inf
    for word in g.phrases:
        before = len(word) - 1
        if before <= length:
            rows = (prefix[:, length - before :] == np.array(word[:-1], np.int64)).all(1)
            scores[rows, word[-1]] = -np.inf
    if length < g.min_length:
        scores[:, list(g.eos_token_id)] = -np.inf
    if length == 1 and g.forced_bos_token_id is not None:
        scores[:] = -np.inf
        scores[:, g.forced_bos_token_id] = 0
    if length == g.max_length - 1 and g.forced_eos_token_id:
        scores[:] = -np.inf
        scores[:, list(g.forced_eos_token_id)] = 0
    return scores


def _first(g: Generation) -> int:
    """How many tokens go before the first one that is chosen: what outputs begin with, and a forced token."""
    begun = len(g.begun)
    return begun + 1 if begun == 1 and g.forced_bos_token_id is not None else begun


def _penalise(scores: Floats, prefix: Ints, penalty: float) -> None:
    """Makes every token of the prefix, the start token too, less likely (a penalty below 1: more likely)."""
    rows = np.arange(len(prefix))[:, None]
    said = scores[rows, prefix]
    scores[rows, prefix] = np.where(said < 0, said * penalty, said / penalty)


def _forbid_repeats(scores: Floats, prefix: Ints, size: int) -> None:
    """Forbids the tokens that would complete an n-gram which the prefix, with its start token, has already."""
    grams = sliding_window_view(prefix, size, axis=1)
    begun = prefix[:, prefix.shape[1] + 1 - size :]
    rows, places = np.nonzero((grams[:, :, :-1] == begun[:, None]).all(-1))
    scores[rows, grams[rows, places, -1]] = -np.inf


def log_probabilities(logits: Floats, prefix: Ints, g: Generation) -> Floats:
    """Of the next token, with the processors before or after the softmax as `renormalize_logits` says."""
    if g.renormalize_logits:
        # `generate` has a softmax before and after; the first one matters only to a processor that multiplies
        scores = log_softmax(logits) if g.repetition_penalty != 1 else logits
        return log_softmax(constrain(scores, prefix, g))
    return constrain(log_softmax(logits), prefix, g)


def _begin(steps: Steps, rows: int, g: Generation) -> None:
    """Feeds what every output begins with, but for its last token."""
    for token in g.begun[:-1]:
        steps.logits(np.full(rows, token, np.int64))


def greedy(steps: Steps, rows: int, g: Generation) -> list[list[int]]:
    """The likeliest token each time. Returns each row's tokens, without those that it begins with, up to the end."""
    out: list[list[int]] = [[] for _ in range(rows)]
    alive, written = np.arange(rows), np.full((rows, g.max_length), g.decoder_start_token_id, np.int64)
    written[:, : len(g.begun)] = g.begun
    _begin(steps, rows, g)
    for length in range(len(g.begun), g.max_length):
        prefix = written[:, :length]
        tokens = constrain(steps.logits(prefix[:, -1]), prefix, g).argmax(-1)
        written[:, length] = tokens
        for row, token in zip(alive.tolist(), tokens.tolist(), strict=True):
            out[row].append(token)
        ended = _ends(tokens, g)
        if ended.any():
            going = np.flatnonzero(~ended)
            if not len(going):
                break
            alive, written = alive[going], written[going]
            steps.take(going)
    return out


def streamed(steps: Steps, g: Generation) -> Iterator[int]:
    """The tokens of one row as soon as each is known; together they are what `greedy` returns."""
    _begin(steps, 1, g)
    written, begun = list(g.begun), len(g.begun)
    while len(written) < g.max_length and (len(written) == begun or written[-1] not in g.eos_token_id):
        prefix = np.array([written], np.int64)
        written.append(int(constrain(steps.logits(prefix[:, -1]), prefix, g).argmax()))
        yield written[-1]


def beam(steps: Steps, rows: int, beams: int, g: Generation) -> list[list[int]]:
    """Beam search: the best finished hypothesis of each row, by summed log-probability / length^length_penalty.

    Returns token lists as `greedy` does.
    """
    begun = len(g.begun)
    _begin(steps, rows, g)
    steps.take(np.repeat(np.arange(rows), beams))
    state = _Beams.start(rows, beams, g)
    out: list[list[int]] = [[] for _ in range(rows)]
    for length in range(begun, g.max_length):
        prefix = state.running[:, :, :length].reshape(-1, length)
        scores = log_probabilities(steps.logits(prefix[:, -1]), prefix, g)
        state, parents, done = _advance(state, scores, length, g)
        for i in np.flatnonzero(done):
            out[state.ids[i]] = state.best[i, 0, begun : state.best_lengths[i, 0]].tolist()
        if done.all():
            break
        source_rows = (np.arange(len(parents))[:, None] * beams + parents)[~done].ravel()
        (steps.take if done.any() else steps.reorder)(source_rows)
        state = state.only(~done)
    return out


@dataclass(frozen=True)
class _Beams:
    """Arrays `[B, k, ...]` of the sentences still searched; `ids` are their rows in the batch."""

    ids: Ints
    running: Ints
    scores: Floats
    best: Ints  # the finished hypotheses so far, best first
    best_scores: Floats
    best_lengths: Ints
    finished: Bools

    @staticmethod
    def start(rows: int, beams: int, g: Generation) -> _Beams:
        running = np.full((rows, beams, g.max_length), g.pad_token_id, np.int64)
        running[:, :, : len(g.begun)] = g.begun
        scores = np.zeros((rows, beams), np.float32)
        scores[:, 1:] = NEVER  # all beams are equal at first: only one may branch
        none = np.full((rows, beams), NEVER)
        lengths, finished = np.full((rows, beams), len(g.begun)), np.zeros((rows, beams), np.bool_)
        return _Beams(np.arange(rows), running, scores, running.copy(), none, lengths, finished)

    def only(self, rows: Bools) -> _Beams:
        return self if rows.all() else _Beams(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def _advance(s: _Beams, scores: Floats, length: int, g: Generation) -> tuple[_Beams, Ints, Bools]:
    """One step with the next tokens' log-probabilities `[B*k, V]`; also gives each beam's parent and who is done."""
    rows, beams, limit = s.running.shape
    vocabulary, new = scores.shape[-1], length + 1 - len(g.begun)  # tokens that were searched for
    total = (scores.reshape(rows, beams, vocabulary) + s.scores[:, :, None]).reshape(rows, -1)
    # with one end token at most `beams` candidates end, so twice as many leave `beams` to go on with
    candidates, index = _top(total, max(2, 1 + len(g.eos_token_id)) * beams)
    parents, tokens = np.divmod(index, vocabulary)
    sequences = _take(s.running, parents)
    sequences[:, :, length] = tokens
    hits = _ends(tokens, g) | (length + 1 >= limit)

    running_scores, chosen = _top(candidates + hits * NEVER, beams)
    running, running_parents = _take(sequences, chosen), _take(parents, chosen)

    ended = hits.copy()
    ended[:, beams:] = False  # the rest are only there to keep enough beams running
    ended_scores = candidates / np.float32(new**g.length_penalty) + ~ended * NEVER
    if g.early_stopping is True:
        ended_scores = ended_scores + s.finished.all(1, keepdims=True) * NEVER
    best_scores, order = _top(np.concatenate([s.best_scores, ended_scores], 1), beams)
    best = _take(np.concatenate([s.best, sequences], 1), order)
    best_lengths = _take(np.concatenate([s.best_lengths, np.full_like(tokens, length + 1)], 1), order)
    finished = _take(np.concatenate([s.finished, ended], 1), order)

    horizon = limit - len(g.begun) if g.early_stopping == "never" and g.length_penalty > 0 else new
    possible = running_scores[:, :1] / np.float32(horizon**g.length_penalty)
    worst = np.where(finished, best_scores.min(1, keepdims=True), NEVER)
    done = ~(possible > worst).any(1) | hits.all(1)
    if g.early_stopping is True:
        done |= finished.all(1)
    return _Beams(s.ids, running, running_scores, best, best_scores, best_lengths, finished), running_parents, done


def _ends(tokens: Ints, g: Generation) -> Bools:
    """Which tokens end a sentence (`np.isin` takes ten times longer on so few)."""
    found = np.zeros(tokens.shape, np.bool_)
    for end in g.eos_token_id:
        found |= tokens == end
    return found


def _top(x: Floats, k: int) -> tuple[Floats, Ints]:
    """The `k` largest of each row, largest first, and where they stand (the first of equals)."""
    part = np.sort(np.argpartition(-x, k - 1, axis=1)[:, :k], axis=1)
    values = np.take_along_axis(x, part, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(values, order, 1), np.take_along_axis(part, order, 1)


def _take(x: NDArray[Any], beams: Ints) -> NDArray[Any]:
    index = beams.reshape(beams.shape + (1,) * (x.ndim - 2))
    return np.take_along_axis(x, index, 1)
