"""Opening an exported folder of whatever kind."""

from __future__ import annotations

from pathlib import Path

from tprune.runtimes.artefact import read_layout
from tprune.runtimes.one_pass import OnePass
from tprune.runtimes.transcriber import Transcriber
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.runtimes.translator import Translator

Opened = Translator | Transcriber | OnePass


def open_exported(folder: str | Path, threads: int = 1) -> Opened:
    """Opens an exported folder as what it holds: a model that translates, transcribes, or runs in one pass.

    Raises:
        InputError: as `Translator.load`, `Transcriber.load` and `OnePass.load`.
    """
    found = read_layout(Path(folder))
    if not isinstance(found, TranslationLayout):
        return OnePass.load(folder, threads)
    return Translator.load(folder, threads) if found.hears is None else Transcriber.load(folder, threads)
