"""`tprune evaluate` of translation models: a model by any name, exported where it is not yet, and its quality."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from tprune.cli.export import CHECKED, built_in
from tprune.cli.score import results as scored_results
from tprune.cli.sides import RunsIn
from tprune.core.known_tasks import TASKS
from tprune.core.precision import Precision
from tprune.core.task import Predictions
from tprune.data.parallel import Parallel, sampled
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.run.lookup import runnable_at
from tprune.runtimes.artefact import layout_file, read_layout
from tprune.runtimes.export import export
from tprune.runtimes.runtime import runtime_named
from tprune.runtimes.translator import Translated, Translator, cut_often
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.machine import default_threads
from tprune.support.reporting import Report
from tprune.tasks.metrics.bleu_tokenizer import doubts, fitting, metric
from tprune.tasks.metrics.translation import bleu_interval, paired_bootstrap, quality
from tprune.tasks.translation.encoding import EncodedPairs, check_translates, max_length
from tprune.tasks.translation.long_lines import OPTION, LongLines, lengths, too_long
from tprune_runtime.tokens import Tokens

FEW = 50  # sentences; resampling fewer says next to nothing of others


def evaluate(
    model: str,
    pairs: Parallel,
    against: str | None = None,
    beams: int | None = None,
    threads: int | None = None,
    report: Report = lambda text: None,
    runtime: str | None = None,
    *,
    tokenize: str | None = None,
    long_lines: LongLines | None = None,
    precision: str | None = None,
) -> dict[str, Any]:
    """Quality of a model on a test set, and its difference to another one by paired bootstrap.

    Args:
        model: an exported folder, a run (its pruned model), a model's directory or a hub id.
        pairs: test sentences and references.
        against: another model, by a name of the same kinds.
        beams: of the search; as exported if not given.
        threads: of the runtime; the usable cores if not given.
        report: is told what is going on.
        runtime: what translates; onnxruntime, or what an exported model is for, if not given.
        tokenize: sacreBLEU's tokeniser; the one that fits the script of the references if not given.
        long_lines: what becomes of sentences that are too long for a model; left out, and said, if not given.
        precision: in which a checkpoint is exported; fp32 if not given.

    Raises:
        InputError: no such model, a run that has none yet, too many sentences that are too long, or no such tokeniser.
        CertificateError: a model does not export to what it computes.
    """
    model, against = runnable_at(model), None if against is None else runnable_at(against)
    tokenize = tokenize or fitting(pairs.target)
    metric(tokenize)  # now, where its package is missing
    names = list(dict.fromkeys(filter(None, (against, model))))
    pairs, found, odd = _translated(
        names, pairs, beams, threads, report, (runtime, precision), tokenize, long_lines or LongLines(option=OPTION)
    )
    if len(pairs) < FEW:
        report(
            f"{len(pairs)} sentences are few: the intervals are about these sentences, not about a test set; "
            "expected some hundreds"
        )
    scores = {name: _scored(each, pairs, tokenize) for name, each in found.items()}
    for name, each in found.items():
        for line in cut_often(name, each.made.share, each.made.limit):
            report(f"warning: {line}")
            odd.append(line)
    results: dict[str, Any] = {"model": model, "against": against, "beams": beams, "scores": scores, "paired": None}
    if against is not None:
        first, second = (found[name].made.texts for name in (against, model))
        results["paired"] = paired_bootstrap(first, second, pairs.target, tokenize=tokenize).to_dict()
    return results | {"warnings": odd}


class Written(NamedTuple):
    """Translations of the test set, and the number of beams they were searched with."""

    made: Translated
    beams: int


def scored_texts(
    task: str,
    model: str,
    pairs: Parallel,
    against: str | None = None,
    beams: int | None = None,
    threads: int | None = None,
    report: Report = lambda text: None,
    runs_in: RunsIn = (None, None),
    long_lines: LongLines | None = None,
) -> dict[str, Any]:
    """What models write that are no translations, such as summaries, by the metrics of their task.

    Args:
        task: by its name.
        model: as of `evaluate`; `against`, `beams`, `threads` and `report` likewise.
        pairs: inputs and references.
        against: see `model`.
        beams: see `model`.
        threads: see `model`.
        report: see `model`.
        runs_in: runtime and precision.
        long_lines: what becomes of inputs that are too long; cropped, and said, if not given.

    Raises:
        InputError: as `evaluate`.
        CertificateError: as `evaluate`.
    """
    known = TASKS.named(task)
    model, against = runnable_at(model), None if against is None else runnable_at(against)
    names = list(dict.fromkeys(filter(None, (against, model))))
    fit = long_lines or LongLines("crop", 1.0, OPTION)
    pairs, written, odd = _translated(names, pairs, beams, threads, report, runs_in, None, fit)
    for name, each in written.items():
        odd += cut_often(name, each.made.share, each.made.limit)
    examples = EncodedPairs(([],) * len(pairs), ([],) * len(pairs), pairs, notes=tuple(odd))
    predictions = {name: Predictions(np.array(each.made.texts, object)) for name, each in written.items()}
    return scored_results(known, model, against, examples, predictions, None, report)


def _translated(
    names: Sequence[str],
    pairs: Parallel,
    beams: int | None,
    threads: int | None,
    report: Report,
    runs_in: RunsIn,
    tokenize: str | None,
    long_lines: LongLines,
) -> tuple[Parallel, dict[str, Written], list[str]]:
    """The pairs that all models can take, what each of them writes, and what looks odd."""
    found, odd = dict[str, Written](), list[str]()
    with ExitStack() as folders:
        translators = {}  # all of them first: what cannot be opened is said before anything is translated
        for name in names:
            folder = Path(folders.enter_context(tempfile.TemporaryDirectory()))
            made = opened(name, folder, pairs.source, report, *runs_in)
            translators[name] = Translator.load(made, threads or default_threads())
        for translator in translators.values():
            count = partial(_lengths, translator.tokens)
            pairs, long = long_lines.fit(pairs, count, None, translator.layout.source_positions)
            odd += long
        odd += [] if tokenize is None else doubts(pairs.target, tokenize)
        for line in odd:
            report(f"warning: {line}")
        for name, translator in translators.items():
            width = beams or translator.layout.generation.num_beams
            report(f"{name}: translating {len(pairs):,} sentences, beam {width}")
            try:
                found[name] = Written(translator.translated(pairs.source, beams, batch=16), width)
            except InputError as error:  # a sentence by its number
                raise InputError(f"{pairs.files[0] if pairs.files else pairs.name}: {error}") from None
    return pairs, found, odd


def _scored(written: Written, pairs: Parallel, tokenize: str) -> dict[str, Any]:
    made = written.made
    low, high = bleu_interval(made.texts, pairs.target, tokenize=tokenize)
    with warnings.catch_warnings(action="ignore", category=TpruneWarning):  # said before
        found = quality(made.texts, pairs.target, tokenize).to_dict()
    limits = {"at_limit": round(made.share, 4), "limit": made.limit, "beams": written.beams}
    return {**found, "bleu_low": low, "bleu_high": high, **limits}


def _lengths(tokens: Tokens, texts: Sequence[str]) -> list[int]:
    return [len(ids) for ids in tokens.encode(texts)]


def opened(
    model: str,
    folder: Path,
    sentences: Sequence[str],
    report: Report,
    runtime: str | None,
    precision: str | None = None,
) -> Path:
    """The exported folder that a name means; what is none yet is exported into `folder`.

    Raises:
        InputError: it is exported for another runtime than the one asked for.
    """
    if layout_file(Path(model)) is not None:
        made = Path(model)
        if runtime is not None and (found := read_layout(made).runtime) != runtime:
            raise InputError(
                f"{made}: exported for {found}, not for {runtime}; leave out --runtime, or name the checkpoint"
            )
        return made
    runtime = runtime or "onnxruntime"
    report(f"{model}: exporting to {runtime} for this, checked against PyTorch")
    loaded, tokenizer = load(model, dtype=torch.float32).eval(), load_tokenizer(model)
    check_translates(loaded, model)
    positions = max_length(loaded)
    long = too_long(sentences, lengths(tokenizer)[0], positions)
    short = [text for i, text in enumerate(sentences) if i not in long] or list(built_in(tokenizer, positions))
    export(
        loaded,
        tokenizer,
        folder / "exported",
        [short[i] for i in sampled(len(short), CHECKED)],
        runtime_named(runtime),
        precision=Precision(precision or "fp32"),
    )
    return folder / "exported"
