"""`tprune export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tprune.cli.console import chosen, say, show
from tprune.cli.given import Given, task_name
from tprune.cli.options.checks import named
from tprune.cli.options.data import ValidPairs, ValidSets, given_data
from tprune.cli.options.numbers import ExportNumbers
from tprune.cli.options.single import AnyModel, AsJson, Dense, Runtime
from tprune.core.precision import Precision

ONNX = "onnxruntime"


def export(
    model: AnyModel,
    sets: ValidSets,
    pairs: ValidPairs,
    options: ExportNumbers,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=named,
            metavar="<path>",
            help="Folder of the exported model; an older export there is replaced once the new one is checked.",
        ),
    ],
    sentences: Annotated[
        Path | None,
        typer.Option(
            "--sentences",
            parser=named,
            metavar="<path>",
            help="Sentences for the check, one a line (.gz too) (default: built-in English sentences for translation, "
            "random inputs for other tasks).",
        ),
    ] = None,
    runtime: Runtime = None,
    opset: Annotated[
        int | None,
        typer.Option(
            "--opset",
            metavar="<int>",
            help="Opset of ONNX files: 21 for onnxruntime 1.20 or newer, 22 for 1.22, 23 for 1.23, which has "
            "attention as one operator (default: 23).",
        ),
    ] = None,
    dense: Dense = False,
    as_json: AsJson = False,
) -> None:
    """Export a model (a run's pruned model) for a runtime, and check its outputs against PyTorch.

    With --max-int8-loss, weights stay in fp32 by what int8 adds to the loss on --valid data. --calibration static
    measures activations on this data.
    """
    from tprune.cli.early import check_export
    from tprune.data.parallel import read_lines
    from tprune.runtimes.possible import check_folder

    where = chosen(model, dense)
    numbers, runtime = options.value, runtime or ONNX
    check_export(where, runtime, numbers)
    check_folder(out)
    texts = None if sentences is None else read_lines(sentences)
    data = given_data(sets, pairs)
    if options.max_int8_loss is not None:
        numbers = _within(where, numbers, options.max_int8_loss, data)
    from tprune.cli.export import export_to
    from tprune.report.verb_tables import export_table

    show(export_to(where, out, texts, say, runtime, numbers, data, opset), as_json, export_table)


def _within(model: str, precision: Precision, limit: float, given: Given) -> Precision:
    """The precision whose exceptions keep a limit of the loss; data is read before the model is."""
    from tprune.cli.data_sets import splits_of
    from tprune.recipe.schema import Data

    task = task_name(given, model)
    valid = splits_of(task, given, Data(), ("valid",)).valid
    from tprune.cli.int8_limit import within

    return within(model, precision, limit, task, valid, say)
