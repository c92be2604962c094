"""A phone that is a folder, behind a fake `adb`, and exported folders that are too small to be models."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tprune.core.graph import Signature, TensorSpec
from tprune.runtimes.layout import Layout
from tprune.support.manifest import Manifest

HERE = Path(__file__).parent
PROGRAMS = {
    "adb": f'exec "{sys.executable}" "{HERE / "fake_adb.py"}" "$@"',
    "python3": f'exec "{sys.executable}" "$@"',
    "taskset": 'echo "$1" > "$ROOT/mask"; shift; exec "$@"',
    "getprop": "case $1 in ro.product.model) echo 'Pixel 6a';; ro.soc.model) echo GS101;; *release) echo 14;; esac",
    "df": 'echo "Filesystem 1024-blocks Used Available Capacity"; echo "/dev/dm 9 9 $(cat "$ROOT/free") 9% /"',
}


class Phone:
    """The home of the fake `adb`."""

    def __init__(self, home: Path) -> None:
        self.home, self.root = home, home / "root"
        self.base = self.root / "data/local/tmp"

    def set(self, **state: object) -> None:
        file = self.home / "state.json"
        before = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(before | state))

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")

    def program(self, folder: str, name: str, text: str) -> None:
        path = self.home / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)


def exported(folder: Path, content: bytes) -> Path:
    """A folder that looks like an exported classifier of pictures; what the fake runtime does, its graph says."""
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    graph = Signature("model", (TensorSpec("pixel_values", "float32", ("batch", 3, 4, 4)),), ("logits",))
    Layout(
        task="image-classification",
        phases=("pass",),
        graphs=(graph,),
        parameters=len(content),
        macs=1,
        files=Manifest.of(folder),
    ).write(folder)
    return folder
