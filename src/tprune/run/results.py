"""What proves a run: both exports scored and timed, and the content of `results.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import torch

from tprune.bench.harness import BenchResult, Workload, bench_all
from tprune.bench.requests import Inputs
from tprune.bench.statistics import median_interval
from tprune.core.precision import FP32
from tprune.core.score import Difference, Score
from tprune.core.task import Examples, Predictions, Task, WritesSentences
from tprune.costs.latency.subject import workload_of
from tprune.costs.latency.table import TimingConfig
from tprune.counting.size import size
from tprune.realise.certificate import Certificate
from tprune.report.old_results import evaluated
from tprune.report.results import (
    ExportedSides,
    Machine,
    Noise,
    Outcome,
    Protocol,
    PseudoTargets,
    RunResults,
    TrainedWith,
    WrittenTokens,
)
from tprune.report.sides import PrecisionRow, Ratio, SideResults
from tprune.run.folder import Run
from tprune.run.outputs import markers, write_manifest
from tprune.run.preparation import preparation_of
from tprune.run.variants import Variant, named
from tprune.run.work import tokenizer_of
from tprune.runtimes.certificate import ExportCertificate, bounded
from tprune.runtimes.opened import open_exported
from tprune.runtimes.products import matrices
from tprune.runtimes.translator import cut_often
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.machine import provenance
from tprune.support.records import decoded, encoded
from tprune.tasks.padding import pad_of
from tprune.tasks.scoring import compare, scores
from tprune.vocabulary.output_vocabulary import Resegmentation


def spelling_of(run: Run) -> Resegmentation | None:
    """The tokens that the pruned model writes; None where it may write all.

    Raises `InputError` for a damaged marker.
    """
    if run.recipe.prune.output_vocabulary is None:
        return None
    done = markers(run.out)
    try:
        return Resegmentation.from_dict(done.get("resegment"))
    except InputError as error:
        raise InputError(f"{done.path('resegment')}: {error}; delete it, and the same command makes it again") from None


def evaluate(run: Run) -> dict[str, Any]:
    """Predicts the test data with both exports, and scores them."""
    task, tests = run.task, run.corpus.pooled_test()
    model, processor = run.load(run.out / "dense"), run.processor(run.out / "dense")
    examples, pad = preparation_of(task).tests(tests, processor, model), pad_of(model)
    predictions: dict[str, Predictions] = {}
    exports = exports_of(run)
    for one in exports:
        session = open_exported(run.out / "onnx" / one.name, threads=torch.get_num_threads())
        predictions[one.name] = task.predict(session, examples, pad)
    write_json(run.out / predictions_file(task), shown(task, examples, predictions))
    found = {name: scores(task, each, examples) for name, each in predictions.items()}
    changes = _changes(task, exports, predictions, examples)
    _certify(run, exports, changes, {name: each[0].value for name, each in found.items()})
    known = task.baselines(task.encode(run.corpus.train, processor, model), examples) if one_pass(task) else {}
    return {
        "metric": found["dense"][0].metric.name,
        "scores": {side: {score.metric.name: encoded(score) for score in each} for side, each in found.items()},
        "facts": {side: dict(each.facts) for side, each in predictions.items()},
        "difference": encoded(compare(task, predictions["dense"], predictions["pruned"], examples)),
        "changes": {name: {key: encoded(one) for key, one in each.items()} for name, each in changes.items()},
        "baselines": {name: encoded(scores(task, each, examples)[0]) for name, each in known.items()},
        "beams": None if one_pass(task) else run.recipe.num_beams,
    }


def _changes(
    task: Task, exports: Sequence[Variant], predictions: Mapping[str, Predictions], examples: Examples
) -> dict[str, dict[str, Difference]]:
    """For each export its score minus the dense model's in fp32, and minus the same model's in fp32."""
    found: dict[str, dict[str, Difference]] = {}
    for one in exports:
        others = {"change": "dense", "rounding": one.side}
        found[one.name] = {
            key: compare(task, predictions[other], predictions[one.name], examples)
            for key, other in others.items()
            if other != one.name
        }
    return found


def _certify(
    run: Run,
    exports: Sequence[Variant],
    changes: Mapping[str, Mapping[str, Difference]],
    values: Mapping[str, float],
) -> None:
    """Notes in the certificates of exports what their precision takes of the metric, and whether it may."""
    for one in exports:
        if (change := changes[one.name].get("rounding")) is not None and not one.plain:
            folder = run.out / "onnx" / one.name
            replace(ExportCertificate.read(folder), metric=bounded(change, values[one.side])).write(folder)
    write_manifest(run.out, "export")


def exports_of(run: Run) -> tuple[Variant, ...]:
    """The exports that a run has made."""
    return named(markers(run.out).get("export"))


def one_pass(task: Task) -> bool:
    """Whether a task's outputs are not searched for."""
    return not isinstance(task, WritesSentences)


