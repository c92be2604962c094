"""A whole run of a tiny model, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from small_pairs import PAIRS
from tprune.data.parallel import Parallel

RECIPE = """
task: translation
data: {}
model: {d_model: 16, layers: [1, 1], heads: 2, ffn: 32, vocabulary: 40, dropout: 0.1, positions: 32}
train: {steps: 24, warmup: 2, batch_tokens: 64, eval_every: 6}
analyze: {steps: 10, batch_tokens: 64}
prune: {kinds: [ffn, heads], steps: 12, warmup: 1, batch_tokens: 64, macs: 0.8, allocation: loss, search: 2}
recover: {steps: 12, warmup: 1, batch_tokens: 64, sequence_distillation: 0.5}
bench: {sentences: 2, rounds: 4}
num_beams: 2
"""
# checkpoints often enough for a training of a dozen steps
START = """
import sys, tprune.train.training_data
tprune.train.training_data.SAVE_EVERY = 3
from tprune.cli.app import main
sys.argv = ["tprune", *sys.argv[1:]]
main()
"""


def prepare(folder: Path, pairs: Parallel = PAIRS) -> None:
    """Writes the recipe and a corpus that is at once training, validation and test."""
    (folder / "recipe.yaml").write_text(RECIPE)
    for side, lines in (("s", pairs.source), ("t", pairs.target)):
        (folder / side).write_text("\n".join(lines) + "\n", encoding="utf-8")


def start(folder: Path, out: Path, *more: str, **environment: str) -> subprocess.Popen[bytes]:
    """Begins, or goes on with, a run of it."""
    files = [
        part
        for i, flag in enumerate(("src", "tgt", "valid-src", "valid-tgt", "test-src", "test-tgt"))
        for part in (f"--{flag}", str(folder / "st"[i % 2]))
    ]
    command = [sys.executable, "-c", START, "run", str(folder / "recipe.yaml"), "--out", str(out), *files, *more]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})


def finish(folder: Path, out: Path) -> None:
    finish_with(folder, out)


def finish_with(folder: Path, out: Path, *options: str) -> None:
    assert start(folder, out, *options).wait(900) == 0, log_of(folder)


def log_of(folder: Path) -> str:
    return (folder / "log").read_text(encoding="utf-8", errors="replace")[-3000:]
