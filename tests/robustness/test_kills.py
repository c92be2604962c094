"""Killed at any moment (kill -9, in the middle of a save or a rename too), a run ends with the same weights and results."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from fuzzing import LONG

from test_compression import PAIRS

pytestmark = pytest.mark.slow
KILLS = 24 if LONG else 3
RECIPE = """
task: translation
data: {}
model: {d_model: 16, layers: [1, 1], heads: 2, ffn: 32, vocabulary: 40, dropout: 0.1, positions: 32}
train: {steps: 24, warmup: 2, tokens: 64, eval_every: 6}
analyze: {steps: 10, tokens: 64}
prune: {kinds: [ffn, heads], steps: 12, warmup: 1, tokens: 64, macs: 0.8, budget: loss, search: 2}
recover: {steps: 12, warmup: 1, tokens: 64, sequence: 0.5}
bench: {sentences: 2, rounds: 4}
precision: fp32
beams: 2
"""
# checkpoints often enough for a training of a dozen steps
START = """
import sys, tprune.material
tprune.material.SAVE_EVERY = 3
from tprune.cli import main
sys.argv = ["tprune", *sys.argv[1:]]
main()
"""
SAME = ("dense", "regularised", "cut", "pruned")


def start(folder: Path, out: Path) -> subprocess.Popen[bytes]:
    files = [
        part
        for i, flag in enumerate(("src", "tgt", "valid-src", "valid-tgt", "test-src", "test-tgt"))
        for part in (f"--{flag}", str(folder / "st"[i % 2]))
    ]
    command = [sys.executable, "-c", START, "run", str(folder / "recipe.yaml"), "--out", str(out), *files]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def outcome(out: Path) -> dict[str, Any]:
    """What must not depend on being killed: weights, plan, quality, sizes, translations. Times do."""
    results = json.loads((out / "results.json").read_text())
    found: dict[str, Any] = {name: sha256((out / name / "model.safetensors").read_bytes()).hexdigest() for name in SAME}
    found["plan"] = (out / "pruned" / "plan.json").read_text()
    found["said"] = (out / "translations.json").read_text()
    found["results"] = {k: results[k] for k in ("bleu_difference", "target", "certificate", "seed")}
    found["sizes"] = [
        results[side][k] for side in ("dense", "pruned") for k in ("bleu", "chrf", "parameters", "macs", "bytes")
    ]
    return found


def finish(folder: Path, out: Path) -> None:
    assert start(folder, out).wait(900) == 0, log_of(folder)


def log_of(folder: Path) -> str:
    return (folder / "log").read_text()[-3000:]


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    for side, lines in (("s", PAIRS.source), ("t", PAIRS.target)):
        (tmp_path / side).write_text("\n".join(lines) + "\n")
    began = time.monotonic()
    finish(tmp_path, tmp_path / "whole")
    took, chance, out, killed = time.monotonic() - began, random.Random(0), tmp_path / "killed", 0
    expected = outcome(tmp_path / "whole")
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
