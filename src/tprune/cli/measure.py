"""The verbs that run a model: evaluate, bench, translate, export, runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import chosen, say, show, stdin_lines, told
from tprune.cli.options import (
    AsJson,
    BleuTokenize,
    Columns,
    DataSet,
    Dense,
    ExportPrecision,
    ExportPrecisions,
    LongLines,
    LongLinesHow,
    LongShare,
    Runtime,
    even,
    named,
    not_empty,
)

AnyModel = Annotated[
    str,
    typer.Argument(callback=not_empty, help="An exported folder, a run (its pruned model; --dense for the other), a model's folder, or a hub id."),
]  # fmt: skip
Exported = Annotated[
    str,
    typer.Argument(callback=not_empty, help="An exported folder, or a run (its exported pruned model; --dense for the other)."),
]  # fmt: skip
ONNX = "onnxruntime"
Beams = Annotated[
    int | None, typer.Option("--beam", min=1, help="Number of beams; 1 is greedy (default: as exported).")
]


def evaluate(
    model: AnyModel,
    src: Annotated[Path | None, typer.Option("--src", parser=named, metavar="<path>", help="Source sentences, one a line (.gz too).")] = None,
    tgt: Annotated[Path | None, typer.Option("--tgt", parser=named, metavar="<path>", help="Reference translations of these sentences.")] = None,
    data: DataSet = None,
    columns: Columns = None,
    against: Annotated[str | None, typer.Option(callback=not_empty, help="Another model to compare with, on the same sentences; a run is its pruned model (default: of a run, its dense model).")] = None,
    beams: Beams = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Number of threads that translate (default: the usable cores, fewer where OMP_NUM_THREADS says so).")] = None,
    runtime: Runtime = None,
    bleu_tokenize: BleuTokenize = None,
    long_lines: LongLines = None,
    long_share: LongShare = 0.01,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """BLEU with its 95 % interval, chrF, signatures; of a run, its pruned model against its dense one, or with --dense that alone."""
    from tprune.cli.sentences import test_of
    from tprune.run.lookup import check_dense, is_run, runnable_at

    check_dense(filter(None, (model, against)), dense)
    side = {name: dense and is_run(name) for name in (model, against) if name}
    other = against
    if against is not None:
        other = told(against, runnable_at(against, side[against]), side[against])
    elif is_run(model) and not dense:
        other = runnable_at(model, dense=True)
    where = told(model, runnable_at(model, side[model]), side[model])
    pairs = test_of(src, tgt, data, columns)
    from tprune.cli.evaluate import evaluate as evaluated
    from tprune.report.verb_tables import quality_table
    from tprune.tasks.translation.long_lines import OPTION
    from tprune.tasks.translation.long_lines import LongLines as Long

    long = Long((long_lines or LongLinesHow.SKIP).value, long_share, OPTION)
    found = evaluated(where, pairs, other, beams, threads, say, runtime, tokenize=bleu_tokenize, long_lines=long)
    show(found, as_json, quality_table)


def bench(
    model: Exported,
    other: Annotated[str | None, typer.Argument(callback=not_empty, help="Another one; the same again shows the noise of the machine (default: of a run, its dense model is timed against its pruned one).")] = None,
    sentences: Annotated[Path | None, typer.Option("--sentences", parser=named, metavar="<path>", help="Source sentences, one a line (.gz too); for translation models, which need them.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Number of threads of the runtime.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Number of inputs (of sentences) at once.")] = 1,
    rounds: Annotated[int, typer.Option(min=4, callback=even, help="Number of rounds, an even one; under 6 the intervals are the range of what was measured.")] = 16,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Two exported models against each other: one process each, in turns; of translation models the encoder, a decoder step and whole sentences."""
    from tprune.run.lookup import check_dense, exported_at, is_run

    if other is None and (dense or not is_run(model)):
        why = "--dense takes one side of a run" if dense else f"{model} is no run, of which both sides would be timed"
        raise typer.BadParameter(f"{why}; name a second model")
    check_dense(filter(None, (model, other)), dense)
    if other is None:
        sides, names = (exported_at(model, dense=True), exported_at(model)), ("dense", "pruned")
    else:
        first, second = (
            Path(told(name, str(exported_at(name, dense and is_run(name))), dense)) for name in (model, other)
        )
        sides, names = (first, second), (str(first), str(second))
    from tprune.bench import harness as benching
    from tprune.report.verb_tables import bench_table

    found = benching.bench(*sides, sentences, threads, batch, rounds)
    show(found.as_dict(), as_json, lambda _: bench_table(found, names))


def translate(
    model: Exported,
    beams: Beams = None,
    threads: Annotated[int, typer.Option(min=1, help="Number of threads of the runtime.")] = 1,
    dense: Dense = False,
) -> None:
    """Sentences from standard input to standard output, one line for each, by the runtime that the model was exported for."""
    from tprune.run.lookup import exported_at

    where = told(model, str(exported_at(model, dense)), dense)
    from tprune.data.parallel import one_line
    from tprune.runtimes.translator import Translator, cut_often

    translator = Translator.load(Path(where), threads)
    found = translator.translated(stdin_lines(), beams)
    for said in found.texts:
        print(one_line(said))
    for line in cut_often(where, found.share, found.limit):
        say(f"warning: {line}")


def export(
    model: AnyModel,
    out: Annotated[Path, typer.Option("--out", parser=named, metavar="<path>", help="Folder of the exported model; an older export there is replaced once the new one is checked.")],
    sentences: Annotated[Path | None, typer.Option("--sentences", parser=named, metavar="<path>", help="Sentences for the check, one a line (.gz too); some built-in ones for a translation model, and random inputs for others, if not given.")] = None,
    runtime: Runtime = None,
    precision: ExportPrecision = ExportPrecisions.FP32,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """A model to what a runtime executes, checked against PyTorch: logits, and what a translation model writes. Of a run, its pruned model."""
    from tprune.data.parallel import read_lines

    where = chosen(model, dense)
    texts = None if sentences is None else read_lines(sentences)
    from tprune.cli.evaluate import export_to
    from tprune.report.verb_tables import export_table

    found = export_to(where, out, texts, say, runtime or ONNX)
    show(found, as_json, export_table)


def runtimes(as_json: AsJson = False) -> None:
    """What can run a pruned model, what of it is installed here, and how to get the rest."""
    from tprune.report.verb_tables import runtimes_table
    from tprune.runtimes.matrix import matrix

    show({"runtimes": matrix()}, as_json, runtimes_table)
