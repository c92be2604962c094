"""The verbs that make a smaller model: demo, run, prune."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tprune.cli.console import chosen, show, typed
from tprune.cli.options import (
    AsJson,
    Batch,
    Bytes,
    Checkpoint,
    Columns,
    DataSet,
    Dense,
    Device,
    Devices,
    DryRun,
    Force,
    GivenPlan,
    Kinds,
    LatencyMs,
    LongLines,
    Macs,
    MemoryMb,
    Out,
    OutputVocab,
    Params,
    RecipeData,
    Runtime,
    Seed,
    Settings,
    Source,
    Speedup,
    Stock,
    TestSource,
    TestTranslations,
    Threads,
    TrainPrecision,
    Translations,
    TrimVocab,
    Until,
    ValidSource,
    ValidTranslations,
    not_empty,
    one_target,
    together,
)  # fmt: skip
from tprune.core.kinds import STOCK

DEMO = Path(__file__).parents[1] / "run" / "defaults" / "demo.yaml"


def demo(
    out: Out = Path("runs/demo"),
    seed: Seed = None,
    device: Device = Devices.AUTO,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """First success: train a small translation model, prune it, and measure what that gave. A few minutes, no downloads."""
    from tprune.data.synthetic.grammar import corpus
    from tprune.recipe.reader import read_recipe

    recipe = read_recipe(DEMO)
    recipe = recipe if seed is None else recipe.model_copy(update={"seed": seed})
    _run(recipe, corpus(seed=recipe.seed, **recipe.data.limit), None, out, as_json, device=device, force=force)


def run_recipe(
    recipe: Annotated[Path, typer.Argument(help="A recipe: a YAML file.")],
    out: Out,
    data: RecipeData = None, columns: Columns = None,
    model: Annotated[str | None, typer.Option(callback=not_empty, help="Trained model to start from: a model's folder, a hub id or a run (default: train the recipe's).")] = None,
    src: Source = None, tgt: Translations = None, valid_src: ValidSource = None, valid_tgt: ValidTranslations = None,
    test_src: TestSource = None, test_tgt: TestTranslations = None,
    macs: Macs = None, params: Params = None, size: Bytes = None, memory_mb: MemoryMb = None, speedup: Speedup = None,
    latency_ms: LatencyMs = None, threads: Threads = None, batch: Batch = None, runtime: Runtime = None,
    trim_vocab: TrimVocab = None, output_vocab: OutputVocab = None, plan: GivenPlan = None, stock: Stock = False, dry_run: DryRun = False, long_lines: LongLines = None,
    train_precision: TrainPrecision = None, seed: Seed = None, sets: Settings = None, until: Until = None,
    dense: Dense = False, device: Device = Devices.AUTO, force: Force = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """All stages of a recipe: train, analyse, prune, shrink, recover, export, evaluate, measure, report."""
    sizes: dict[str, Any] = {"macs": macs, "params": params, "bytes": size, "memory_mb": memory_mb}
    targets = {**sizes, "speedup": speedup, "latency_ms": latency_ms}
    one_target(plan, False, **targets)
    from tprune.cli.sentences import Given, corpus_of
    from tprune.recipe.changes import changed, options, settings
    from tprune.recipe.reader import read_recipe

    if dense and model is None:
        raise typer.BadParameter("--dense says which model of a run to start from; give --model RUN, or leave it out")
    extra = settings(sets or ())
    given = {
        "bench.threads": threads,
        "bench.batch": batch,
        "bench.runtime": runtime,
        "seed": seed,
        "train_precision": train_precision,
        "prune.output_vocabulary": output_vocab,
        "data.long_lines": long_lines,
        **_stock(stock),
    }
    named = _named(str(recipe), sets)
    checked = changed(read_recipe(recipe), named, options(given, extra), targets, needed=plan is None)
    start = None if model is None else chosen(model, dense)
    given_text = Given((src, tgt), (valid_src, valid_tgt), (test_src, test_tgt), data, columns)
    _run(
        checked,
        corpus_of(given_text, checked.data, ("train", "valid", "test"), checked.seed),
        start,
        out,
        as_json,
        trim=trim_vocab,
        plan=plan,
        dry=dry_run,
        until=until,
        device=device,
        force=force,
    )


def prune(
    model: Checkpoint, out: Out, data: DataSet = None, columns: Columns = None,
    src: Source = None, tgt: Translations = None, valid_src: ValidSource = None, valid_tgt: ValidTranslations = None,
    test_src: TestSource = None, test_tgt: TestTranslations = None,
    macs: Macs = None, params: Params = None, size: Bytes = None, memory_mb: MemoryMb = None, speedup: Speedup = None,
    latency_ms: LatencyMs = None, threads: Threads = None, batch: Batch = None, runtime: Runtime = None,
    trim_vocab: TrimVocab = None, output_vocab: OutputVocab = None, plan: GivenPlan = None, stock: Stock = False, dry_run: DryRun = False, long_lines: LongLines = None,
    kinds: Annotated[list[Kinds] | None, typer.Option("--kind", help="Kind of couplings that may be cut; repeat for several (default: ffn, heads, qk and vo).")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=0, help="Number of training steps of recovery (default: the recipe's, 3000).")] = None,
    one_shot: Annotated[bool, typer.Option("--one-shot", help="Train nothing; takes minutes, from a few hundred sentences.")] = False,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="YAML file with the settings (default: the built-in recipe).")] = None,
    train_precision: TrainPrecision = None, seed: Seed = None, sets: Settings = None, until: Until = None,
    dense: Dense = False, device: Device = Devices.AUTO, force: Force = False, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A trained model to a smaller one: choose what goes, cut, recover, export, evaluate, measure, report."""
    sizes: dict[str, Any] = {"macs": macs, "params": params, "bytes": size, "memory_mb": memory_mb}
    targets = {**sizes, "speedup": speedup, "latency_ms": latency_ms}
    one_target(plan, recipe is None, **targets)
    together("--src", src, "--tgt", tgt)
    together("--valid-src", valid_src, "--valid-tgt", valid_tgt)
    together("--test-src", test_src, "--test-tgt", test_tgt)
    if stock and kinds and set(kinds) - set(STOCK):
        raise typer.BadParameter(
            f"--stock cuts {', '.join(STOCK)} only; leave out {' '.join(f'--kind {kind}' for kind in kinds)}"
        )
    if one_shot and steps:
        raise typer.BadParameter(f"--one-shot trains nothing; leave out --steps {steps}")
    if output_vocab is not None and (one_shot or steps == 0):
        raise typer.BadParameter(
            f"--output-vocab {output_vocab} has to be learnt; leave out {'--one-shot' if one_shot else '--steps 0'}"
        )
    from tprune.cli.sentences import Given, corpus_of
    from tprune.recipe.changes import BUILT_IN, changed, options, settings, without_training
    from tprune.recipe.reader import read_recipe

    extra = settings(sets or ())
    if one_shot and (trains := [key for key in ("prune.steps", "recover.steps") if extra.get(key)]):
        raise typer.BadParameter(f"--one-shot trains nothing; leave out --set {trains[0]}={extra[trains[0]]}")
    file = recipe or BUILT_IN
    given = {
        "bench.threads": threads, "bench.batch": batch, "bench.runtime": runtime, "seed": seed, "train_precision": train_precision, "prune.kinds": kinds or None, "prune.output_vocabulary": output_vocab, "data.long_lines": long_lines,
        "recover.steps": steps, **_stock(stock), **(without_training(recipe is None) if one_shot else {}),
    }  # fmt: skip
    named = _named(str(file) if recipe else "prune", sets)
    checked = changed(read_recipe(file), named, options(given, extra), targets, needed=plan is None)
    start = chosen(model, dense)
    given_text = Given((src, tgt), (valid_src, valid_tgt), (test_src, test_tgt), data, columns)
    _run(
        checked,
        corpus_of(given_text, checked.data, ("train", "valid"), checked.seed),
        start,
        out,
        as_json,
        trim=trim_vocab,
        plan=plan,
        dry=dry_run,
        until=until,
        device=device,
        force=force,
    )


