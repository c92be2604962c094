"""A run: the stages from corpus to report in one directory. A killed run takes up at the stage, and step, where it was."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from tprune.analysis import Analysis
from tprune.analysis.loss_curves import token_loss_on
from tprune.bench.harness import check_batch
from tprune.budget.evidence import (
    CALIBRATION,
    Clock,
    check_reachable,
    clock_step,
    confirm_step,
    faster_step,
    interact_step,
    select_step,
    spelled_step,
)
from tprune.budget.forecast import promise
from tprune.budget.size import counted
from tprune.core.curves import Curve
from tprune.core.plan import Plan
from tprune.core.sublayers import blind
from tprune.core.units import TIMES
from tprune.costs.latency.table import LatencyTable, Setting
from tprune.counting.size import size
from tprune.data.parallel import Corpus
from tprune.families.registry import family_of
from tprune.realise.certificate import Certificate
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.recipe.schema import Prune, Recipe
from tprune.recipe.training import training_of
from tprune.recipe.whole import from_whole
from tprune.report.norms import sorted_norms
from tprune.report.page import write_report
from tprune.run.dense_score import warned_of
from tprune.run.estimates import expect, where
from tprune.run.folder import Run, Stopped, claim, held
from tprune.run.results import SIDES, bleu_tokenizer, collect, cut_short, evaluate, harm, spelling_of, timing
from tprune.run.steps import analyse_step, cut_step, plan_step, recover_step, regularise_step, spell_step, teach_step
from tprune.runtimes.export import ENOUGH, check_exportable, export
from tprune.runtimes.runtime import runtime_named
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.machine import check_threads, use_threads
from tprune.tasks.metrics.bleu_tokenizer import doubts, metric
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer
from tprune.tasks.translation.long_lines import LongLines
from tprune.train.losses import kept_width
from tprune.train.pseudo_targets import cut_share
from tprune.train.training_data import SAVE_EVERY, Material
from tprune.vocabulary.coverage import unfamiliar
from tprune.vocabulary.trim import trim_vocabulary, writing

TRAINED = ("teach", "prune", "shrink", "recover", "export", "evaluate", "bench")  # the stages that a dry run leaves out
LOST = 0.05  # of the validation text's tokens: a vocabulary that lacks more was trimmed to another kind of text


def run(run: Run) -> dict[str, Any]:
    """Runs all stages and returns the content of `results.json`; of a run that was to stop early, `stopped`, its last stage.

    Raises:
        InputError: the recipe, corpus or model cannot be used, the directory belongs to another run, or another process
            works on it.
        UnreachableError: the size asked for cannot be reached; said before anything is trained where that is known.
        CertificateError: a cut or an export does not compute what it should.
    """
    if run.plan is None:
        run.recipe.prune.target()
    else:
        selected_plan(run.plan)  # a damaged one is refused before anything is done
    if run.until is not None and run.until not in run.progress.plan:
        raise InputError(f"this run has no stage {run.until!r}; its stages are {', '.join(run.progress.plan)}")
    check_threads(run.recipe.bench.threads)  # now, not when all is trained
    runtime_named(run.recipe.bench.runtime)
    check_batch(run.recipe.bench.batch, len(run.corpus.pooled_test()))
    metric(bleu_tokenizer(run))  # likewise, where its package is missing
    with held(run):
        claim(run)
        run.progress.skip([name for name in run.progress.plan if run.has(name)])
        try:
            return _stages(run)
        except Stopped as reached:
            return {"stopped": str(reached)}


def _stages(run: Run) -> dict[str, Any]:
    use_threads()
    set_seed(run.recipe.seed)
    recipe, out, stage = run.recipe, run.out, run.stage
    stage("train", lambda: _dense(run), f"{recipe.train.steps} steps" if run.model is None else f"from {run.model}")
    odd = _foreign_text(run) if run.model is not None else []
    for line in odd:
        run.progress.note(f"warning: {line}")
    if run.vocabulary is not None:
        stage("trim", lambda: _trim(run), "only the tokens that the given sentences need")
    dense, tokenizer = load(run.base), load_tokenizer(run.base)
    _exportable(run, dense, tokenizer)
    run, long = _fitted(run, dense, tokenizer)
    unfit = [*long, *doubts(run.corpus.pooled_test().target, bleu_tokenizer(run))]
    for line in unfit:
        run.progress.note(f"warning: {line}")
    odd = [*odd, *unfit]
    material = _material(run, dense, tokenizer)
    odd = [*odd, *warned_of(run, dense, tokenizer, material)]
    expected = expect(run, dense, material)
    goal, clock = _goal(run, dense, tokenizer, material)
    to_come = sum(seconds for name, seconds in expected.items() if name in TRAINED and not run.has(name)) or None
    table, faster = (clock.table, clock.faster) if clock else (None, 1.0)
    whole = size(load(out / "dense"))
    promised = promise(writer_of(run, dense), goal, table, to_come, faster, whole, where())
    promises = {**promised.as_dict(), "warnings": odd}
    write_json(out / "promise.json", promises)
    if not run.has("prune"):
        run.progress.note(str(promised))
    if run.dry:
        return {"promise": promises}
    if taught(recipe):
        stage("teach", lambda: _teach(run, dense, tokenizer, material), "translations of the training sentences")
        # made by now: this reads them
        material = teach_step(dense, tokenizer, run.corpus.train, material, out / "taught")
    how = (
        f"{recipe.prune.steps} steps of {recipe.prune.method}"
        if recipe.prune.steps
        else "one shot, what is left fitted again"
    )
    stage("prune", lambda: _regularise(run, dense, goal, material), how)
    stage("shrink", lambda: _shrink(run, material), "cut, and compare with the masked model")
    stage("recover", lambda: _recover(run, dense, material), f"{recipe.recover.steps} steps")
    stage("export", lambda: _export(run), f"to {recipe.bench.runtime}, checked against PyTorch")
    tests = f"{len(run.corpus.pooled_test())} sentences in {recipe.bench.runtime}, beam {recipe.beams}"
    stage("evaluate", lambda: evaluate(run), tests)
    stage("bench", lambda: timing(run), "dense and pruned in turns")
    worse = [*harm(run), *cut_short(run)]
    for line in worse:
        run.progress.note(f"warning: {line}")
    results = {**collect(run), "model": run.model or "trained in this run", "warnings": [*odd, *worse]}
    write_json(out / "norms.json", sorted_norms(dense, load(out / "pruned")))
    write_json(out / "results.json", results)
    write_report(out)
    return results


def _goal(run: Run, dense: Any, tokenizer: Any, material: Material) -> tuple[Plan, Clock | None]:
    """What will be kept: as given, or chosen by what is measured first; and what was measured. Raises `UnreachableError`."""
    analysed, most = None, run.recipe.prune.written
    if most is not None:
        run.stage("spell", lambda: _spell(run, dense, tokenizer), f"with at most {most:,} tokens")
    writer = writer_of(run, dense)
    how = of_whole(run, writer)
    plan = _given(run, writer) if run.plan is not None else plan_step(dense, how)
    clock: Clock | None = None
    if run.plan is None:
        if how.by_loss:
            check_reachable(writer, plan, how)
            costs = "what each sublayer costs, in loss" + (" and on this machine" if how.timed else "")
            run.stage("time", lambda: _time(run, dense, tokenizer, plan, material), costs)
            clock = _clock(run)
        select_step(writer, plan, how, None, clock)  # what cannot be reached is said now, not after the analysis
    if run.recipe.analyze.steps:
        what = f"{run.recipe.analyze.steps} steps of group lasso on all lines"
        run.stage("analyze", lambda: _analyse(run, dense, material), what)
        analysed = Analysis.load(run.out / "analysis.json")
    return (plan if run.plan is not None else select_step(writer, plan, how, analysed, clock)), clock


def of_whole(run: Run, writer: Any) -> Prune:
    """How to prune; a size counts from the dense model where what is pruned, and writes as `writer` does, has lost words already."""
    how = run.recipe.prune
    if run.plan is not None or (run.vocabulary is None and how.written is None):
        return how
    return from_whole(how, size(load(run.out / "dense")), size(writer))


def writer_of(run: Run, dense: Any) -> Any:
    """The model that writes the tokens of the run's spelling alone, where there is one."""
    spelling = spelling_of(run)
    return dense if spelling is None else writing(dense, spelling.kept)


