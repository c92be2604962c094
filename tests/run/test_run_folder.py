"""A run directory belongs to one process at a time, and to runs only."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from small_models import small_model
from small_pairs import PAIRS
from tprune.data.parallel import Corpus
from tprune.realise.checkpoint import save
from tprune.recipe.reader import check_recipe
from tprune.run import folder as run_folder
from tprune.run.dense_model import with_task
from tprune.run.folder import Run, check_identity, run_lock
from tprune.run.out_folder import HOLDER, LOCK
from tprune.support.errors import DivergedError, InputError
from tprune.support.files import read_json, write_json
from tprune.support.reporting import Progress

HOLDS = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from tprune.run.folder import run_lock
with run_lock(SimpleNamespace(out=Path(sys.argv[1]), command="tprune first", force=False, model=None)):
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
            run_lock(run_in(out)),
        ):
            pass
    finally:
        first.kill()
        first.communicate()
    with run_lock(run_in(out, "tprune second")):
        assert f'"process": {os.getpid()}' in (out / HOLDER).read_text()
    assert not (out / HOLDER).exists()
    with run_lock(run_in(out)):  # again, though there is a lock file now
        pass


def test_a_run_behind_a_link_lies_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to("disk/run")
    for _ in range(2):  # a dangling link, then one to the run
        with run_lock(run_in(tmp_path / "run")):
            assert (tmp_path / "disk" / "run" / HOLDER).exists()
        (tmp_path / "disk" / "run" / "run.json").write_text('{"recipe": 0, "corpus": 0, "model": 0}')
    assert (tmp_path / "run").is_symlink()
    (tmp_path / "away").symlink_to("not-mounted/run")
    with pytest.raises(InputError, match=r"there is no folder .*not-mounted"), run_lock(run_in(tmp_path / "away")):
        pass
    assert not (tmp_path / "not-mounted").exists()


def test_a_folder_with_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InputError, match="exists and is no tprune run"), run_lock(run_in(tmp_path)):
        pass
    with pytest.raises(InputError, match="is a file, and no tprune run"), run_lock(run_in(tmp_path / "mine.txt")):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    (tmp_path / "run.json").write_text('{"experiment": "somebody else\'s"}')
    with pytest.raises(InputError, match="exists and is no tprune run"), run_lock(run_in(tmp_path)):
        pass


def test_force_empties_a_run_and_nothing_else(tmp_path: Path) -> None:
    out, kept = tmp_path / "run", tmp_path / "precious"
    kept.mkdir()
    (kept / "file").write_text("kept")
    (out / "stages").mkdir(parents=True)
    (out / "stages" / "train.json").write_text("{}")
    (out / "run.json").write_text('{"recipe": {}, "corpus": {}, "model": null}')
    (out / "onnx").symlink_to(kept)
    with run_lock(run_in(out)):
        assert (out / "stages" / "train.json").exists()
    (out / "thesis.tex").write_text("mine")
    with (
        pytest.raises(InputError, match=r"holds 'thesis.tex', which no run wrote"),
        run_lock(replace(run_in(out), force=True)),
    ):
        pass
    assert (out / "stages" / "train.json").exists()
    (out / "thesis.tex").unlink()
    with run_lock(replace(run_in(out), force=True)):
        assert {path.name for path in out.iterdir()} <= {LOCK, HOLDER}
    assert (kept / "file").read_text() == "kept"
    with pytest.raises(InputError, match="is no tprune run"), run_lock(replace(run_in(kept), force=True)):
        pass
    assert (kept / "file").exists()


@pytest.mark.parametrize("harm", ["truncated", "gone", "flipped", "marker"])
def test_what_a_stage_left_is_done_again_once_it_is_damaged(
    tmp_path: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run, done = run_in(tmp_path), []
    run.progress.plan["train"] = 1.0

    def train() -> None:
        save(small_model("marian"), tmp_path / "dense")
        done.append("train")

    run.stage("train", train)
    run.stage("train", train)
    assert done == ["train"] and run.has("train")
    (tmp_path / "dense" / "mine.txt").write_text("added, which harms nothing")
    assert run.has("train")
    file = tmp_path / "dense" / "model.safetensors"
    raw = file.read_bytes()
    if harm == "gone":
        file.unlink()
    elif harm == "marker":
        (tmp_path / "stages" / "train.json").write_text("{")
    else:
        file.write_bytes(raw[:-1] if harm == "truncated" else bytes([raw[0] ^ 1]) + raw[1:])
    assert not run.has("train")
    run.progress.plan["train"] = 1.0
    run.stage("train", train)
    assert done == ["train"] * 2 and run.has("train") and file.read_bytes() == raw
    says = {"gone": "is missing", "marker": "cannot be read"}.get(harm, "has changed since it was written")
    wrong = f"{'stages/train.json' if harm == 'marker' else 'dense/model.safetensors'} {says}"
    assert f"left is damaged ({wrong}, set aside as dense.damaged-1)" in capsys.readouterr().err
    assert (tmp_path / "dense.damaged-1" / "mine.txt").read_text() == "added, which harms nothing"


def test_force_spares_what_is_to_be_read(tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / "dense").mkdir(parents=True)
    (out / "run.json").write_text('{"recipe": {}, "corpus": {}, "model": null}')
    (out / "plan.json").write_text("{}")
    for given in (
        replace(run_in(out), model=str(out / "dense"), force=True),
        replace(run_in(out), plan=out / ".." / "run" / "plan.json", force=True),
    ):
        with pytest.raises(InputError, match=r"--force would delete .* which lies in --out"), run_lock(given):
            pass
    assert (out / "dense").exists() and (out / "plan.json").exists()


def test_a_damaged_description_is_named(tmp_path: Path) -> None:
    (tmp_path / "stages").mkdir()
    (tmp_path / "run.json").write_text('{"re')
    with pytest.raises(InputError, match=r"run.json: damaged"), run_lock(run_in(tmp_path)):
        pass


def test_what_is_done_already_is_not_in_the_time_left() -> None:
    said = io.StringIO()
    progress = Progress({"train": 600.0, "prune": 60.0}, Console(file=said))
    progress.skip(["train", "never planned"])
    progress.stage("prune")
    assert "[1/1] prune  (about 1:00 left)" in said.getvalue()


def test_a_resumed_stage_says_where_it_goes_on() -> None:
    said = io.StringIO()
    progress = Progress({"train": 600.0}, Console(file=said))
    progress.stage("train")
    for step in (0, 150):
        progress.on_train_begin(None, SimpleNamespace(global_step=step, max_steps=200), None)
    assert said.getvalue().count("goes on from step") == 1
    assert "goes on from step 150/200  (about 2:30 left)" in said.getvalue()


def test_a_run_goes_on_only_with_the_precision_and_threads_it_was_begun_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(threads: int, precision: str) -> None:
        monkeypatch.setattr(run_folder, "default_threads", lambda: threads)
        monkeypatch.setattr(run_folder, "training_precision", lambda asked: precision if asked == "auto" else asked)

    run, marker = run_in(tmp_path), tmp_path / "run.json"
    here(2, "bf16")
    check_identity(run)
    here(4, "bf16")
    check_identity(run)  # nothing was computed yet
    assert read_json(marker)["training"] == {"precision": "bf16", "threads": 4}
    write_json(tmp_path / "stages" / "train.json", {})
    (tmp_path / "dense").mkdir()
    here(1, "bf16")
    with pytest.raises(InputError, match=r"threads: 4; here it would be 1.*OMP_NUM_THREADS=4.*--out.*--force"):
        check_identity(run)
    here(4, "fp32")
    with pytest.raises(InputError, match="the training precision bf16; here it would be fp32"):
        check_identity(run)
    check_identity(
        replace(run, recipe=run.recipe.model_copy(update={"train_precision": "bf16"}))
    )  # what it came to, said outright
    for stage in ("recover", "evaluate"):
        write_json(tmp_path / "stages" / f"{stage}.json", {})
    (tmp_path / "pruned").mkdir()
    here(1, "fp32")
    check_identity(run)  # only times are left
    assert read_json(marker)["training"] == {"precision": "bf16", "threads": 4}


def test_a_run_of_before_this_was_noted_goes_on(tmp_path: Path) -> None:
    run, marker = run_in(tmp_path), tmp_path / "run.json"
    check_identity(run)
    before = read_json(marker)
    write_json(marker, {key: value for key, value in before.items() if key != "training"})
    write_json(tmp_path / "stages" / "train.json", {})
    (tmp_path / "dense").mkdir()
    check_identity(run)
    assert read_json(marker) == before


def refuse(run: Run, *stages: str) -> None:
    """A run that is refused once these stages are done."""
    with pytest.raises(InputError, match="no"), run_lock(run):
        check_identity(run)
        for stage in stages:
            run.progress.plan[stage] = 1.0
            run.stage(stage, lambda: None)
        raise InputError("no")


def test_a_refused_command_leaves_no_folder_behind(tmp_path: Path) -> None:
    out = tmp_path / "runs" / "mine"
    refuse(run_in(out))
    assert not out.parent.exists() and tmp_path.exists()
    refuse(replace(run_in(out), model="a"), "train", "trim")  # the first stage of a given model is a copy
    assert not out.parent.exists()
    with run_lock(replace(run_in(out), model="b")):  # so that the corrected command needs no --force
        check_identity(replace(run_in(out), model="b"))
    assert read_json(out / "run.json")["model"] == "b"


def test_a_refused_command_leaves_an_earlier_run_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with run_lock(run_in(out)):
        check_identity(run_in(out))
    (out / "run.log").write_text("an earlier line\n")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    refuse(replace(run_in(out), model="another"), "train")
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before
    assert not list((out / "stages").glob("*"))
    empty = tmp_path / "empty"
    empty.mkdir()
    refuse(run_in(empty))
    assert empty.is_dir() and not list(empty.iterdir())


def test_finished_work_and_checkpoints_stay_when_a_command_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    refuse(run_in(out), "train")
    assert run_in(out).has("train") and (out / "run.json").exists()
    other = run_in(tmp_path / "other")
    with pytest.raises(DivergedError), run_lock(other):
        check_identity(other)
        (other.work("train") / "checkpoint-3").mkdir(parents=True)
        (other.work("train") / "checkpoint-3" / "model.safetensors").write_text("")
        raise DivergedError("the loss is nan")
    assert (other.work("train") / "checkpoint-3" / "model.safetensors").exists()
    stopped = run_in(tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt), run_lock(stopped):
        check_identity(stopped)
        raise KeyboardInterrupt
    assert (stopped.out / "run.json").exists()  # nobody refused it


def test_a_run_killed_before_its_vocabulary_is_trimmed_keeps_its_task(tmp_path: Path) -> None:
    run = replace(run_in(tmp_path / "run"), model="gone", vocabulary=PAIRS, progress=Progress({"train": 0.0}))
    run.stage("train", lambda: {"from": str(save(small_model("marian"), run.out / "dense"))})
    assert run.recipe.task is None and not run.base.exists()
    assert with_task(run).recipe.task == "translation"
