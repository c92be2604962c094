"""`tprune bench`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tprune.cli.console import show
from tprune.cli.options.checks import not_empty, reference_name
from tprune.cli.options.device import OnDevice
from tprune.cli.options.rounds import Rounds
from tprune.cli.options.single import AsJson, Dense, Exported, PrecisionOfRun, Sentences, Uncertified
from tprune.cli.sides import exported_sides
from tprune.run.lookup import is_run
from tprune.support.errors import InputError

if TYPE_CHECKING:
    from tprune.bench.devices.timing import Where


def bench(
    model: Exported,
    timing: Rounds,
    device: OnDevice,
    other: Annotated[
        str | None,
        typer.Argument(
            callback=not_empty,
            help="Second exported folder or run; the first one again shows the noise of the machine (default: for a "
            "run, its dense model is timed against its pruned model).",
        ),
    ] = None,
    sentences: Sentences = None,
    precision: PrecisionOfRun = None,
    dense: Dense = False,
    uncertified: Uncertified = False,
    reference: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            callback=reference_name,
            help="Time checkpoints as they are, in fp32, by `torch` or `torch-compile`; exported folders among the two "
            "models keep their runtime.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Time two exported models side by side: one process each, in turns."""
    if other is None and (dense or not is_run(model)):
        why = "--dense takes one side of a run" if dense else f"{model} is no run, of which both sides would be timed"
        raise typer.BadParameter(f"{why}; name a second model")
    where = device.where(sentences)
    if reference is not None:
        slip = "--on times exported folders" if where else "a reference runs fp32" if precision else ""
        if slip:
            raise typer.BadParameter(f"--runtime {reference} runs checkpoints here, and {slip}; leave one out")
        _references((model, other, dense), reference, sentences, timing.numbers, uncertified, as_json)
        return
    from tprune.cli.doubts import check_certificates

    sides, names = exported_sides(model, other, dense, precision and precision.value)
    check_certificates([*sides], uncertified)
    if where is not None:
        _on_device(where, sides, names, timing.numbers, as_json)
        return
    from tprune.bench import harness as benching
    from tprune.report.verb_tables import bench_table

    found = benching.bench(*sides, sentences, *timing.numbers)
    show(found.as_dict(), as_json, lambda _: bench_table(found, names))


def _references(
    models: tuple[str, str | None, bool],
    reference: str,
    sentences: Path | None,
    how: tuple[int, int, int],
    uncertified: bool,
    as_json: bool,
) -> None:
    """Times checkpoints by PyTorch and shows the figures."""
    from tprune.bench import harness as benching
    from tprune.cli.doubts import check_certificates
    from tprune.cli.references import reference_sides
    from tprune.report.verb_tables import bench_table
    from tprune.runtimes.reference.engine import REFERENCES

    with tempfile.TemporaryDirectory() as work:
        sides, names = reference_sides(*models, REFERENCES[reference], Path(work))
        check_certificates([*sides], uncertified)
        found = benching.bench(*sides, sentences, *how)
    show(found.as_dict(), as_json, lambda _: bench_table(found, names))


def _on_device(
    where: Where, sides: tuple[Path, Path], names: tuple[str, str], how: tuple[int, int, int], as_json: bool
) -> None:
    """Times both on a device and shows the figures; raises `InputError` after them where the device was lost."""
    from tprune.bench.devices.timing import bench_on

    found = bench_on(where, *sides, *how)
    from tprune.report.device_table import device_table  # here, because torch takes a moment

    show(found.as_dict(), as_json, lambda _: device_table(found, names))
    if found.broken:
        raise InputError(f"{found.broken}; the figures are of the {found.rounds} rounds before")