def taught(recipe: Recipe) -> bool:
    """Whether a stage trains on the teacher's translations."""
    return recipe.prune.translates or recipe.recover.translates


def untrained(recipe: Recipe, corpus: Corpus) -> tuple[Any, Any]:
    """A recipe's dense model before training, and its tokeniser learnt from the training sentences."""
    spec = recipe.model
    tokenizer = train_tokenizer(corpus.train.source + corpus.train.target, spec.vocabulary, spec.positions)
    shape = MarianSize(spec.d_model, spec.layers, spec.heads, spec.ffn, spec.vocabulary, spec.dropout, spec.positions)
    return new_model(shape, len(tokenizer)), tokenizer


def _dense(run: Run) -> dict[str, Any]:
    if run.model is not None:
        model, tokenizer = load(run.model, dtype=torch.float32), load_tokenizer(run.model)
        if broken := [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]:
            raise InputError(f"{run.model}: {broken[0]} holds values that are not finite; expected a trained model")
        _exportable(run, model, tokenizer)
        save(model, run.out / "dense", tokenizer)
        return {"from": run.model}
    model, tokenizer = untrained(run.recipe, run.corpus)
    if run.plan is None and run.vocabulary is None:  # an unreachable size is said now, not after the training
        how = run.recipe.prune
        writer = model if how.written is None else writing(model, range(how.written))
        check_reachable(writer, plan_step(model, how), from_whole(how, size(model), size(writer)))
    _exportable(run, model, tokenizer)
    run, _ = _fitted(run, model, tokenizer)  # said once it is trained
    material = _material(run, model, tokenizer)
    expect(run, model, material)
    log = material.run(model, training_of(run.recipe.train), run.work("train"), save_every=SAVE_EVERY)
    save(model, run.out / "dense", tokenizer)
    return {"log": log}


