"""How each phase of an exported model is timed. Needs no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.bench.known_phases import PHASES, Feed, Phase, Reply, Request
from tprune.core.graph import BATCH, PAST, TOKENS, TOTAL
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.opened import Opened
from tprune.runtimes.steps import State
from tprune.runtimes.transcriber import Transcriber
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError

SPENT_MS = 25.0  # how long one turn of a phase lasts, roughly; one of sentences is one translation
MOST = 500
SIGNAL = 480_000  # samples of a long recording


def _milliseconds(run: Callable[[], Any], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * 1e3)
    return times


def _visit(run: Callable[[], Any], spent: float = SPENT_MS) -> float:
    """Median milliseconds of as many runs as last `spent`, at least 1.

    A run before them is not counted: caches are another's.
    """
    first = _milliseconds(run, 1)[0]
    return float(np.median(_milliseconds(run, int(np.clip(spent / max(first, 1e-3), 1, MOST)))))


def measure(opened: Opened, request: Request) -> Reply:
    """Times one phase: `ms`, and of sentences the `tokens` written for each.

    Raises:
        InputError: the model has no such phase, or takes no input of the length asked for.
    """
    phases = opened.layout.phases
    if request["do"] not in phases:
        raise InputError(f"a model for {opened.layout.task} is timed by {', '.join(phases)}, not by {request['do']}")
    time = PHASES.named(request["do"]).time
    if time is None:
        raise InputError(f"phase {request['do']!r} is composed of others; expected one that is measured")
    return time(opened, request)


def _sentence(translator: Translator, request: Request) -> Reply:
    ids = [
        row
        for text, place in zip(request["sentences"], request["from"], strict=True)
        for row in _encoded(translator, text, place)
    ]
    last: list[list[int]] = []

    def run() -> None:
        last[:] = translator.generate(ids, request["beams"], request["batch"])

    spent = _visit(run, 0.0)
    return {"ms": spent / len(ids), "tokens": sum(map(len, last)) / len(ids)}


def _recording(transcriber: Transcriber, request: Request) -> Reply:
    """Greedy transcripts of so many tokens, whatever the recordings hold: equal work for all models."""
    layout, tokens = transcriber.layout, int(request["tokens"])
    length = len(layout.generation.begun) + tokens
    _check_length("tokens of a transcript", length, layout.limits.get(PAST))
    told = replace(layout.generation, min_length=length, max_length=length)
    told_so, features = replace(transcriber, layout=replace(layout, generation=told)), _sounds(transcriber, request)
    return {"ms": _visit(lambda: told_so.greedy(features), 0.0) / len(features), "tokens": float(tokens)}


def _encoder(writer: Translator | Transcriber, request: Request) -> Reply:
    start, _ = _started(writer, request)
    return {"ms": _visit(start)}


def _decoder_step(writer: Translator | Transcriber, request: Request) -> Reply:
    start, rows = _started(writer, request)
    steps = start()
    tokens = np.full(rows, writer.layout.decoding.decoder_start_token_id, np.int64)
    for _ in range(request["past"]):
        steps.logits(tokens)
    return {"ms": _visit(lambda: steps.peek(tokens))}


def _pass(model: OnePass, request: Request) -> Reply:
    batch = _given(request["file"]) if "file" in request else typical(model, request["batch"], request["source"])
    return {"ms": _visit(lambda: model.logits(batch))}


def _step(model: OnePass, request: Request) -> Reply:
    steps, before = model.start(request["batch"]), request["past"]
    _check_length("past and one token", before + 1, model.layout.limits.get(TOTAL))
    if before:
        steps.logits(np.zeros((request["batch"], before), np.int64))
    one = np.zeros((request["batch"], 1), np.int64)
    return {"ms": _visit(lambda: steps.peek(one))}


ENCODER = Phase("encoder pass", _encoder)
DECODER_STEP = Phase("decoder step", _decoder_step)
SENTENCE = Phase("sentence", _sentence, Feed.SENTENCES, quoted=True)
RECORDING = Phase("recording", _recording, Feed.WRITTEN, quoted=True)
PASS = Phase("pass", _pass, Feed.BATCHES, quoted=True)
PREFILL = Phase("prefill", _pass, Feed.BATCHES)
STEP = Phase("step", _step)
TEXT = Phase("text", quoted=True, parts=("prefill", "step"))


def typical(model: OnePass, batch: int, tokens: int) -> dict[str, NDArray[Any]]:
    """Inputs of a model by their sizes: noise where they are numbers, the usual value where they are whole ones.

    Raises:
        InputError: the model takes no input of so many tokens.
    """
    chance, found = np.random.default_rng(0), dict[str, NDArray[Any]]()
    if any(TOKENS in spec.dims and np.issubdtype(spec.dtype, np.floating) for spec in model.graph.given):
        tokens = max(1, model.layout.limits.get(TOKENS, SIGNAL) // 3)  # no number of tokens says how long a signal is
    for spec in model.graph.given:
        for name in (TOKENS, TOTAL):
            if name in spec.dims:
                _check_length("source length", tokens, model.layout.limits.get(name))
        shape = spec.shape({BATCH: batch, TOKENS: tokens, TOTAL: tokens})
        if np.issubdtype(spec.dtype, np.floating):
            found[spec.name] = chance.standard_normal(shape).astype(spec.dtype)
        else:
            found[spec.name] = np.full(shape, spec.fill, spec.dtype)
    return found


def _given(file: str) -> dict[str, NDArray[Any]]:
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def _check_length(what: str, length: int, most: int | None) -> None:
    if most is not None and length > most:
        raise InputError(f"{what} {length}; expected 1 to {most} tokens")


def _encoded(translator: Translator, text: str, place: str) -> list[list[int]]:
    try:
        return translator.encode([text])
    except InputError as error:
        raise InputError(str(error).replace("sentence 1", place, 1)) from None


def _started(writer: Translator | Transcriber, request: Request) -> tuple[Callable[[], State], int]:
    """What runs the encoder on made-up inputs, and how many there are."""
    if isinstance(writer, Transcriber):
        features = _sounds(writer, request)
        return partial(writer.start, features), len(features)
    ids = _source(writer, request)
    return partial(writer.start, ids), len(ids)


def _sounds(transcriber: Transcriber, request: Request) -> NDArray[Any]:
    """Noise of the size of features."""
    spec = transcriber.features
    shape = spec.shape({BATCH: request["batch"]})
    return np.random.default_rng(0).standard_normal(shape).astype(spec.dtype)


def _source(translator: Translator, request: Request) -> list[list[int]]:
    _check_length("source length", request["source"], translator.layout.source_positions)
    ids = np.random.default_rng(0).integers(0, translator.layout.vocabulary, (request["batch"], request["source"]))
    return [[int(token) for token in row] for row in ids]
