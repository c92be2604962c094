"""The command line: demo, run, prune, analyze, bench, translate, inspect."""

from __future__ import annotations

import io
import json
import logging
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from tprune.commands.options import (
    AsJson,
    Batch,
    Blocks,
    Bytes,
    DenseModel,
    DryRun,
    GivenPlan,
    Kinds,
    LatencyMs,
    Macs,
    MemoryMb,
    Out,
    Params,
    Precision,
    Runtime,
    Runtimes,
    Seed,
    Source,
    Speedup,
    Stock,
    TestSource,
    TestTranslations,
    Threads,
    Translations,
    TrimVocab,
    ValidSource,
    ValidTranslations,
    even,
    not_empty,
    one_target,
    together,
)  # fmt: skip
from tprune.errors import InputError, TpruneError

app = typer.Typer(add_completion=True, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def demo(out: Out = Path("runs/demo"), seed: Seed = None, as_json: AsJson = False) -> None:
    """First success: train a small translation model, prune it, and measure what that gave. A few minutes, no downloads."""
    from tprune.recipe import read_recipe
    from tprune.tasks.grammar import corpus

    recipe = read_recipe(Path(__file__).parent / "demo.yaml")
    recipe = recipe if seed is None else recipe.model_copy(update={"seed": seed})
    _run(recipe, corpus(seed=recipe.seed, **recipe.data.limit), None, out, as_json)


@app.command("run")
def run_recipe(
    recipe: Annotated[Path, typer.Argument(help="A recipe (YAML).")],
    out: Out,
    data: Annotated[Path | None, typer.Option(help="The folder with the recipe's files; without it the corpus comes from the hub.")] = None,
    model: Annotated[str | None, typer.Option(callback=not_empty, help="Start from this trained model: a directory or a hub id.")] = None,
    src: Source = None, tgt: Translations = None, valid_src: ValidSource = None, valid_tgt: ValidTranslations = None,
    test_src: TestSource = None, test_tgt: TestTranslations = None,
    macs: Macs = None, params: Params = None, size: Bytes = None, memory_mb: MemoryMb = None, speedup: Speedup = None,
    latency_ms: LatencyMs = None, threads: Threads = None, batch: Batch = None, runtime: Runtime = Runtimes.ONNXRUNTIME,
    trim_vocab: TrimVocab = None, plan: GivenPlan = None, stock: Stock = False, dry_run: DryRun = False,
    precision: Precision = None, seed: Seed = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """All stages of a recipe: train, analyse, prune, shrink, recover, export, evaluate, measure, report."""
    sizes: dict[str, Any] = {"macs": macs, "params": params, "bytes": size, "memory_mb": memory_mb}
    targets = {**sizes, "speedup": speedup, "latency_ms": latency_ms}
    one_target(plan, False, **targets)
    from tprune.commands.prune import changed
    from tprune.recipe import read_recipe

    given = {"bench.threads": threads, "bench.batch": batch, "seed": seed, "precision": precision, **_stock(stock)}
    checked = changed(read_recipe(recipe), str(recipe), given, targets, needed=plan is None)
    files = _files(data, train=(src, tgt), valid=(valid_src, valid_tgt), test=(test_src, test_tgt))
    _run(checked, _corpus(checked, files, data), model, out, as_json, trim=trim_vocab, plan=plan, dry=dry_run)


@app.command()
def prune(
    model: DenseModel, out: Out,
    src: Source = None, tgt: Translations = None, valid_src: ValidSource = None, valid_tgt: ValidTranslations = None,
    test_src: TestSource = None, test_tgt: TestTranslations = None,
    macs: Macs = None, params: Params = None, size: Bytes = None, memory_mb: MemoryMb = None, speedup: Speedup = None,
    latency_ms: LatencyMs = None, threads: Threads = None, batch: Batch = None, runtime: Runtime = Runtimes.ONNXRUNTIME,
    trim_vocab: TrimVocab = None, plan: GivenPlan = None, stock: Stock = False, dry_run: DryRun = False,
    kinds: Annotated[list[Kinds] | None, typer.Option("--kind", help="What may be cut; repeat for several. ffn, heads, qk and vo if not given.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=0, help="Of recovery; 3000 if not given.")] = None,
    one_shot: Annotated[bool, typer.Option("--one-shot", help="No training at all: minutes, from a few hundred sentences.")] = False,
    recipe: Annotated[Path | None, typer.Option("--recipe", help="Settings other than the built-in ones (YAML).")] = None,
    precision: Precision = None, seed: Seed = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A trained model to a smaller one: choose what goes, cut, recover, export, evaluate, measure, report."""
    sizes: dict[str, Any] = {"macs": macs, "params": params, "bytes": size, "memory_mb": memory_mb}
    targets = {**sizes, "speedup": speedup, "latency_ms": latency_ms}
    one_target(plan, recipe is None, **targets)
    together("--src", src, "--tgt", tgt)
    together("--valid-src", valid_src, "--valid-tgt", valid_tgt)
    together("--test-src", test_src, "--test-tgt", test_tgt)
    if stock and kinds and set(kinds) != {Kinds.FFN}:
        raise typer.BadParameter(f"--stock cuts ffn only; leave out {' '.join(f'--kind {kind}' for kind in kinds)}")
    if one_shot and steps:
        raise typer.BadParameter(f"--one-shot trains nothing; leave out --steps {steps}")
    from tprune.commands.analyze import dense_of
    from tprune.commands.prune import changed, pairs_of
    from tprune.recipe import read_recipe

    file = recipe or Path(__file__).parent / "prune.yaml"
    given = {
        "bench.threads": threads, "bench.batch": batch, "seed": seed, "precision": precision, "prune.kinds": kinds or None,
        "recover.steps": 0 if one_shot else steps, **_stock(stock),
        # what nothing is trained for afterwards may as well go
        "prune.floor": 0.0 if one_shot and recipe is None else None,
    }  # fmt: skip
    checked = changed(read_recipe(file), str(file) if recipe else "prune", given, targets, needed=plan is None)
    files = pairs_of((src, tgt), (valid_src, valid_tgt), (test_src, test_tgt))
    _run(checked, _corpus(checked, files, None), dense_of(model), out, as_json, trim=trim_vocab, plan=plan, dry=dry_run)


def _stock(asked: bool) -> dict[str, Any]:
    """What `--stock` means in a recipe."""
    return {"prune.stock": True, "prune.kinds": ["ffn"]} if asked else {}


@app.command()
def analyze(
    model: DenseModel,
    src: Annotated[Path, typer.Option(help="Source sentences to train on, one a line (.gz too).")],
    tgt: Annotated[Path, typer.Option(help="Their translations.")],
    valid_src: Annotated[Path, typer.Option(help="Source sentences for validation.")],
    valid_tgt: Annotated[Path, typer.Option(help="Their translations.")],
    steps: Annotated[int, typer.Option(min=1, help="Of training, shared by all strengths.")] = 150,
    blocks: Annotated[Blocks, typer.Option(help="Whole matrices, or the slices of attention projections that belong to one head.")] = Blocks.MATRIX,
    out: Annotated[Path | None, typer.Option("--out", help="A folder for analysis.json and analysis.html.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of batches and dropout.")] = 0,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """What gives way in a trained model, axis by axis, and what to prune or leave alone; the model is not changed."""
    from tprune.commands import analyze as verb
    from tprune.data import read_pair
    from tprune.progress import Progress
    from tprune.recipe import Analyze
    from tprune.report.analysis_table import analysis_table

    train, valid = read_pair(src, tgt), read_pair(valid_src, valid_tgt)
    progress = Progress({"analyze": 1.3 * steps})
    progress.stage("analyze", f"{steps} steps of group lasso on all lines")
    how = Analyze(steps=steps, blocks=blocks.value)
    found = verb.analyze(
        model, train, valid, how, out=out, seed=seed, command=_command(), callbacks=[progress], report=_say
    )
    _print(found.as_dict(), as_json, analysis_table)
    if out is not None and not as_json:
        print(f"\n{out / 'analysis.json'}\n{out / 'analysis.html'}")


@app.command()
def bench(
    dense: Annotated[Path, typer.Argument(help="An exported model: a folder with encoder.onnx and decoder.onnx.")],
    pruned: Annotated[Path, typer.Argument(help="Another one; the same again shows the noise of the machine.")],
    sentences: Annotated[Path, typer.Option(help="Source sentences, one a line (.gz too).")],
    threads: Annotated[int, typer.Option(min=1)] = 1,
    batch: Annotated[int, typer.Option(min=1)] = 1,
    rounds: Annotated[int, typer.Option(min=4, callback=even, help="An even number.")] = 16,
    as_json: AsJson = False,
) -> None:
    """Two exported models against each other: one process each, in turns; encoder, decoder step, whole sentences."""
    from tprune import bench as benching
    from tprune.report.table import bench_table

    found = benching.bench(dense, pruned, sentences, threads, batch, rounds).as_dict()
    _print(found, as_json, bench_table)


@app.command()
def translate(
    model: Annotated[Path, typer.Argument(help="An exported model: a folder with encoder.onnx and decoder.onnx.")],
    beams: Annotated[int | None, typer.Option("--beam", min=1, help="As exported if not given; 1 is greedy.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 1,
) -> None:
    """Sentences from standard input to standard output, by onnxruntime alone."""
    from tprune.runtimes.onnx_translate import Translator

    translator = Translator.load(model, threads)
    for said in translator.translate(_stdin_lines(), beams):
        print(said)


@app.command()
def inspect(
    model: DenseModel,
    kinds: Annotated[
        list[str] | None, typer.Option("--kind", help="Only couplings of this kind; repeat for several.")
    ] = None,
) -> None:
    """What a model could lose: its couplings with their patterns, and its size."""
    from tprune.checkpoint import load
    from tprune.commands.analyze import dense_of
    from tprune.coupling import bind
    from tprune.models import couplings
    from tprune.report.table import couplings_table
    from tprune.size import size

    loaded = load(dense_of(model))
    shown = couplings(loaded, kinds) if kinds else [c for c in couplings(loaded) if c.kind != "lines"]
    print(couplings_table(bind(shown, loaded)))
    found = size(loaded)
    print(f"{found.parameters:,} parameters, {found.macs:,} multiplications for 25 source and 25 target tokens")
    if not kinds:
        print("not shown: the lines of single matrices (--kind lines)")


def main() -> None:
    """Entry point: one clear line for what the user can mend, exit 1; usage errors exit 2, Ctrl-C 130."""
    _quieten()
    try:
        app()
    except (TpruneError, OSError) as error:
        print(f"tprune: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("TPRUNE_DEBUG"):
            raise
        said = " ".join(str(error).split())[:300]
        print(f"tprune: unexpected {type(error).__name__}: {said} (TPRUNE_DEBUG=1 shows where)", file=sys.stderr)
        sys.exit(1)


def _stdin_lines() -> list[str]:
    if sys.stdin is None:
        raise InputError("standard input is closed; expected one sentence a line")
    raw = sys.stdin.buffer.read().split(b"\n")
    lines = []
    for number, line in enumerate(raw[:-1] if raw[-1] == b"" else raw, start=1):
        try:
            lines.append(line.decode("utf-8").removesuffix("\r").removeprefix("\ufeff"))
        except UnicodeDecodeError as error:
            raise InputError(
                f"standard input: line {number} is not UTF-8 (byte {error.start + 1} of the line)"
            ) from None
    return lines


def _run(
    recipe: Any, corpus: Any, model: str | None, out: Path, as_json: bool, *,
    trim: str | None = None, plan: Path | None = None, dry: bool = False,
) -> None:  # fmt: skip
    from tprune.commands.prune import vocabulary_of
    from tprune.pipeline import TRAINED, expected_seconds, run
    from tprune.progress import Progress
    from tprune.report.table import results_table
    from tprune.run_folder import Run

    size = recipe.model
    parameters = size.vocabulary * size.d_model + sum(size.layers) * (6 * size.d_model**2 + 2 * size.d_model * size.ffn)
    progress = Progress(expected_seconds(recipe, parameters, model is None, trim is not None))
    if dry:
        progress = Progress({name: seconds for name, seconds in progress.plan.items() if name not in TRAINED})
    vocabulary = vocabulary_of(trim, corpus)
    try:
        results = run(Run(out, recipe, corpus, model, _command(), progress, plan, vocabulary, dry))
    except KeyboardInterrupt:
        print(f"tprune: interrupted; to go on: {_command()}", file=sys.stderr)
        raise typer.Exit(130) from None
    if dry:
        _print(results, as_json, lambda found: f"{out / 'promise.json'}")
        return
    _print(results, as_json, results_table)
    if not as_json:
        print(f"\n{out / 'results.json'}\n{out / 'report.html'}\n{out / 'pruned'}  (the pruned model)")


def _files(root: Path | None, **pairs: tuple[Path | None, Path | None]) -> dict[str, list[tuple[Path, Path]]]:
    given = [path for pair in pairs.values() for path in pair]
    if not any(given):
        return {}
    if root is not None:
        raise InputError("give either --data or the six files, not both")
    if not all(given):
        raise InputError("own files: give all six of --src --tgt --valid-src --valid-tgt --test-src --test-tgt")
    return {split: [(source, target)] for split, (source, target) in pairs.items() if source and target}


def _corpus(recipe: Any, files: dict[str, list[tuple[Path, Path]]], root: Path | None) -> Any:
    from tprune.data import Corpus, from_hub, read_corpus

    spec = recipe.data
    if files:
        found = read_corpus(files)
    elif root is not None:
        found = read_corpus({k: [(Path(s), Path(t)) for s, t in v] for k, v in spec.files.items()}, root)
    elif spec.hub:
        found = from_hub(spec.hub, spec.source, spec.target)
    else:
        raise InputError("no corpus: give --data DIR, or --src --tgt --valid-src --valid-tgt --test-src --test-tgt")
    most = {split: spec.limit.get(split, 10**9) for split in ("train", "valid", "test")}
    tests = {name: pairs.head(most["test"]) for name, pairs in found.tests.items()}
    return Corpus(found.train.head(most["train"]), found.valid.head(most["valid"]), tests)


def _print(results: dict[str, Any], as_json: bool, table: Any) -> None:
    print(json.dumps(results, indent=1, ensure_ascii=False) if as_json else table(results))


def _say(text: str) -> None:
    print(f"tprune: {text}", file=sys.stderr)


def _command() -> str:
    return shlex.join(["tprune", *sys.argv[1:]])


def _quieten() -> None:
    """Third parties' warnings and bars are not the user's; their errors still come through as ours."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):  # whatever the locale says, sentences are UTF-8
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")


if __name__ == "__main__":
    main()
