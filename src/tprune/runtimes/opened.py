"""Opening an exported folder of whatever kind."""

from __future__ import annotations

from pathlib import Path

from tprune.runtimes.artefact import read_layout
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.runtimes.translator import Translator


def open_exported(folder: str | Path, threads: int = 1) -> Translator | OnePass:
    """Opens an exported folder as what it holds: a translation model, or one that runs in one pass.

    Raises:
        InputError: as `Translator.load` and `OnePass.load`.
    """
    found = read_layout(Path(folder))
    return Translator.load(folder, threads) if isinstance(found, TranslationLayout) else OnePass.load(folder, threads)
