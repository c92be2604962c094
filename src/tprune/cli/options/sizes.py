"""Options of a size that a model is to have."""

from __future__ import annotations

from typing import Annotated

import typer

from tprune.cli.options.checks import size_asked

MacsAsked = Annotated[
    float | None,
    typer.Option("--macs", callback=size_asked, help="Multiplications: a fraction of the dense model's, or a number."),
]
ParamsAsked = Annotated[
    float | None,
    typer.Option(
        "--params",
        "--parameters",
        callback=size_asked,
        help="Parameters: a fraction of the dense model's, or a number.",
    ),
]
BytesAsked = Annotated[
    float | None,
    typer.Option("--bytes", callback=size_asked, help="Bytes: a fraction of the dense model's, or a number."),
]
