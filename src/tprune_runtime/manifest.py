"""`manifest.json` of a bundle: what its graphs take and give, how the model decodes, and which files it has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tprune_runtime.errors import InputError

MANIFEST, FORMAT, RUNTIME = "manifest.json", 1, "onnxruntime"


def read_manifest(folder: Path) -> Any:
    """The manifest of a bundle.

    Args:
        folder: of the bundle.

    Raises:
        InputError: it cannot be read, or has another format; naming the file.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder / MANIFEST}: cannot be read ({error.strerror}); expected a bundle") from None
    except ValueError as error:
        raise InputError(f"{folder / MANIFEST}: not a complete JSON file ({error})") from None
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise InputError(f"{folder / MANIFEST}: not the manifest of a bundle; expected its format")
    if manifest["format"] != FORMAT:
        raise InputError(f"{folder / MANIFEST}: format {manifest['format']}; this tprune_runtime reads {FORMAT}")
    return manifest


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Names the manifest where something that it should hold is not there, or is something else.

    Args:
        folder: of the bundle.

    Raises:
        InputError: naming the file.
    """
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise InputError(
            f"{folder / MANIFEST}: not the manifest of a bundle ({type(error).__name__}: {error})"
        ) from None
