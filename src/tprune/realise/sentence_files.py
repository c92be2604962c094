"""Files of sentence-transformers beside an encoder: how its outputs are pooled, kept with the model's configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json

KEY = "sentence_transformers"  # of a model's configuration: these files by their names
MODULES = "modules.json"
OPTIONAL = ("config_sentence_transformers.json", "sentence_bert_config.json")
POOLING = "Pooling"
WITHOUT_WEIGHTS = ("Transformer", POOLING, "Normalize")


def read_sentence_files(find: Callable[[str], Path | None], where: str) -> dict[str, Any] | None:
    """The content of the files, by their names; None for a folder that is none of sentence-transformers.

    Args:
        find: the path of a file of the model's folder, if it has one of that name.
        where: the folder, for messages.

    Raises:
        InputError: a module has weights of its own, or the encoder lies in a folder inside.
    """
    if (listed := find(MODULES)) is None:
        return None
    modules = read_json(listed)
    if not isinstance(modules, list) or not all(isinstance(each, dict) for each in modules):
        raise InputError(f"{listed}: holds a {type(modules).__name__}; expected a list of modules")
    names = [MODULES]
    for module in modules:
        kind, path = str(module.get("type", "")).rpartition(".")[2], str(module.get("path", ""))
        if kind not in WITHOUT_WEIGHTS:
            raise InputError(
                f"{where}: modules.json lists {path or kind!r}, a module {kind!r}, which is not computed here; "
                f"expected {', '.join(WITHOUT_WEIGHTS)}"
            )
        if kind == WITHOUT_WEIGHTS[0] and path:
            raise InputError(f"{where}: the encoder lies in {path!r}; give that folder, with the other files beside it")
        if kind == POOLING:
            names.append(f"{path}/config.json")
    there = {name: find(name) for name in (*names, *OPTIONAL)}
    found = {name: read_json(file) for name, file in there.items() if file is not None}
    if missing := [name for name in names if name not in found]:
        raise InputError(f"{where}: modules.json lists {missing[0]!r}, which is not there")
    return found


def write_sentence_files(config: object, folder: Path) -> None:
    """Writes the files that a model was loaded with beside it; nothing where there were none.

    Args:
        config: of the model.
        folder: where it is saved.
    """
    files: Mapping[str, Any] = getattr(config, KEY, None) or {}
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_json(folder / name, content)
    for module in files.get(MODULES, ()):
        if path := module.get("path"):  # sentence-transformers expects the folder of a module without files too
            (folder / path).mkdir(exist_ok=True)


def pooling_of(config: object) -> Mapping[str, Any]:
    """The settings of pooling that a model was loaded with; none where it came without."""
    files: Mapping[str, Any] = getattr(config, KEY, None) or {}
    found: Mapping[str, Any] = next((content for name, content in files.items() if name.endswith("/config.json")), {})
    return found


def longest_of(config: object) -> int | None:
    """The tokens of a sentence that are read, where the files say it."""
    files: Mapping[str, Any] = getattr(config, KEY, None) or {}
    found = (files.get(OPTIONAL[1]) or {}).get("max_seq_length")
    return int(found) if found else None
