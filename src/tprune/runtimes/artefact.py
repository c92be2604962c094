"""Reading an exported folder: its layout, and whether its files are those that were exported. Needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tprune.realise.model_files import EXPORTED, check_kinds
from tprune.runtimes.layout import FORMAT, LAYOUT, Layout, fields_of
from tprune.runtimes.old_layout import ImpossibleError, upgraded
from tprune.support.errors import InputError

if TYPE_CHECKING:
    from tprune.runtimes.translation_layout import TranslationLayout

MISTAKEN = {"a run": "run.json", "a model": "config.json"}  # what has a file of that name


def layout_file(folder: Path) -> Path | None:
    """The file by which an exported folder is known; None where there is none.

    Exports of earlier versions have another.
    """
    return next((folder / name for name in EXPORTED if (folder / name).is_file()), None)


def read_layout(folder: Path) -> Layout:
    """Reads and checks an exported folder, of whatever kind.

    Raises:
        InputError: the folder or a file of it is missing, truncated or changed, naming it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected an exported model (a folder with a {LAYOUT})")
    check_kinds(folder)
    path = next((folder / name for name in EXPORTED if (folder / name).exists()), folder / LAYOUT)
    if not path.exists() and (what := [name for name, marker in MISTAKEN.items() if (folder / marker).exists()]):
        raise InputError(f"{folder}: {what[0]}, not an exported model; a run keeps those in onnx/dense and onnx/pruned")
    try:
        layout = _parse(json.loads(path.read_bytes().decode("utf-8")), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); expected an exported model") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not a complete JSON file ({error}); export the model again") from None
    if wrong := layout.files.error(folder):
        raise InputError(f"{folder}/{wrong}; {path.name} lists it otherwise; export the model again")
    return layout


def _parse(raw: Any, path: Path) -> Layout:
    from tprune.runtimes.translation_layout import translation_layout  # here, because numpy takes a moment

    if not isinstance(raw, dict):
        raise InputError(f"{path}: holds {raw!r:.40}; expected the layout of an exported model, export the model again")
    try:
        raw = upgraded(raw)
        if raw["format"] != FORMAT:
            raise InputError(f"{path}: format {raw['format']}; expected format {FORMAT}, export the model again")
        layout = translation_layout(raw) if "generation" in raw else Layout(**fields_of(raw))
        if (wrong := next(layout.faults(), None)) is not None:
            raise InputError(f"{path}: {wrong}; export the model again")
        return layout
    except ImpossibleError as error:
        raise InputError(f"{path}: {error}; export the model again") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not the layout of an exported model ({error}); export the model again") from None


def read_translation(folder: Path) -> TranslationLayout:
    """Reads and checks an exported translation model.

    Raises:
        InputError: as `read_layout`, or the folder holds a model for another task.
    """
    layout = read_writer(folder)
    if layout.hears is not None:
        raise InputError(
            f"{folder}: an exported model for {layout.task}; expected one for translation "
            "(tprune.runtimes.transcriber.Transcriber opens this one)"
        )
    return layout


def read_writer(folder: Path) -> TranslationLayout:
    """Reads and checks an exported model that writes: translations, or what is said in recordings.

    Raises:
        InputError: as `read_layout`, or the folder holds a model for another task.
    """
    from tprune.runtimes.translation_layout import TranslationLayout

    layout = read_layout(folder)
    if not isinstance(layout, TranslationLayout):
        raise InputError(
            f"{folder}: an exported model for {layout.task}; expected one for translation "
            "(tprune.runtimes.one_pass.OnePass opens this one)"
        )
    return layout
