"""What proves a run: both exports scored and timed, and the content of `results.json`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch

from tprune.bench.harness import Workload, bench
from tprune.counting.size import size
from tprune.realise.certificate import Certificate
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.report.results import (
    ExportedSides,
    Machine,
    Noise,
    Outcome,
    Protocol,
    RunResults,
    SideResults,
    Signatures,
    Taught,
    Training,
    WrittenTokens,
)
from tprune.run.folder import Run
from tprune.run.outputs import markers
from tprune.runtimes.translator import Translated, Translator, cut_often
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.files import read_json, write_json
from tprune.support.machine import provenance
from tprune.support.records import decoded
from tprune.tasks.metrics.bleu_tokenizer import fitting
from tprune.tasks.metrics.translation import Paired, paired_bootstrap, quality
from tprune.vocabulary.output_vocabulary import Resegmentation

SIDES = ("dense", "pruned")


def spelling_of(run: Run) -> Resegmentation | None:
    """The tokens that the pruned model writes; None where it may write all. Raises `InputError` for a damaged marker."""
    if run.recipe.prune.output_vocabulary is None:
        return None
    done = markers(run.out)
    try:
        return Resegmentation.from_dict(done.get("resegment"))
    except InputError as error:
        raise InputError(f"{done.path('resegment')}: {error}; delete it, and the same command makes it again") from None


def bleu_tokenizer(run: Run) -> str:
    """sacreBLEU's tokeniser that the run is scored with."""
    return run.recipe.bleu_tokenize or fitting(run.corpus.pooled_test().target)


def evaluate(run: Run) -> dict[str, Any]:
    """Translates the tests with both exports, and scores them."""
    pairs = run.corpus.pooled_test()
    threads = torch.get_num_threads()
    found: dict[str, Translated] = {}
    for side in SIDES:
        translator = Translator.load(run.out / "onnx" / side, threads=threads)
        found[side] = translator.translated(pairs.source, beams=run.recipe.num_beams, batch=16)
    written = {side: found[side].texts for side in SIDES}
    write_json(run.out / "translations.json", {"source": pairs.source, "reference": pairs.target, **written})
    tokenize = bleu_tokenizer(run)
    with warnings.catch_warnings(action="ignore", category=TpruneWarning):  # they are on the page
        scores = {
            side: {**quality(written[side], pairs.target, tokenize).to_dict(), **limits(found[side])} for side in SIDES
        }
    return {
        **scores,
        "paired": paired_bootstrap(written["dense"], written["pruned"], pairs.target, tokenize=tokenize).to_dict(),
        "beams": run.recipe.num_beams,
    }


def timing(run: Run) -> dict[str, Any]:
    """Times both exports in turns."""
    how = run.recipe.bench
    work = Workload(beams=1, sentences=how.sentences)
    dense, pruned = (run.out / "onnx" / side for side in SIDES)
    sentences = run.corpus.pooled_test().source
    return bench(dense, pruned, sentences, how.threads, how.batch, how.rounds, work).as_dict()


def harm(run: Run) -> list[str]:
    """A warning where recovery has made the model worse."""
    found = markers(run.out).get("recover").get("loss")
    if not run.recipe.recover.steps or found is None or found["recovered"] <= found["cut"]:
        return []
    return [
        f"recovery raised the validation loss from {found['cut']:.3f} to {found['recovered']:.3f} nats per token: give it more "
        f"steps than {run.recipe.recover.steps} (--steps), or a lower lr than {run.recipe.recover.lr:g} (--set recover.lr=...); the model before it is in {run.out / 'cut'}"
    ]


def limits(found: Translated) -> dict[str, Any]:
    """The share of translations that end at the limit, and the limit in tokens."""
    return {"at_limit": round(found.share, 4), "limit": found.limit}


def cut_short(run: Run) -> list[str]:
    """Warnings where many translations end at the limit, the teacher's too that the pruned model learnt from."""
    done = {name: markers(run.out).get(name) for name in ("distill-data", "evaluate") if run.has(name)}
    sides = {
        "teacher": done.get("distill-data", {}),
        **{side: done.get("evaluate", {}).get(side, {}) for side in SIDES},
    }
    return [
        line
        for side, found in sides.items()
        if "at_limit" in found and "limit" in found
        for line in cut_often(f"{side} model", found["at_limit"], found["limit"])
    ]


def _spelled(run: Run) -> WrittenTokens | None:
    """How many tokens the pruned model writes, and how much longer that makes translations."""
    spelling = spelling_of(run)
    if spelling is None:
        return None
    never = load(run.base).generation_config.suppress_tokens or ()
    before = len(load_tokenizer(run.base)) - len(never)
    return WrittenTokens(len(spelling.kept), before, spelling.longer)


def results_of(run: Run) -> RunResults:
    """What a run found, from what its stages left; which model it was given, and what it warned of, is to be added."""
    done = {name: markers(run.out).get(name) for name in markers(run.out).names()}
    times, scores, shrunk = done["bench"], done["evaluate"], done["shrink"]
    unit, value = (None, None) if run.plan else run.recipe.prune.target()
    training = read_json(run.out / "run.json").get("training")
    made = provenance(run.command)
    return RunResults(
        dense=_side(run, "dense", done),
        pruned=_side(run, "pruned", done),
        speedup=times["speedup"],
        speedup_interval={
            runtime: {measure: tuple(ends) for measure, ends in each.items()}
            for runtime, each in times["speedup_interval"].items()
        },
        noise=decoded(Noise, times["noise"], "noise"),
        bleu_difference=decoded(Paired, scores["paired"], "paired"),
        signatures=decoded(Signatures, scores["dense"], "dense"),
        target=Outcome(shrunk["asked"], shrunk["reached"], unit, value),
        taught=decoded(Taught, done["distill-data"], "distill-data")
        if "at_limit" in done.get("distill-data", {})
        else None,
        spelling=_spelled(run),
        certificate=decoded(Certificate, shrunk["certificate"], "certificate"),
        export=decoded(ExportedSides, done["export"], "export"),
        beams=scores["beams"],
        bench=decoded(Protocol, times, "bench"),
        seed=run.recipe.seed,
        training=None if training is None else decoded(Training, training, "training"),
        command=made["command"],
        commit=made["commit"],
        versions=made["versions"],
        machine=decoded(Machine, made["machine"], "machine"),
    )


def _side(run: Run, side: str, done: Mapping[str, Any]) -> SideResults:
    weighs, times, scores = size(load(run.out / side)), done["bench"], done["evaluate"][side]
    return SideResults(
        bleu=scores["bleu"],
        chrf=scores["chrf"],
        at_limit=scores.get("at_limit"),
        limit=scores.get("limit"),
        parameters=weighs.parameters,
        macs=weighs.macs,
        bytes=sum(done["export"][side]["files"].values()),
        latency_ms=times["latency_ms"][side],
        peak_memory=times["peak_memory"][side],
        tokens_per_sentence=times["tokens_per_sentence"][side],
    )