def _fitted(run: Run, model: Any, tokenizer: Any) -> tuple[Run, list[str]]:
    """The run on sentences that the model can take, and what became of the others."""
    data = run.recipe.data
    corpus, said = LongLines(data.long_lines, data.long_share).fit_corpus(run.corpus, model, tokenizer)
    check_batch(run.recipe.bench.batch, len(corpus.pooled_test()))
    return replace(run, corpus=corpus), said


def _exportable(run: Run, model: Any, tokenizer: Any) -> None:
    """What cannot be exported in the end is said before anything is measured or trained. Raises as `check_exportable`."""
    check_exportable(model, tokenizer, run.corpus.valid.sample(ENOUGH).source, runtime_named(run.recipe.bench.runtime))


def _material(run: Run, model: Any, tokenizer: Any) -> Material:
    return Material.of(
        model, tokenizer, run.corpus.train, run.corpus.valid,
        seed=run.recipe.seed, precision=run.recipe.precision, callbacks=(run.progress,),
    )  # fmt: skip


def _foreign_text(run: Run) -> list[str]:
    tokenizer = load_tokenizer(run.out / "dense")  # a trimmed one knows what it was trimmed to
    texts = [pairs for pairs in (run.corpus.train, run.corpus.valid, run.vocabulary) if pairs is not None]
    return list(dict.fromkeys(line for pairs in texts for line in unfamiliar(pairs, tokenizer)))


def _trim(run: Run) -> dict[str, Any]:
    dense, tokenizer = load(run.out / "dense"), load_tokenizer(run.out / "dense")
    assert run.vocabulary is not None
    trimmed = trim_vocabulary(dense, tokenizer, run.vocabulary, held_out=run.corpus.valid)
    run.progress.note(str(trimmed))
    if trimmed.held_out is not None and trimmed.held_out.lost > LOST:
        run.progress.note(
            f"warning: {trimmed.held_out.lost:.0%} of the validation tokens are gone with the vocabulary; "
            "the sentences to trim to are of another kind or language"
        )
    save(trimmed.model, run.out / "trimmed", trimmed.tokenizer)
    return {"tokens": trimmed.tokens, "kept": len(trimmed.kept)}


def selected_plan(file: Path) -> Plan:
    """A plan from a file. Raises `InputError` for one that is damaged or does not say what it keeps."""
    plan = Plan.load(file)
    if not plan.entries or not plan.selected:
        lacks = "does not say what it keeps" if plan.entries else "has no entries"
        raise InputError(f"{file}: the plan {lacks}; expected one after selection")
    return plan


def _given(run: Run, dense: Any) -> Plan:
    """The plan that was given, its sizes counted. Raises `InputError` for one that was made for another model."""
    assert run.plan is not None
    plan, family = selected_plan(run.plan), family_of(dense).name
    try:
        if plan.family != family:
            raise InputError(f"the plan is for the family {plan.family!r}, the model is of {family!r}")
        plan.bind(dense)
        if blind(plan, dense.config.decoder_layers):
            raise InputError("the plan empties every cross attention, so the decoder would not read its source")
        return counted(dense, plan)
    except InputError as error:
        raise InputError(f"{run.plan}: {error}") from None


def _analyse(run: Run, dense: Any, material: Material) -> dict[str, Any]:
    found = analyse_step(
        dense, material, run.recipe.analyze, run.recipe.prune.kinds, run.work("analyze"), run.progress.note
    )
    (run.out / "analysis.json").write_text(found.to_json(), encoding="utf-8")
    return {}


