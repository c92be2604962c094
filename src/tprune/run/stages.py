"""A run: the stages from corpus to report in one directory. A killed run takes up at the stage, and step, where it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from transformers import set_seed

from tprune.bench.harness import check_batch
from tprune.budget.forecast import forecast
from tprune.costs.latency.table import TimingConfig
from tprune.counting.size import size
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.report.norms import sorted_norms
from tprune.report.page import write_report
from tprune.run.dense_model import exportable, fitted, foreign_text, make_dense, material_of, trim
from tprune.run.dense_score import warned_of
from tprune.run.estimates import expect, where
from tprune.run.folder import Run, Stopped, claim, held
from tprune.run.given_plan import selected_plan
from tprune.run.kept import taken
from tprune.run.results import SIDES, bleu_tokenizer, cut_short, evaluate, harm, results_of, timing
from tprune.run.sequence import begin, to_goal, to_small
from tprune.run.stage import stage_named
from tprune.run.work import Start, Work
from tprune.runtimes.export import ENOUGH, export
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError
from tprune.support.files import write_json
from tprune.support.machine import check_threads, use_threads
from tprune.tasks.metrics.bleu_tokenizer import doubts, metric


def run(run: Run) -> dict[str, Any]:
    """Runs all stages and returns the content of `results.json`; of a run that was to stop early, `stopped`, its last stage.

    Raises:
        InputError: the recipe, corpus or model cannot be used, the directory belongs to another run, or another process
            works on it.
        UnreachableError: the size asked for cannot be reached; said before anything is trained where that is known.
        CertificateError: a cut or an export does not compute what it should.
    """
    _check(run)
    with held(run):
        claim(run)
        run.progress.skip([name for name in run.progress.plan if run.has(name)])
        try:
            return _stages(run)
        except Stopped as reached:
            return {"stopped": str(reached)}


def _check(run: Run) -> None:
    """What can be refused before anything is done, is."""
    if run.plan is None:
        run.recipe.prune.target()
    else:
        selected_plan(run.plan)
    if run.until is not None and run.until not in run.progress.plan:
        raise InputError(f"this run has no stage {run.until!r}; its stages are {', '.join(run.progress.plan)}")
    check_threads(run.recipe.bench.threads)
    runtime_named(run.recipe.bench.runtime)
    check_batch(run.recipe.bench.batch, len(run.corpus.pooled_test()))
    metric(bleu_tokenizer(run))  # its package may be missing


def _stages(run: Run) -> dict[str, Any]:
    use_threads()
    set_seed(run.recipe.seed)
    run, start, odd = _prepared(run)
    material = material_of(run, start.dense, start.tokenizer)
    odd = [*odd, *warned_of(run, start.dense, start.tokenizer, material)]
    expected = expect(run, start.dense, material)
    take = partial(taken, run)
    work = to_goal(begin(start, material), take)
    predicted = _forecast(run, work, expected, odd)
    if run.dry:
        return {"forecast": predicted}
    work = replace(work, writer=start.dense)  # one of its own is as large as the model, and done with
    to_small(work, take)
    for name in start.stages:
        if name in DONE_BY and not stage_named(name).dry:
            run.stage(name, partial(DONE_BY[name], run))
    return _finished(run, start.dense, odd)


def _prepared(run: Run) -> tuple[Run, Start, list[str]]:
    """The model that is pruned, the run on sentences that it can take, and warnings, which are said too."""
    run.stage("train", partial(make_dense, run))
    foreign = foreign_text(run) if run.model is not None else []
    _warn(run, foreign)
    if run.vocabulary is not None:
        run.stage("trim", partial(trim, run))
    dense, tokenizer = load(run.base), load_tokenizer(run.base)
    exportable(run, dense, tokenizer)
    run, long = fitted(run, dense, tokenizer)
    unfit = [*long, *doubts(run.corpus.pooled_test().target, bleu_tokenizer(run))]
    _warn(run, unfit)
    return run, start_of(run, dense, tokenizer), [*foreign, *unfit]


def start_of(run: Run, dense: Any, tokenizer: Any) -> Start:
    """What the compression of a run starts from."""
    whole, timed = run.out / "dense", run.recipe.bench
    return Start(
        dense,
        tokenizer,
        run.corpus,
        run.recipe,
        TimingConfig(threads=timed.threads, batch=timed.batch, runtime=timed.runtime),
        run.out,
        report=run.progress.note,
        note=run.progress.note,
        given=run.plan,
        before=None if run.vocabulary is None else lambda: (load(whole).eval(), load_tokenizer(whole)),
    )


def _forecast(run: Run, work: Work, expected: Mapping[str, float], odd: list[str]) -> dict[str, Any]:
    """What the run will make of the model, said and written before it is trained."""
    to_come = sum(s for name, s in expected.items() if not stage_named(name).dry and not run.has(name)) or None
    table, faster = (work.clock.table, work.clock.faster) if work.clock else (None, 1.0)
    whole = size(load(run.out / "dense"))
    found = forecast(work.writer, work.goal, table, to_come, faster, whole, where())
    written = {**found.as_dict(), "warnings": odd}
    write_json(run.out / "forecast.json", written)
    if not run.has("prune"):
        run.progress.note(str(found))
    return written


def _finished(run: Run, dense: Any, odd: list[str]) -> dict[str, Any]:
    """The results, their page and the norms of all groups, once all stages are done."""
    worse = [*harm(run), *cut_short(run)]
    _warn(run, worse)
    results = replace(results_of(run), model=run.model or "trained in this run", warnings=(*odd, *worse)).to_json()
    write_json(run.out / "norms.json", sorted_norms(dense, load(run.out / "pruned")))
    write_json(run.out / "results.json", results)
    write_report(run.out)
    return results


def _warn(run: Run, lines: list[str]) -> None:
    for line in lines:
        run.progress.note(f"warning: {line}")


def _export(run: Run) -> dict[str, Any]:
    return {side: _exported(run, side) for side in SIDES}


def _exported(run: Run, side: str) -> dict[str, Any]:
    sentences, runtime = run.corpus.valid.sample(ENOUGH).source, runtime_named(run.recipe.bench.runtime)
    model, tokenizer = load(run.out / side).eval(), load_tokenizer(run.out / side)
    report = export(model, tokenizer, run.out / "onnx" / side, sentences, runtime)
    return {
        "max_relative_error": report.max_relative_error,
        "greedy_equal": report.greedy_equal,
        "beam_equal": report.beam_equal,
        "beam_ties": report.beam_ties,
        "sentences": report.sentences,
        "files": dict(report.files),
    }


# what does the work of the stages that are no step of a compression; `tprune.run.sequence` has those that are
DONE_BY: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    "train": make_dense,
    "trim": trim,
    "export": _export,
    "evaluate": evaluate,
    "bench": timing,
}
