"""What must not depend on when a run is killed or how busy the machine is, and what disturbs it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

SAME = ("dense", "regularised", "cut", "pruned")


def outcome(out: Path) -> dict[str, Any]:
    """Weights, plan, quality, sizes, translations, and how the run trained. Times do depend on it."""
    results = json.loads((out / "results.json").read_text())
    found: dict[str, Any] = {name: sha256((out / name / "model.safetensors").read_bytes()).hexdigest() for name in SAME}
    found["plan"] = (out / "pruned" / "plan.json").read_text()
    found["said"] = (out / "translations.json").read_text()
    found["results"] = {k: results[k] for k in ("difference", "target", "certificate", "seed", "training")}
    found["sizes"] = [
        results[side][k] for side in ("dense", "pruned") for k in ("scores", "parameters", "macs", "bytes")
    ]
    return found


@contextmanager
def load() -> Iterator[None]:
    """Another process that keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()
