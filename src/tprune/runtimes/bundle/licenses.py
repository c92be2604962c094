"""The licenses of what a bundle holds: tprune's code in the graphs, and the model."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

OURS = "Apache-2.0"
NOT_STATED = "not stated"
FILES = ("LICENSE", "LICENCE", "COPYING", "NOTICE", "USE_POLICY")  # how names of files with terms begin


@dataclass(frozen=True)
class License:
    """A license by its name, and the files with its terms: their names in a bundle, and their content."""

    name: str
    files: dict[str, bytes]


def of_tprune() -> License:
    """That of tprune, with its text as it was installed."""
    try:
        text = importlib.metadata.distribution("tprune").read_text("licenses/LICENSE")
    except importlib.metadata.PackageNotFoundError:
        text = None
    return License(OURS, {} if text is None else {"tprune-LICENSE": text.encode()})


def of_model(folders: Iterator[Path] | list[Path]) -> License:
    """That of a model, as far as one of these folders says: files such as LICENSE, and the README's `license`.

    Example:
        >>> of_model([]).name
        'not stated'
    """
    for folder in folders:
        paths = sorted(path for path in folder.iterdir() if path.is_file() and path.name.upper().startswith(FILES))
        name = _named(folder / "README.md")
        if paths or name:
            return License(name or f"see model-{paths[0].name}", {f"model-{p.name}": p.read_bytes() for p in paths})
    return License(NOT_STATED, {})


def _named(readme: Path) -> str | None:
    """The license that the head of a model card names; None where there is none, or it cannot be read."""
    try:
        text = readme.read_text(encoding="utf-8")
        if not text.startswith("---\n"):
            return None
        said = yaml.safe_load(text[4:].partition("\n---")[0])
    except (OSError, ValueError, yaml.YAMLError):
        return None
    said = said if isinstance(said, dict) else {}
    found = said.get("license_name") if said.get("license") == "other" else said.get("license")
    return str(found) if found else None
