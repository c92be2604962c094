"""A wrong command line is told at once: nothing heavy is imported for it."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HEAVY = ("torch", "transformers", "onnxruntime", "datasets")
LIGHT = """
import sys
from tprune.cli import app as cli

sys.argv = ["tprune", "prune", "m", "--out", "run", "--macs", "500"]
try:
    cli.main()
except SystemExit as left:
    assert left.code == 2
print([name for name in ("numpy", "yaml", "tprune.recipe.schema") if name in sys.modules])
"""
SECONDS = 2.0  # of a processor's time; on the clock it depends on what else the machine does
PROBE = """
import contextlib, io, json, sys
from tprune.cli import app as cli

found = []
for line in json.loads(sys.stdin.read()):
    sys.argv, said, code = ["tprune", *line], io.StringIO(), 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            cli.main()
        except SystemExit as left:
            code = left.code
    heavy = [m for m in HEAVY if m in sys.modules]
    found.append({"code": code, "said": " ".join(said.getvalue().split()), "heavy": heavy})
print(json.dumps(found))
"""
DATA = ("--src", "s", "--tgt", "s", "--valid-src", "s", "--valid-tgt", "s")
GOOD = ("prune", "owner/name", "--out", "run", "--macs", "0.5")
WRONG: list[tuple[tuple[str, ...], int, str]] = [
    (("lunch",), 2, "No such command 'lunch'"),
    (("prune", "m", "--lunch"), 2, "No such option: --lunch"),
    (("prune", "m"), 2, "Missing option '--out'"),
    (("prune", "m", "--out", "run"), 2, "what should it become? give one of --macs"),
    ((*GOOD, "--speedup", "2"), 2, "give one target, got --macs 0.5 and --speedup 2"),
    (
        (*GOOD, "--kind", "lunch"),
        2,
        "'lunch' is not one of 'ffn', 'heads', 'qk', 'vo', 'queries', 'experts', 'units', 'channels', 'embedding', "
        "'sublayer', 'width'",
    ),
    ((*GOOD, "--until", "lunch"), 2, "got 'lunch'; expected one of train, trim, resegment, profile, "),
    ((*GOOD, *DATA, "--until", "trim"), 1, "--until trim: this run has no such stage; its stages are train, profile, "),
    ((*GOOD, "--set", "prune.search"), 2, "--set prune.search: expected KEY=VALUE"),
    ((*GOOD, "--set", "prune.serach=1"), 1, "unknown key 'prune.serach'; did you mean 'search'?"),
    (
        (*GOOD, "--set", "prune.method=lunch"),
        1,
        "prune.method: expected one of gradual_magnitude, group_lasso, hoyer_square, paced_hoyer_square",
    ),
    ((*GOOD, "--runtime", "lunch"), 2, "--runtime lunch: expected onnxruntime"),
    ((*GOOD, *DATA, "--threads", "9999"), 1, "threads 9999; expected 1"),
    (("prune", "owner/name", "--out", "s", "--macs", "0.5", *DATA), 1, "--out s: is a file, and no tprune run"),
    (
        ("prune", "owner/name", "--out", "begun", "--macs", "0.5", *DATA, "--force"),
        1,
        "--out begun exists and is no tprune run",
    ),
    ((*GOOD, *DATA, "--batch", "99"), 1, "batch 99, but there are only 2 sentences"),
    (
        GOOD,
        1,
        "no data: give --train and --valid, for translation --src and --tgt, --valid-src and --valid-tgt, or --data",
    ),
    ((*GOOD, *DATA[:4]), 1, "no valid sentences: give --valid-src and --valid-tgt"),
    ((*GOOD, *DATA[:6], "--valid-tgt", "absent"), 1, "absent: cannot be read"),
    ((*GOOD, *DATA, "--trim-vocab", "absent,s"), 1, "absent: cannot be read"),
    (
        ("prune", "./absent", *GOOD[2:], *DATA),
        1,
        "./absent: no such directory; expected a Hugging Face model directory, a run or a hub id",
    ),
    (("prune", "empty", *GOOD[2:], *DATA), 1, "empty: no model here (it has no config.json)"),
    (("prune", "begun", *GOOD[2:], *DATA), 1, "begun: this run has no pruned model yet; no stage of it is finished"),
    (("run", "absent.yaml", "--out", "run"), 1, "absent.yaml: cannot be read"),
    (("run", "typo.yaml", "--out", "run"), 1, "typo.yaml, line 1: unknown key 'sead'; did you mean 'seed'?"),
    (("inspect", "./absent"), 1, "./absent: no such directory"),
    (
        ("inspect", "owner/name", "--kind", "lunch"),
        2,
        "--kind lunch: expected one of ffn, heads, qk, vo, queries, experts, units, channels, embedding, sublayer, "
        "width, lines",
    ),
    (("analyze", "owner/name", "--blocks", "lunch"), 2, "'lunch' is not one of 'matrix', 'heads'"),
    (("analyze", "owner/name", *DATA[:-1], "absent"), 1, "absent: cannot be read"),
    (("evaluate", "owner/name"), 1, "no data: give --test, for translation --src and --tgt, or --data"),
    (("evaluate", "./absent", "--src", "s", "--tgt", "s"), 1, "./absent: no such directory"),
    (("export", "./absent", "--out", "o"), 1, "./absent: no such directory"),
    (("export", "owner/name", "--out", "o", "--sentences", "absent"), 1, "absent: cannot be read"),
    (("translate", "begun"), 1, "begun: this run has exported no pruned model yet"),
    (("bench", "begun", "--sentences", "s"), 1, "begun: this run has exported no dense model yet"),
    (("bench", "a", "b", "--cores", "big"), 2, "--cores is about a device; name it with --on"),
    (("bench", "a", "b", "--on", "adb", "--sentences", "s"), 2, "made-up inputs, no sentences; leave out --sentences"),
    (("bench", "a", "b", "--on", "adb", "--runner", "lunch"), 1, "runner 'lunch'; expected one of perf-test, python"),
    (("report", "empty"), 1, "empty: no run; expected a directory"),
    (("report", "begun"), 1, "begun: this run has no results yet; no stage of it is finished"),
    (("demo", "--device", "lunch"), 2, "'lunch' is not one of 'auto', 'cpu', 'cuda'"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "s").write_text("a b\nb a\n")
    (tmp_path / "typo.yaml").write_text("sead: 3\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.json").write_text("{}")
    return tmp_path


def probe(lines: list[tuple[str, ...]], folder: Path, heavy: tuple[str, ...] = HEAVY) -> list[dict[str, Any]]:
    """What several command lines, one after the other in one fresh process, say, and what they have imported until
    then.
    """
    code = f"HEAVY = {heavy!r}\n{PROBE}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(lines),
        capture_output=True,
        text=True,
        cwd=folder,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_nothing_heavy_is_imported_to_refuse_a_line(folder: Path) -> None:
    found = probe([line for line, _, _ in WRONG], folder)
    for (line, code, says), got in zip(WRONG, found, strict=True):
        assert says in got["said"] and got["code"] == code, (line, got)
        assert not got["heavy"], (line, got)
    assert sorted(path.name for path in folder.iterdir()) == ["begun", "empty", "s", "typo.yaml"]


def test_the_probe_sees_what_is_imported(folder: Path) -> None:
    """Verbs that begin their work import what they need; of these the lightest is seen."""
    (usual,) = probe([("runtimes",)], folder, heavy=("numpy", *HEAVY))
    assert usual["code"] == 0 and usual["heavy"][0] == "numpy"


def test_a_wrong_line_ends_within_seconds(folder: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = [sys.executable, "-m", "tprune", *GOOD, *DATA, "--until", "trim"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=folder, env=os.environ)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 1 and "its stages are" in done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS


def test_a_wrong_value_imports_nothing_that_computes_or_reads() -> None:
    """In a process of its own: what another refused line imports would hide it."""
    ran = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]" and "got 500" in ran.stderr