def predictions_file(task: Task) -> str:
    """Where what both models predict is written."""
    return "predictions.json" if one_pass(task) else "translations.json"


def shown(task: Task, examples: Examples, predictions: Mapping[str, Predictions]) -> dict[str, list[str]]:
    """All examples with what both models predict, in words."""
    rows = {side: [task.shown(each, examples, i) for i in range(len(examples))] for side, each in predictions.items()}
    first = rows["dense"]
    return {
        "input" if one_pass(task) else "source": [row.input for row in first],
        "reference": [row.reference for row in first],
        **{side: [row.prediction for row in each] for side, each in rows.items()},
    }


def timing(run: Run) -> dict[str, Any]:
    """Times both exports in turns."""
    how = run.recipe.bench
    work = Workload(beams=1, sentences=how.sentences)
    exports = exports_of(run)
    dense, *others = (run.out / "onnx" / one.name for one in exports)
    sentences = preparation_of(run.task).sentences(run.corpus.pooled_test()) or None
    inputs: Inputs = ()
    if one_pass(run.task):  # the same inputs as those that a latency table is measured with
        model = run.load(run.base)
        examples = run.task.encode(run.corpus.valid, run.processor(run.base), model)
        setting = TimingConfig(how.threads, how.batch, runtime=how.runtime)
        tokenizer = tokenizer_of(run.processor(run.base))
        work, inputs = workload_of(model, tokenizer, examples, setting, run.task)
        work = replace(work, measures=())
    folders = {folder.name: folder for folder in others}
    found = bench_all(dense, folders, sentences, how.threads, how.batch, how.rounds, work, inputs)
    rows = {name: each.as_dict() for name, each in found.items() if name != "pruned"}
    return {**found["pruned"].as_dict(), "rows": rows, "same": _same(exports, found)}


def _same(exports: Sequence[Variant], found: Mapping[str, BenchResult]) -> dict[str, dict[str, list[float]]]:
    """For each pruned export the dense model's time in the same precision over its own: median, low, high by phase."""
    ratios: dict[str, dict[str, list[float]]] = {}
    for one in exports:
        twin, own = Variant("dense", one.precision).name, found.get(one.name)
        if one.side == "dense" or own is None or twin not in ("dense", *found):
            continue
        before = own.rounds_ms["dense"] if twin == "dense" else found[twin].rounds_ms["pruned"]
        rounds = {
            phase: [a / b for a, b in zip(before[phase], after, strict=True)]
            for phase, after in own.rounds_ms["pruned"].items()
        }
        ratios[one.name] = {phase: [median(each), *median_interval(each)] for phase, each in rounds.items()}
    return ratios


def harm(run: Run) -> list[str]:
    """A warning where recovery has made the model worse."""
    found = markers(run.out).get("recover").get("loss")
    if not run.recipe.recover.steps or found is None or found["recovered"] <= found["cut"]:
        return []
    return [
        f"recovery raised the validation loss from {found['cut']:.3f} to {found['recovered']:.3f} nats: give it more "
        f"steps than {run.recipe.recover.steps} (--steps), or a lower lr than {run.recipe.recover.lr:g} (--set "
        f"recover.lr=...); the model before it is in {run.out / 'cut'}"
    ]


def cut_short(run: Run) -> list[str]:
    """Warnings where many translations end at the limit, the teacher's too that the pruned model learnt from."""
    done = {name: markers(run.out).get(name) for name in ("distill-data", "evaluate") if run.has(name)}
    facts = evaluated(done["evaluate"])["facts"] if "evaluate" in done else {}
    sides = {"teacher": done.get("distill-data", {}), **facts}
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
    never = run.load(run.base).generation_config.suppress_tokens or ()
    before = len(run.processor(run.base)) - len(never)
    return WrittenTokens(len(spelling.kept), before, spelling.longer)


