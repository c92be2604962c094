"""Arguments and options that stand alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.options.checks import at_least_0, named, not_empty
from tprune.cli.options.choices import Precisions

Checkpoint = Annotated[
    str,
    typer.Argument(
        callback=not_empty, help="A hub id, a model's folder, or a run (its pruned model; --dense for the other)."
    ),
]
AnyModel = Annotated[
    str,
    typer.Argument(
        callback=not_empty,
        help="An exported folder, a run (its pruned model; --dense for the other), a model's folder, or a hub id.",
    ),
]
Exported = Annotated[
    str,
    typer.Argument(
        callback=not_empty,
        help="An exported folder, or a run (its exported pruned model; --dense for the other).",
    ),
]
Dense = Annotated[bool, typer.Option("--dense", help="Take the dense model of a run instead of its pruned model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        callback=not_empty,
        help="Runtime that runs the model (default: onnxruntime); see `tprune runtimes`.",
    ),
]
PrecisionOfRun = Annotated[
    Precisions | None,
    typer.Option(
        "--precision",
        help="Precision of a run's exports, or in which a checkpoint is exported first (default: fp32). An exported "
        "folder has its own.",
    ),
]
MaxInt8Loss = Annotated[
    float | None,
    typer.Option(
        "--max-int8-loss",
        callback=at_least_0,
        metavar="<float>",
        help="Loss that int8 may add on validation data, in nats per output; the weights that add most stay in fp32 "
        "until it holds, in every export in int8 (default: no limit).",
    ),
]
Uncertified = Annotated[
    bool,
    typer.Option(
        "--uncertified",
        help="Take an exported model even where its certificate says that it is too far from the PyTorch model.",
    ),
]
Beams = Annotated[
    int | None, typer.Option("--beam", min=1, help="Number of beams; 1 is greedy search (default: as exported).")
]
BenchThreads = Annotated[int, typer.Option("--threads", min=1, help="Number of threads of the runtime.")]
Sentences = Annotated[
    Path | None,
    typer.Option(
        "--sentences",
        parser=named,
        metavar="<path>",
        help="Source sentences of a translation model, one a line (.gz too).",
    ),
]
