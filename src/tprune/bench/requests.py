"""What the workers of a benchmark are asked in a round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tprune.bench.known_phases import PHASES, Feed
from tprune.bench.work import Workload
from tprune.data.parallel import read_lines
from tprune.support.errors import InputError
from tprune.support.texts import check_list

TURNS = 4  # of each phase in a round; of one that is timed on given inputs these
Texts = Sequence[tuple[str, str]]  # and where each comes from
Inputs = Sequence[Mapping[str, NDArray[Any]]]  # batches of named arrays
Requests = dict[str, list[dict[str, Any]]]


def texts_of(sentences: Path | Sequence[str] | None, batch: int, most: int) -> Texts:
    """The sentences to time, with their places; at most so many (a batch where that is more), evenly spaced.

    Raises:
        InputError: there are none though some were given, fewer than a batch, or a file that cannot be read.
    """
    if sentences is None:
        return []
    file = f"{sentences} line" if isinstance(sentences, str | Path) else "sentence"
    if not isinstance(sentences, str | Path):
        check_list(sentences, "sentences")
    every = read_lines(Path(sentences)) if isinstance(sentences, str | Path) else tuple(sentences)
    check_batch(batch, len(every))
    return sample([(text, f"{file} {number}") for number, text in enumerate(every, start=1)], max(most, batch))


def requests_of(
    phases: Sequence[str], texts: Texts, batch: int, work: Workload, inputs: Inputs = (), folder: Path | None = None
) -> Requests:
    """What every worker is asked in a round, by phase: its turns.

    Args:
        phases: that are timed.
        texts: sentences, where whole ones are translated.
        batch: inputs in one pass.
        work: lengths and beams.
        inputs: batches of named arrays that whole passes are timed on, in place of made-up ones.
        folder: where these are handed over.

    Raises:
        InputError: sentences are to be timed, and there are none.
    """
    shape = {"source": work.source, "past": work.past, "batch": batch}
    requests: Requests = {name: [{"do": name, **shape}] * TURNS for name in phases}
    for name in fed(phases, Feed.WRITTEN):
        requests[name] = [{"do": name, **shape, "tokens": work.new_tokens}] * TURNS
    for name in fed(phases, Feed.SENTENCES):
        if not texts:
            raise InputError("no sentences to translate; expected at least one (--sentences)")
        requests[name] = [_translate(name, group, shape, work) for group in _groups(texts, batch)]
    for name in fed(phases, Feed.BATCHES):
        if inputs and folder is not None:
            files = [_saved(each, folder / f"{number}.npz") for number, each in enumerate(inputs)]
            requests[name] = [{"do": name, **shape, "file": str(file)} for file in files]
    return requests


def fed(phases: Iterable[str], feed: Feed) -> list[str]:
    """Those of the phases that are timed on such inputs.

    Example:
        >>> fed(["encoder", "sentence"], Feed.SENTENCES)
        ['sentence']
    """
    return [name for name in phases if PHASES.named(name).feed is feed]


def _groups(texts: Texts, batch: int) -> list[Texts]:
    if batch > 1:  # batches of like lengths, as in translating
        texts = sorted(texts, key=lambda text: len(text[0]))
    return [texts[i : i + batch] for i in range(0, len(texts), batch)]


def _translate(name: str, group: Texts, shape: Mapping[str, int], work: Workload) -> dict[str, Any]:
    sentences, places = [text for text, _ in group], [place for _, place in group]
    return {"do": name, **shape, "sentences": sentences, "from": places, "beams": work.beams}


def _saved(batch: Mapping[str, NDArray[Any]], file: Path) -> Path:
    arrays: dict[str, Any] = dict(batch)
    np.savez(file, **arrays)
    return file


def check_batch(batch: int, sentences: int) -> None:
    """Raises `InputError` where there are fewer sentences than go into one batch."""
    if 0 < sentences < batch:
        raise InputError(
            f"batch {batch}, but there are only {sentences} sentences to translate; expected at least as many, or "
            "a smaller --batch"
        )


def sample(texts: Texts, most: int) -> Texts:
    """At most so many of the texts, evenly spaced. Raises `InputError` where there are none."""
    if not texts:
        raise InputError("no sentences to translate; expected at least one")
    return [texts[i * len(texts) // min(most, len(texts))] for i in range(min(most, len(texts)))]
