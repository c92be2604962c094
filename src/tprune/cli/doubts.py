"""What verbs say of the certificates of the exported folders that they are given."""

from __future__ import annotations

from pathlib import Path

from tprune.cli.console import say
from tprune.runtimes.artefact import layout_file
from tprune.runtimes.doubts import doubt_of
from tprune.runtimes.runtime import REFERENCE
from tprune.support.errors import InputError


def check_certificates(folders: list[Path], uncertified: bool) -> None:
    """Says in a line what is in doubt about each exported folder.

    Args:
        folders: models by their places; those that are not exported are passed over.
        uncertified: whether models that are too far from PyTorch are taken all the same.

    Raises:
        InputError: one is too far from PyTorch by its certificate.
    """
    for folder in dict.fromkeys(folders):
        if layout_file(folder) is None or (folder / REFERENCE).exists():
            continue
        doubt = doubt_of(folder)
        if doubt is not None and doubt.failed and not uncertified:
            raise InputError(f"{doubt.said}; export the model again, or take it all the same with --uncertified")
        if doubt is not None:
            say(f"warning: {doubt.said}")
