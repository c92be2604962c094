"""`tprune evaluate` and `tprune export`: a model by any name, exported where it is not yet, and its quality."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tprune.data.parallel import Parallel, sampled
from tprune.data.synthetic.grammar import corpus
from tprune.families.graphs.graph import skeleton_of
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.run.lookup import model_at, runnable_at
from tprune.runtimes.artefact import layout_file, read_layout
from tprune.runtimes.export import export
from tprune.runtimes.runtime import runtime_named
from tprune.runtimes.tokens import Tokens
from tprune.runtimes.translator import Translated, Translator, cut_often
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.machine import default_threads
from tprune.support.reporting import Report
from tprune.tasks.metrics.bleu_tokenizer import doubts, fitting, metric
from tprune.tasks.metrics.translation import bleu_interval, paired_bootstrap, quality
from tprune.tasks.translation.encoding import check_translates, max_length
from tprune.tasks.translation.long_lines import OPTION, LongLines, lengths, too_long

FEW = 50  # sentences; resampling fewer says next to nothing of others
CHECKED = 8  # sentences that an export is checked on where nothing else is said


def evaluate(
    model: str, pairs: Parallel, against: str | None = None, beams: int | None = None, threads: int | None = None,
    report: Report = lambda text: None, runtime: str | None = None, *, tokenize: str | None = None,
    long_lines: LongLines | None = None,
) -> dict[str, Any]:  # fmt: skip
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

    Raises:
        InputError: no such model, a run that has none yet, too many sentences that are too long, or no such tokeniser.
        CertificateError: a model does not export to what it computes.
    """
    model, against = runnable_at(model), None if against is None else runnable_at(against)
    tokenize, found, odd = tokenize or fitting(pairs.target), dict[str, Translated](), list[str]()
    metric(tokenize)  # now, where its package is missing
    with ExitStack() as folders:
        translators = {}  # all of them first: what cannot be opened is said before anything is translated
        for name in dict.fromkeys(filter(None, (against, model))):
            folder = Path(folders.enter_context(tempfile.TemporaryDirectory()))
            translators[name] = Translator.load(
                opened(name, folder, pairs.source, report, runtime), threads or default_threads()
            )
        for translator in translators.values():
            count = partial(_lengths, translator.tokens)
            pairs, long = (long_lines or LongLines(option=OPTION)).fit(
                pairs, count, None, translator.layout.source_positions
            )
            odd += long
        odd += doubts(pairs.target, tokenize)
        for line in odd:
            report(f"warning: {line}")
        for name, translator in translators.items():
            report(
                f"{name}: translating {len(pairs):,} sentences, beam {beams or translator.layout.generation.num_beams}"
            )
            try:
                found[name] = translator.translated(pairs.source, beams, batch=16)
            except InputError as error:  # a sentence by its number
                raise InputError(f"{pairs.files[0] if pairs.files else pairs.name}: {error}") from None
    if len(pairs) < FEW:
        report(
            f"{len(pairs)} sentences are few: the intervals are about these sentences, not about a test set; expected some hundreds"
        )
    scores, said = {}, {name: each.texts for name, each in found.items()}
    for name, hypotheses in said.items():
        low, high = bleu_interval(hypotheses, pairs.target, tokenize=tokenize)
        width = beams or translators[name].layout.generation.num_beams
        limits = {"at_limit": round(found[name].share, 4), "limit": found[name].limit, "beams": width}
        with warnings.catch_warnings(action="ignore", category=TpruneWarning):  # said above
            scored = quality(hypotheses, pairs.target, tokenize).to_dict()
        scores[name] = {**scored, "bleu_low": low, "bleu_high": high, **limits}
        for line in cut_often(name, found[name].share, found[name].limit):
            report(f"warning: {line}")
            odd.append(line)
    results: dict[str, Any] = {"model": model, "against": against, "beams": beams, "scores": scores, "paired": None}
    if against is not None:
        results["paired"] = paired_bootstrap(said[against], said[model], pairs.target, tokenize=tokenize).to_dict()
    return results | {"warnings": odd}


def _lengths(tokens: Tokens, texts: Sequence[str]) -> list[int]:
    return [len(ids) for ids in tokens.encode(texts)]


def export_to(
    model: str, out: Path, sentences: Sequence[str] | None, report: Report = lambda text: None, runtime: str = "onnxruntime"
) -> dict[str, Any]:  # fmt: skip
    """Exports a model for a runtime, checked on the given sentences, and returns what `ExportReport` says.

    Raises:
        InputError: no such model, or one that is exported already; see `export`.
        CertificateError: the export does not compute what the model computes.
    """
    where = model_at(model)
    loaded = load(where, dtype=torch.float32).eval()
    try:
        searched = skeleton_of(loaded).searched
    except InputError as error:
        raise InputError(f"{model}: {error}") from None
    if sentences is None:
        checked = f"{CHECKED} built-in English sentences" if searched else "random inputs"
        report(f"it will be checked on {checked}; --sentences FILE takes yours")
        sentences = built_in() if searched else ()
    done = export(loaded, load_tokenizer(where), out, sentences, runtime_named(runtime))
    return {"model": model, "out": str(out), "runtime": runtime, **asdict(done)}


def opened(model: str, folder: Path, sentences: Sequence[str], report: Report, runtime: str | None) -> Path:
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
    long = too_long(sentences, lengths(tokenizer)[0], max_length(loaded))
    short = [text for i, text in enumerate(sentences) if i not in long] or list(built_in())
    export(
        loaded,
        tokenizer,
        folder / "exported",
        [short[i] for i in sampled(len(short), CHECKED)],
        runtime_named(runtime),
    )
    return folder / "exported"


def built_in() -> tuple[str, ...]:
    """Some sentences for a check where the user gives none."""
    return corpus(train=200, valid=CHECKED, test=1).valid.source
