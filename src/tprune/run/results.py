"""What proves a run: both exports scored and timed, and the content of `results.json`."""

from __future__ import annotations

import warnings
from typing import Any

import torch

from tprune.bench.harness import Work, bench
from tprune.counting.size import size
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.run.folder import Run
from tprune.runtimes.translator import Translated, Translator, cut_often
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.files import read_json, write_json
from tprune.support.machine import provenance
from tprune.tasks.metrics.bleu_tokenizer import fitting
from tprune.tasks.metrics.translation import paired_bootstrap, quality
from tprune.vocabulary.output_vocabulary import Spelling

SIDES = ("dense", "pruned")


def spelling_of(run: Run) -> Spelling | None:
    """The tokens that the pruned model writes; None where it may write all. Raises `InputError` for a damaged marker."""
    if run.recipe.prune.written is None:
        return None
    marker = run.out / "stages" / "spell.json"
    try:
        return Spelling.from_dict(read_json(marker))
    except InputError as error:
        raise InputError(f"{marker}: {error}; delete it, and the same command makes it again") from None


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
        found[side] = translator.translated(pairs.source, beams=run.recipe.beams, batch=16)
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
        "beams": run.recipe.beams,
    }


def timing(run: Run) -> dict[str, Any]:
    """Times both exports in turns."""
    how = run.recipe.bench
    work = Work(beams=1, sentences=how.sentences)
    dense, pruned = (run.out / "onnx" / side for side in SIDES)
    sentences = run.corpus.pooled_test().source
    return bench(dense, pruned, sentences, how.threads, how.batch, how.rounds, work).as_dict()


def harm(run: Run) -> list[str]:
    """A warning where recovery has made the model worse."""
    found = read_json(run.out / "stages" / "recover.json").get("loss")
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
    done = {name: read_json(run.out / "stages" / f"{name}.json") for name in ("teach", "evaluate") if run.has(name)}
    sides = {"teacher": done.get("teach", {}), **{side: done.get("evaluate", {}).get(side, {}) for side in SIDES}}
    return [
        line
        for side, found in sides.items()
        if "at_limit" in found and "limit" in found
        for line in cut_often(f"{side} model", found["at_limit"], found["limit"])
    ]


def _spelled(run: Run) -> dict[str, Any] | None:
    """How many tokens the pruned model writes, and how much longer that makes translations."""
    spelling = spelling_of(run)
    if spelling is None:
        return None
    never = load(run.base).generation_config.suppress_tokens or ()
    before = len(load_tokenizer(run.base)) - len(never)
    return {"written": len(spelling.kept), "before": before, "longer": spelling.longer}


def collect(run: Run) -> dict[str, Any]:
    """The content of `results.json` from what the stages left."""
    done = {p.stem: read_json(p) for p in (run.out / "stages").glob("*.json")}
    times, scores = done["bench"], done["evaluate"]
    results: dict[str, Any] = {}
    for side in SIDES:
        found = size(load(run.out / side))
        results[side] = {
            **{k: scores[side][k] for k in ("bleu", "chrf", "at_limit", "limit") if k in scores[side]}, "parameters": found.parameters, "macs": found.macs,
            "bytes": sum(done["export"][side]["files"].values()), "latency_ms": times["latency_ms"][side],
            "peak_memory": times["peak_memory"][side], "tokens_per_sentence": times["tokens_per_sentence"][side],
        }  # fmt: skip
    return {
        **results, "speedup": times["speedup"], "speedup_interval": times["speedup_interval"], "noise": times["noise"],
        "bleu_difference": scores["paired"], "signatures": {k: scores["dense"][k] for k in ("bleu_signature", "chrf_signature")},
        "target": {"asked": done["shrink"]["asked"], "reached": done["shrink"]["reached"], **({} if run.plan else dict([run.recipe.prune.target()]))},
        **({"taught": done["teach"]} if "at_limit" in done.get("teach", {}) else {}),
        **({"spelling": spelled} if (spelled := _spelled(run)) else {}),
        "certificate": done["shrink"]["certificate"], "export": done["export"], "beams": scores["beams"],
        "bench": {k: times[k] for k in ("threads", "batch", "rounds", "work")}, "seed": run.recipe.seed,
        "training": read_json(run.out / "run.json").get("training"), **provenance(run.command),
    }  # fmt: skip
