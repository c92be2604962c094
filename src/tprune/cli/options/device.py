"""Options of a benchmark on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from tprune.cli.options.checks import named, not_empty

if TYPE_CHECKING:
    from tprune.bench.devices.timing import Where


@dataclass(frozen=True)
class OnDevice:
    """Where exported models are timed, if not on this machine."""

    PANEL: ClassVar[str] = "On a device"
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            callback=not_empty,
            metavar="DEVICE",
            help="Device to time the models on, by phases of made-up inputs: adb, adb:SERIAL (an Android device, as "
            "`adb devices` lists it), or folder:PATH (a folder of this machine, to try it out) (default: this "
            "machine).",
        ),
    ] = None
    cores: Annotated[
        str | None,
        typer.Option(
            "--cores",
            callback=not_empty,
            metavar="CORES",
            help="Cores of the device that the models are pinned to: big, little, or a list such as 4-7 (default: big, "
            "those of the highest frequency).",
        ),
    ] = None
    runner: Annotated[
        str | None,
        typer.Option(
            "--runner",
            callback=not_empty,
            metavar="RUNNER",
            help="Program that runs the models on the device: python, python:PATH (an interpreter with numpy and "
            "onnxruntime), or perf-test:PATH (onnxruntime_perf_test); paths are those on the device (default: python, "
            "as python3).",
        ),
    ] = None
    logs: Annotated[
        Path | None,
        typer.Option(
            "--logs",
            parser=named,
            metavar="<path>",
            help="Folder for the runner's logs (default: they are not kept).",
        ),
    ] = None

    def where(self, sentences: Path | None) -> Where | None:
        """The device; None where this machine is meant.

        Raises:
            BadParameter: an option of devices without --on, or sentences with it.
        """
        others = {"--cores": self.cores, "--runner": self.runner, "--logs": self.logs}
        given = [name for name, value in others.items() if value is not None]
        if self.on is None:
            if given:
                raise typer.BadParameter(f"{given[0]} is about a device; name it with --on")
            return None
        if sentences is not None:
            raise typer.BadParameter("--on times phases of made-up inputs, no sentences; leave out --sentences")
        from tprune.bench.devices.timing import Where  # here, because numpy takes a moment

        return Where(self.on, self.cores, self.runner or "python", self.logs)
