"""Killed at any moment (kill -9, in the middle of a save or a rename too) on a busy machine, a run ends with the same weights and results."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fuzzing import LONG
from small_run import finish, log_of, prepare, start

pytestmark = pytest.mark.slow
KILLS = 24 if LONG else 3
SAME = ("dense", "regularised", "cut", "pruned")


@contextmanager
def load() -> Iterator[None]:
    """Another process that keeps a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def outcome(out: Path) -> dict[str, Any]:
    """What must not depend on being killed: weights, plan, quality, sizes, translations. Times do."""
    results = json.loads((out / "results.json").read_text())
    found: dict[str, Any] = {name: sha256((out / name / "model.safetensors").read_bytes()).hexdigest() for name in SAME}
    found["plan"] = (out / "pruned" / "plan.json").read_text()
    found["training"] = results["training"]
    found["said"] = (out / "translations.json").read_text()
    found["results"] = {k: results[k] for k in ("bleu_difference", "target", "certificate", "seed")}
    found["sizes"] = [
        results[side][k] for side in ("dense", "pruned") for k in ("bleu", "chrf", "parameters", "macs", "bytes")
    ]
    return found


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    prepare(tmp_path)
    began = time.monotonic()
    finish(tmp_path, tmp_path / "whole")
    took, chance, out, killed = time.monotonic() - began, random.Random(0), tmp_path / "killed", 0
    expected = outcome(tmp_path / "whole")
    with load():
        while killed < KILLS:
            process = start(tmp_path, out)
            try:
                process.wait(chance.uniform(0.2, 0.9) * took)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
            else:  # it came to its end between two kills: the next ones are another run's
                assert process.returncode == 0 and outcome(out) == expected, log_of(tmp_path)
                out = tmp_path / f"killed-{killed}"
        finish(tmp_path, out)
    assert outcome(out) == expected
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert (
        not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob(".*.new")) and not list(tmp_path.rglob(".*.old"))
    )