def _named(recipe: str, sets: Sequence[str] | None) -> str:
    """A recipe's name for messages, with what was set: "r.yaml with --set a=1, b=2"."""
    return recipe + (f" with --set {', '.join(sets)}" if sets else "")


def _stock(asked: bool) -> dict[str, Any]:
    """What `--stock` means in a recipe."""
    return {"prune.stock": True, "prune.kinds": list(STOCK)} if asked else {}


def _run(
    recipe: Any, corpus: Any, model: str | None, out: Path, as_json: bool, *,
    trim: str | None = None, plan: Path | None = None, dry: bool = False, until: str | None = None, device: str = "auto", force: bool = False,
) -> None:  # fmt: skip
    from tprune.bench.harness import check_batch
    from tprune.cli.sentences import vocabulary_of
    from tprune.run.out_folder import check_folder
    from tprune.run.stage import check_until, stage_named
    from tprune.support.errors import printable
    from tprune.support.machine import check_threads, use_device

    # what a command line says by itself is told before anything heavy is imported
    check_folder(out)
    check_threads(recipe.bench.threads)
    check_batch(recipe.bench.batch, len(corpus.pooled_test()))
    if until is not None:
        check_until(until, recipe, trim is not None, plan is not None)
    vocabulary = vocabulary_of(trim, corpus)
    use_device(device)
    from tprune.cli.hints import hinting
    from tprune.report.results import RunResults
    from tprune.report.table import results_table
    from tprune.run.estimates import planned
    from tprune.run.folder import Run
    from tprune.run.log import logged
    from tprune.run.stages import run
    from tprune.support.reporting import Progress

    progress = Progress(planned(recipe, trim is not None, plan is not None))
    if dry:
        progress = Progress({name: seconds for name, seconds in progress.plan.items() if stage_named(name).dry})
    elif until in progress.plan:
        names = list(progress.plan)
        progress = Progress({name: progress.plan[name] for name in names[: names.index(until) + 1]})
    with logged(out, progress.show), progress.pulse, hinting(recipe, trim is not None, lambda: progress.name):
        results = run(Run(out, recipe, corpus, model, typed(), progress, plan, vocabulary, dry, until, force))
    if until is not None:
        show(results, as_json, lambda found: f"stopped after {until}; to go on, the same without --until")
        return
    if dry:
        show(results, as_json, lambda found: f"{out / 'forecast.json'}")
        return
    show(results, as_json, lambda found: results_table(RunResults.from_json(found)))
    if not as_json:
        print(printable(f"\n{out / 'results.json'}\n{out / 'report.html'}\n{out / 'pruned'}  (the pruned model)"))
