"""Rows of runs: their commands are those that are stored; a run that ends with an error is a row with its message."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from benchmarks.other_tasks.run import SERIES
from benchmarks.shared.prune_runs import WALL, Series, Subject, command, made, rows
from tprune.support.files import read_json


def test_the_stored_commands_are_those_of_the_series() -> None:
    subjects = {one.name: one for one in SERIES.subjects}
    stored = [row for row in read_json(SERIES.numbers)["rows"] if "refused" not in row]
    assert len(stored) > 10
    for row in stored:
        line, _ = command(SERIES, subjects[row["model"]], row["asked"], row["seed"], Path("runs/other-tasks"))
        assert " ".join(["tprune", *line]) == row["command"]


def test_kinds_are_named_for_a_speed_and_steps_where_there_are_any() -> None:
    series = Series(
        Path(), {"fast, now": ("--speedup", "2", "--one-shot"), "half": ("--macs", "0.5")}, (), "runs/families"
    )
    subject = Subject("tiny", {"train": ".txt"}, 50, ("ffn",), ("plug",), ("--task", "translation"))
    line, out = command(series, subject, "fast, now", 3, Path("/runs"))
    assert out == Path("/runs/tiny-fast-now-3") and "--steps" not in line and line[-1] == str(out)
    assert line[line.index("--kind") + 1] == "ffn" and line[line.index("--task") + 1] == "translation"
    other, _ = command(series, subject, "half", 3, Path("/runs"))
    assert "--kind" not in other and other[other.index("--steps") + 1] == "50"
    assert other[other.index("--train") + 1] == "/runs/tiny/train.txt"


def test_a_run_that_fails_is_a_row_with_its_message(tmp_path: Path) -> None:
    series = Series(tmp_path, {"half": ("--macs", "0.5")}, (Subject("none", {"train": ".txt"}, 5),), "runs/none")
    asked = Namespace(asked=["half"], seeds=[0], only=["none"], collect=False)
    (found,) = rows(series, tmp_path, asked)
    assert found["model"] == "none" and "runs/none/none" in found["refused"] and str(tmp_path) not in found["refused"]
    assert list(rows(series, tmp_path, Namespace(**vars(asked) | {"collect": True}))) == []


def test_the_time_of_a_run_that_goes_on_is_added(tmp_path: Path) -> None:
    series = Series(tmp_path, {}, (), "")
    for _ in range(2):
        assert made(series, ["--version"], tmp_path) is None
        seconds = read_json(tmp_path / WALL)["seconds"]
    assert seconds > 0
    assert made(series, ["nonsense"], tmp_path) is not None and read_json(tmp_path / WALL)["seconds"] > seconds
