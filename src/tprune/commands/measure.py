"""The verbs that run a model: evaluate, bench, translate, export, runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.commands.console import say, show, stdin_lines
from tprune.commands.options import (
    AsJson,
    BleuTokenize,
    Columns,
    DataSet,
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
    typer.Argument(callback=not_empty, help="An exported model, a run, a model's directory, or a hub id."),
]
ONNX = "onnxruntime"
Beams = Annotated[int | None, typer.Option("--beam", min=1, help="As exported if not given; 1 is greedy.")]


def evaluate(
    model: AnyModel,
    src: Annotated[Path | None, typer.Option("--src", parser=named, metavar="<path>", help="Source sentences, one a line (.gz too).")] = None,
    tgt: Annotated[Path | None, typer.Option("--tgt", parser=named, metavar="<path>", help="Their reference translations.")] = None,
    data: DataSet = None,
    columns: Columns = None,
    against: Annotated[str | None, typer.Option(callback=not_empty, help="Another model to compare with, on the same sentences.")] = None,
    beams: Beams = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Number of threads that translate (default: the usable cores, fewer where OMP_NUM_THREADS says so).")] = None,
    runtime: Runtime = None,
    bleu_tokenize: BleuTokenize = None,
    long_lines: LongLines = None,
    long_share: LongShare = 0.01,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """BLEU with its 95 % interval, chrF, signatures; of a run, its pruned model against its dense one."""
    from tprune.commands.evaluate import evaluate as evaluated
    from tprune.commands.sentences import test_of
    from tprune.report.verb_tables import quality_table
    from tprune.tasks.long_lines import OPTION
    from tprune.tasks.long_lines import LongLines as Long

    long, text = Long((long_lines or LongLinesHow.SKIP).value, long_share, OPTION), test_of(src, tgt, data, columns)
    found = evaluated(model, text, against, beams, threads, say, runtime, tokenize=bleu_tokenize, long_lines=long)
    show(found, as_json, quality_table)


def bench(
    dense: Annotated[Path, typer.Argument(help="An exported model, such as runs/demo/onnx/dense.")],
    pruned: Annotated[Path, typer.Argument(help="Another one; the same again shows the noise of the machine.")],
    sentences: Annotated[
        Path,
        typer.Option("--sentences", parser=named, metavar="<path>", help="Source sentences, one a line (.gz too)."),
    ],
    threads: Annotated[int, typer.Option(min=1, help="Of the runtime.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Sentences at once.")] = 1,
    rounds: Annotated[
        int,
        typer.Option(
            min=4, callback=even, help="An even number; under 6 the intervals are the range of what was measured."
        ),
    ] = 16,
    as_json: AsJson = False,
) -> None:
    """Two exported models against each other: one process each, in turns; encoder, decoder step, whole sentences."""
    from tprune import bench as benching
    from tprune.report.verb_tables import bench_table

    found = benching.bench(dense, pruned, sentences, threads, batch, rounds).as_dict()
    show(found, as_json, bench_table)


def translate(
    model: Annotated[Path, typer.Argument(help="An exported model, such as runs/demo/onnx/pruned.")],
    beams: Beams = None,
    threads: Annotated[int, typer.Option(min=1, help="Of the runtime.")] = 1,
) -> None:
    """Sentences from standard input to standard output, one line for each, by the runtime that the model was exported for."""
    from tprune.data import one_line
    from tprune.runtimes.translate import Translator, cut_often

    translator = Translator.load(model, threads)
    found = translator.translated(stdin_lines(), beams)
    for said in found.texts:
        print(one_line(said))
    for line in cut_often(str(model), found.share, found.limit):
        say(f"warning: {line}")


def export(
    model: AnyModel,
    out: Annotated[Path, typer.Option("--out", parser=named, metavar="<path>", help="The folder of the exported model; an older export there is replaced once the new one is checked.")],
    sentences: Annotated[Path | None, typer.Option("--sentences", parser=named, metavar="<path>", help="Source sentences for the check, one a line (.gz too); some built-in ones if not given.")] = None,
    runtime: Runtime = None,
    precision: ExportPrecision = ExportPrecisions.FP32,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """A model to what a runtime executes, checked against PyTorch: logits, greedy and beam search. Of a run, its pruned model."""
    from tprune.commands.evaluate import export_to
    from tprune.data import read_lines
    from tprune.report.verb_tables import export_table

    found = export_to(model, out, None if sentences is None else read_lines(sentences), say, runtime or ONNX)
    show(found, as_json, export_table)


def runtimes(as_json: AsJson = False) -> None:
    """What can run a pruned model, what of it is installed here, and how to get the rest."""
    from tprune.report.verb_tables import runtimes_table
    from tprune.runtimes.matrix import matrix

    show({"runtimes": matrix()}, as_json, runtimes_table)