def results_of(run: Run) -> RunResults:
    """What a run found, from what its stages left; which model it was given, and what it warned of, is to be added."""
    done = {name: markers(run.out).get(name) for name in markers(run.out).names()}
    times, scored, shrunk = done["bench"], evaluated(done["evaluate"]), done["shrink"]
    unit, value = (None, None) if run.plan else run.recipe.prune.target()
    training = read_json(run.out / "run.json").get("training")
    made = provenance(run.command)
    return RunResults(
        dense=_side(run, Variant("dense", FP32), done, scored),
        pruned=_side(run, Variant("pruned", FP32), done, scored),
        speedup=times["speedup"],
        speedup_interval={
            runtime: {measure: tuple(ends) for measure, ends in each.items()}
            for runtime, each in times["speedup_interval"].items()
        },
        noise=decoded(Noise, times["noise"], "noise"),
        metric=scored["metric"],
        difference=decoded(Difference, scored["difference"], "difference"),
        target=Outcome(shrunk["asked"], shrunk["reached"], unit, value),
        taught=decoded(PseudoTargets, done["distill-data"], "distill-data")
        if "at_limit" in done.get("distill-data", {})
        else None,
        spelling=_spelled(run),
        certificate=decoded(Certificate, shrunk["certificate"], "certificate"),
        export=decoded(ExportedSides, done["export"], "export"),
        beams=scored["beams"],
        bench=decoded(Protocol, times, "bench"),
        seed=run.recipe.seed,
        training=None if training is None else decoded(TrainedWith, training, "training"),
        command=made["command"],
        commit=made["commit"],
        versions=made["versions"],
        machine=decoded(Machine, made["machine"], "machine"),
        task=run.task.name,
        baselines={name: decoded(Score, each, name) for name, each in scored["baselines"].items()},
        precision=run.recipe.bench.precision,
        rows=tuple(_row(run, one, done, scored) for one in exports_of(run)) if "rows" in times else (),
        refused=done["export"].get("refused", {}),
    )


def _row(run: Run, one: Variant, done: Mapping[str, Any], scored: Mapping[str, Any]) -> PrecisionRow:
    times, exported = done["bench"], done["export"][one.name]
    changes = scored["changes"][one.name]
    known = {key: decoded(Difference, changes[key], key) for key in changes}
    timed = times if one.plain else times["rows"][one.name]
    speed: Mapping[str, Any] = {} if one == Variant("dense", FP32) else timed
    ratios = {
        phase: Ratio(median, *speed["speedup_interval"][runtime][phase])
        for runtime, phases in speed.get("speedup", {}).items()
        for phase, median in phases.items()
    }
    constants = matrices(ExportCertificate.read(run.out / "onnx" / one.name).products)
    return PrecisionRow(
        model=one.side,
        precision=one.precision.name,
        result=_side(run, one, done, scored),
        speedup=ratios,
        same={phase: Ratio(*each) for phase, each in times["same"].get(one.name, {}).items()},
        agreement={key: exported[key] for key in ("rms", "kl", "top1", "same")},
        in_fp32=sum(constant.precision == FP32.name for constant in constants),
        matrices=len(constants),
        **known,
    )


def _side(run: Run, one: Variant, done: Mapping[str, Any], scored: Mapping[str, Any]) -> SideResults:
    weighs, facts = size(run.load(run.out / one.side), run.task), scored["facts"][one.name]
    # in the results of an export against the dense model in fp32 it is the second
    times, side = (done["bench"], one.side) if one.plain else (done["bench"]["rows"][one.name], "pruned")
    return SideResults(
        scores={name: decoded(Score, each, name) for name, each in scored["scores"][one.name].items()},
        at_limit=facts.get("at_limit"),
        limit=facts.get("limit"),
        parameters=weighs.parameters,
        macs=weighs.macs,
        bytes=sum(done["export"][one.name]["files"].values()),
        latency_ms=times["latency_ms"][side],
        peak_memory=times["peak_memory"][side],
        tokens_per_sentence=times["tokens_per_sentence"][side],
    )
