"""A run directory belongs to one process at a time, and to runs only."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from small_models import small_model
from test_compression import PAIRS
from tprune.checkpoint import save
from tprune.data import Corpus
from tprune.errors import InputError
from tprune.files import write_json
from tprune.progress import Progress
from tprune.recipe import check_recipe
from tprune.run_folder import HOLDER, LOCK, MODELS, Run, held, whole

HOLDS = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from tprune.run_folder import held
with held(SimpleNamespace(out=Path(sys.argv[1]), command="tprune first", force=False)):
    print("held", flush=True)
    time.sleep(120)
"""


def run_in(out: Path, command: str = "tprune run") -> Run:
    corpus = Corpus(PAIRS, PAIRS, {"test": PAIRS})
    return Run(
        out,
        check_recipe({"data": {}, "train": {"steps": 1}, "prune": {"steps": 0, "macs": 0.5}, "recover": {"steps": 1}}),
        corpus,
        None,
        command,
        Progress({}),
    )


def test_the_second_process_is_told_who_holds_the_run_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    out = tmp_path / "a run"
    first = subprocess.Popen([sys.executable, "-c", HOLDS, str(out)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match=rf"process {first.pid} works on this run \(tprune first\)"),
            held(run_in(out)),
        ):
            pass
    finally:
        first.kill()
        first.communicate()
    with held(run_in(out, "tprune second")):
        assert f'"process": {os.getpid()}' in (out / HOLDER).read_text()
    assert not (out / HOLDER).exists()
    with held(run_in(out)):  # again, though there is a lock file now
        pass


def test_a_folder_with_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="exists and is no tprune run"), held(run_in(tmp_path)):
        pass
    with pytest.raises(InputError, match="is a file, and no tprune run"), held(run_in(tmp_path / "mine.txt")):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "run.json").write_text('{"experiment": "somebody else\'s"}')
    with pytest.raises(InputError, match="exists and is no tprune run"), held(run_in(tmp_path)):
        pass


def test_force_empties_a_run_and_nothing_else(tmp_path: Path) -> None:
    out, kept = tmp_path / "run", tmp_path / "precious"
    kept.mkdir()
    (kept / "file").write_text("kept")
    (out / "stages").mkdir(parents=True)
    (out / "stages" / "train.json").write_text("{}")
    (out / "run.json").write_text('{"recipe": {}, "corpus": {}, "model": null}')
    (out / "onnx").symlink_to(kept)
    with held(run_in(out)):
        assert (out / "stages" / "train.json").exists()
    (out / "thesis.tex").write_text("mine")
    with (
        pytest.raises(InputError, match=r"holds 'thesis.tex', which no run wrote"),
        held(replace(run_in(out), force=True)),
    ):
        pass
    assert (out / "stages" / "train.json").exists()
    (out / "thesis.tex").unlink()
    with held(replace(run_in(out), force=True)):
        assert {path.name for path in out.iterdir()} <= {LOCK, HOLDER}
    assert (kept / "file").read_text() == "kept"
    with pytest.raises(InputError, match="is no tprune run"), held(replace(run_in(kept), force=True)):
        pass
    assert (kept / "file").exists()


@pytest.mark.parametrize("left", [0, 4, 8, 100, -1])
def test_a_stage_whose_weights_end_too_early_is_not_done(tmp_path: Path, left: int) -> None:
    run = run_in(tmp_path)
    folder = save(small_model("marian"), tmp_path / MODELS["train"])
    write_json(tmp_path / "stages" / "train.json", {})
    assert whole(folder) and run.has("train")
    file = folder / "model.safetensors"
    raw = file.read_bytes()
    file.write_bytes(raw[:left])
    assert not whole(folder) and not run.has("train")
    file.write_bytes(raw)
    assert run.has("train")


def test_what_is_done_already_is_not_in_the_time_left() -> None:
    said = io.StringIO()
    progress = Progress({"train": 600.0, "prune": 60.0}, Console(file=said))
    progress.skip(["train", "never planned"])
    progress.stage("prune")
    assert "[1/1] prune  (about 1:00 left)" in said.getvalue()