def _time(run: Run, dense: Any, tokenizer: Any, plan: Plan, material: Material) -> dict[str, Any]:
    writer, bench_ = writer_of(run, dense), run.recipe.bench
    how = of_whole(run, writer)
    setting = Setting(threads=bench_.threads, batch=bench_.batch, runtime=bench_.runtime)
    faster, sentences = 1.0, run.corpus.valid.source
    if run.vocabulary is not None and how.target()[0] == "speedup":
        whole = run.out / "dense"
        before = load(whole).eval(), load_tokenizer(whole)
        faster = faster_step(before, (dense, tokenizer), sentences, setting, run.progress.note)
        run.progress.note(f"with the smaller vocabulary alone: {faster:.2f}x faster")
    clock = clock_step(dense, tokenizer, plan, material, sentences, how, setting, run.progress.note, faster)
    spelling, timed = spelling_of(run), how.target()[0] in TIMES
    if spelling is not None and timed:
        clock = spelled_step(clock, dense, tokenizer, spelling, sentences, run.progress.note)
        run.progress.note(f"with fewer tokens to write, before anything is cut: {clock.faster:.2f}x faster")
    clock = interact_step(writer, plan, how, clock, material, run.progress.note)
    if clock.table is not None:
        report = run.progress.note
        found = confirm_step(writer, tokenizer, plan, how, clock, sentences, report=report) if timed else None
        if found is not None:
            run.progress.note(
                f"the chosen sizes, timed: {found.measured.sentence:.3g} ms a sentence, asked for {clock.milliseconds(how):.3g}"
            )
        write_json(run.out / "latency.json", (found.table if found is not None else clock.table).to_json())
    return {"sensitivity": [asdict(curve) for curve in clock.curves], "faster": clock.faster}


def _spell(run: Run, dense: Any, tokenizer: Any) -> dict[str, Any]:
    found = spell_step(dense, tokenizer, run.corpus.train.target, run.recipe.prune)
    assert found is not None
    run.progress.note(f"{len(found.kept):,} tokens are written, translations have {found.longer:.3f} times as many")
    return found.to_dict()


def _clock(run: Run) -> Clock:
    done = read_json(run.out / "stages" / "time.json")
    try:
        curves = tuple(Curve(c["name"], tuple(c["kept"]), tuple(c["losses"])) for c in done["sensitivity"])
        faster = float(done["faster"])
    except (KeyError, TypeError, ValueError):
        marker = run.out / "stages" / "time.json"
        raise InputError(f"{marker}: damaged; delete it, and the same command measures again") from None
    return Clock(LatencyTable.load(run.out / "latency.json") if run.recipe.prune.timed else None, curves, faster)


def _teach(run: Run, dense: Any, tokenizer: Any, material: Material) -> dict[str, Any]:
    pairs = run.corpus.train
    teach_step(dense, tokenizer, pairs, material, run.out / "taught", run.progress.note)
    share, limit = cut_share(run.out / "taught")
    return {"sentences": len(pairs), "at_limit": round(share, 4), "limit": limit}


def _regularise(run: Run, dense: Any, goal: Plan, material: Material) -> dict[str, Any]:
    trained, chosen = regularise_step(dense, goal, material, run.recipe.prune, run.work("prune"))
    save(trained, run.out / "regularised", load_tokenizer(run.base), chosen)
    return {}


def _shrink(run: Run, material: Material) -> dict[str, Any]:
    trained, tokenizer = load(run.out / "regularised").eval(), load_tokenizer(run.base)
    chosen = Plan.load(run.out / "regularised" / "plan.json")
    small, certificate = cut_step(trained, chosen, material, run.recipe.prune.stock, spelling_of(run))
    save(small, run.out / "cut", tokenizer, chosen, certificate)
    return {"certificate": certificate.to_dict(), "asked": dict(chosen.asked), "reached": dict(chosen.reached)}


def _recover(run: Run, dense: Any, material: Material) -> dict[str, Any]:
    small, tokenizer = load(run.out / "cut"), load_tokenizer(run.base)
    plan, teacher = Plan.load(run.out / "cut" / "plan.json"), copy.deepcopy(dense).eval()
    found = {"dense": token_loss_on(material.batches(material.valid, CALIBRATION))(teacher)}
    spelling, longer = spelling_of(run), 1.0
    if spelling is not None:
        material, longer = material.spelled(spelling, small), spelling.longer
    loss = token_loss_on(material.batches(material.valid, CALIBRATION))
    found["cut"] = loss(small) * longer  # for a token of the dense model
    recover_step(small, teacher, material, run.recipe.recover, run.work("recover"), kept_width(plan))
    found["recovered"] = loss(small) * longer
    run.progress.note("validation loss: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    certificate = Certificate(**read_json(run.out / "cut" / "certificate.json"))
    save(small, run.out / "pruned", tokenizer, plan, certificate)
    return {"loss": found}


def _export(run: Run) -> dict[str, Any]:
    sentences, runtime = run.corpus.valid.sample(ENOUGH).source, runtime_named(run.recipe.bench.runtime)
    return {
        side: {"max_relative_error": report.max_relative_error, "greedy_equal": report.greedy_equal,
               "beam_equal": report.beam_equal, "beam_ties": report.beam_ties, "sentences": report.sentences,
               "files": dict(report.files)}
        for side in SIDES
        for report in [export(load(run.out / side).eval(), load_tokenizer(run.out / side), run.out / "onnx" / side, sentences, runtime)]
    }  # fmt: skip
