"""A run: the stages from corpus to report in one directory.

A killed run takes up at the stage, and step, where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from transformers import set_seed

from tprune.budget.forecast import forecast
from tprune.core.plan import Plan
from tprune.core.precision import FP32, Precision
from tprune.counting.size import size
from tprune.families.graphs.graph import skeleton_of
from tprune.report.norms import sorted_norms
from tprune.report.page import write_report
from tprune.run.beside_fp32 import beside_fp32, in_numbers, mixture
from tprune.run.curves import Curves
from tprune.run.dense_model import encoded, exportable, fitted, make_dense, with_task
from tprune.run.estimates import expect, where
from tprune.run.folder import Run, Stopped, check_identity, run_lock
from tprune.run.frontier import explored
from tprune.run.given_plan import selected_plan
from tprune.run.kept import taken
from tprune.run.multiples import timing_of, with_liked_multiples
from tprune.run.numbers import check_auto, limited
from tprune.run.preparation import preparation_of, some_of
from tprune.run.results import cut_short, evaluate, harm, results_of, spelling_of, timing
from tprune.run.sequence import begin, to_goal, to_small
from tprune.run.stage import stage_named
from tprune.run.translation.dense_model import trim
from tprune.run.variants import Variant, precisions_of, variants
from tprune.run.work import Start, Work, tokenizer_of
from tprune.runtimes.calibration import calibration_batches
from tprune.runtimes.export import export
from tprune.runtimes.runtime import check_runs, runtime_named
from tprune.support.errors import CertificateError, InputError
from tprune.support.files import write_json
from tprune.support.machine import check_threads, use_threads
from tprune.train.training_data import TrainingData


def run(run: Run) -> dict[str, Any]:
    """Runs all stages and returns the content of `results.json`.

    Of a run that was to stop early, `stopped`, its last stage.

    Raises:
        InputError: the recipe, corpus or model cannot be used, the directory belongs to another run, or another process
            works on it.
        UnreachableError: the size asked for cannot be reached; said before anything is trained where that is known.
        CertificateError: a cut or an export does not compute what it should.
    """
    run = with_liked_multiples(with_task(run))
    _check(run)
    with run_lock(run):
        check_identity(run)
        run.progress.skip([name for name in run.progress.plan if run.has(name)])
        run = replace(run, curves=Curves(run.out) if run.tracked else None)
        try:
            return _stages(run)
        except Stopped as reached:
            return {"stopped": str(reached)}
        finally:
            if run.curves is not None:
                run.curves.close()


def _check(run: Run) -> None:
    """What can be refused before anything is done, is."""
    if run.plan is None:
        run.recipe.prune.target()
        check_auto(run.recipe)
    else:
        selected_plan(run.plan)
    if run.until is not None and run.until not in run.progress.plan:
        raise InputError(f"this run has no stage {run.until!r}; its stages are {', '.join(run.progress.plan)}")
    check_threads(run.recipe.bench.threads)
    check_runs(runtime_named(run.recipe.bench.runtime))
    prepared = preparation_of(run.task)
    prepared.check_options(run.recipe, run.vocabulary is not None, run.model is None)
    prepared.check_data(run.recipe, run.corpus)


def _stages(run: Run) -> dict[str, Any]:
    use_threads()
    set_seed(run.recipe.seed)
    run, start, odd = _prepared(run)
    material = encoded(run, start.dense, start.processor)
    given = run.model is not None
    hardly = preparation_of(run.task).warnings(start.dense, start.processor, run.corpus, material, given)
    _warn(run, hardly)
    odd = [*odd, *hardly]
    expected = expect(run, start.dense, material)
    take = partial(taken, run)
    if run.speeds:
        return explored(run, begin(start, material), run.speeds)
    work = to_goal(begin(start, material), take)
    predicted = _forecast(run, work, expected, odd)
    if run.dry:
        return {"forecast": predicted}
    if run.curves is not None:
        run.curves.kept(work.goal)
    work = replace(work, writer=start.dense)  # one of its own is as large as the model, and done with
    to_small(work, take)
    for name in start.stages:
        if name in DONE_BY and not stage_named(name).dry:
            run.stage(name, partial(DONE_BY[name], run))
    return _finished(run, start.dense, odd)


def _prepared(run: Run) -> tuple[Run, Start, list[str]]:
    """The model that is pruned, the run on data that it can take, and warnings, which are said too."""
    prepared = preparation_of(run.task)
    run.stage("train", partial(make_dense, run))
    foreign: list[str] = []
    if run.model is not None:  # of the given tokeniser; a trimmed one knows what it was trimmed to
        sets = [data for data in (run.corpus.train, run.corpus.valid, run.vocabulary) if data is not None]
        foreign = prepared.unfamiliar(sets, run.processor(run.out / "dense"))
    _warn(run, foreign)
    if run.vocabulary is not None:
        run.stage("trim", partial(trim, run))
    dense, processor = run.load(run.base), run.processor(run.base)
    exportable(run, dense, processor)
    run, long = fitted(run, dense, processor)
    unfit = [*long, *prepared.doubts(run.corpus)]
    _warn(run, unfit)
    return run, start_of(run, dense, processor), [*foreign, *unfit]


def start_of(run: Run, dense: Any, processor: Any) -> Start:
    """What the compression of a run starts from."""
    whole = run.out / "dense"
    return Start(
        dense,
        processor,
        run.corpus,
        run.recipe,
        timing_of(run.recipe),
        run.out,
        report=run.progress.note,
        note=run.progress.note,
        given=run.plan,
        before=None if run.vocabulary is None else lambda: (run.load(whole).eval(), run.processor(whole)),
        sentences=preparation_of(run.task).sentences(run.corpus.valid),
    )


def _forecast(run: Run, work: Work, expected: Mapping[str, float], odd: list[str]) -> dict[str, Any]:
    """What the run will make of the model, said and written before it is trained."""
    to_come = sum(s for name, s in expected.items() if not stage_named(name).dry and not run.has(name)) or None
    table, faster = (work.evidence.table, work.evidence.faster) if work.evidence else (None, 1.0)
    whole = size(run.load(run.out / "dense"), run.task)
    found = forecast(work.writer, work.goal, table, to_come, faster, whole, where(), run.task)
    beside = beside_fp32(work)
    written = {**found.as_dict(), "warnings": odd, **in_numbers(work.goal, beside)}
    write_json(run.out / "forecast.json", written)
    if not run.has("prune"):
        for each in (found, *mixture(work.goal), *([beside] if beside else [])):
            run.progress.note(str(each))
    return written


def _finished(run: Run, dense: Any, odd: list[str]) -> dict[str, Any]:
    """The results, their page and the norms of all groups, once all stages are done."""
    worse = [*harm(run), *cut_short(run)]
    _warn(run, worse)
    results = replace(results_of(run), model=run.model or "trained in this run", warnings=(*odd, *worse)).to_dict()
    write_json(run.out / "norms.json", sorted_norms(dense, run.load(run.out / "pruned")))
    write_json(run.out / "results.json", results)
    write_report(run.out)
    return results


def _warn(run: Run, lines: list[str]) -> None:
    for line in lines:
        run.progress.note(f"warning: {line}")


def _export(run: Run) -> dict[str, Any]:
    """Both models in every precision; one that nobody asked for may fail its check, which is noted."""
    how, found, refused = run.recipe.bench, dict[str, Any](), dict[str, str]()
    skeleton = skeleton_of(run.load(run.out / "dense")).name
    for one in variants(precisions_of(how, skeleton)):
        try:
            found[one.name] = _exported(run, one)
        except CertificateError as error:
            if one.precision in (FP32, how.numbers):
                raise
            refused[one.name] = str(error)
            run.progress.note(f"warning: no {one.name}: {error}")
    return {**found, "refused": refused}


def _exported(run: Run, one: Variant) -> dict[str, Any]:
    prepared, runtime = preparation_of(run.task), runtime_named(run.recipe.bench.runtime)
    model, processor = run.load(run.out / one.side).eval(), run.processor(run.out / one.side)
    some = some_of(run.corpus.valid)
    sentences, batches = prepared.sentences(some), prepared.batches(some, processor, model)
    tokenizer, out = tokenizer_of(processor), run.out / "onnx" / one.name
    how = _precision(run, one, model, processor)
    fp32 = None if one.plain else run.out / "onnx" / one.side
    more: dict[str, Any] = {"task": run.task, "precision": how, "fp32": fp32}
    if how.numbers.calibrated:
        more["calibration"] = calibration_batches(run.task, model, processor, run.corpus.valid)
    report = export(model, tokenizer, out, sentences, runtime, batches=batches, **more)
    return {key: value for key, value in asdict(report).items() if key in EXPORTED}


def _precision(run: Run, one: Variant, model: Any, processor: Any) -> Precision:
    """The precision of an export, with the weights of this very model that a limit keeps in fp32."""
    how, valid, precision = run.recipe.bench, run.corpus.valid, one.precision
    if how.auto and one.side == "pruned" and not one.plain:
        precision = Plan.load(run.out / one.side / "plan.json").precision or precision
    if one.plain or how.max_int8_loss is None:
        return precision
    data = TrainingData.of(run.task, model, processor, valid, valid)
    spelling = spelling_of(run) if one.side == "pruned" else None  # fewer tokens are written: targets have those alone
    data = data if spelling is None else data.resegmented(spelling, model)
    return limited(model, precision, how, data, run.progress.note)


EXPORTED = (
    *("max_relative_error", "greedy_equal", "beam_equal", "beam_ties", "sentences", "inputs", "steps", "files"),
    *("precision", "rms", "kl", "top1", "same"),
)
# what does the work of the stages that are no step of a compression; `tprune.run.sequence` has those that are
DONE_BY: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    "train": make_dense,
    "trim": trim,
    "export": _export,
    "evaluate": evaluate,
    "bench": timing,
}
