"""No wait is silent: what is being done is said when nothing else was."""

import io
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from tprune.bench import harness as bench
from tprune.support import activity
from tprune.support import reporting as progress_module
from tprune.support.activity import Pulse, current, doing
from tprune.support.reporting import PACE, Progress, counted


def test_the_innermost_work_is_the_current_one() -> None:
    assert current() == ""
    with doing("timing"):
        with pytest.raises(ValueError, match="broken"), doing("timing, round 2"):
            assert current() == "timing, round 2"
            raise ValueError("broken")
        assert current() == "timing"
    assert current() == ""


def test_a_line_comes_after_so_much_silence_and_not_before() -> None:
    said: list[str] = []
    now = [0.0]
    pulse = Pulse(said.append, 25.0, lambda: now[0])
    with doing("measuring losses"):
        for second in range(1, 61):
            now[0] = float(second)
            if second == 10:
                pulse.heard()  # somebody else said something
            pulse.beat()
    assert said == ["measuring losses"] * 2  # at 35 and 60
    assert activity.SILENCE + activity.LOOK < 30 and PACE < activity.SILENCE


def test_the_pulse_beats_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "LOOK", 0.01)
    heard = threading.Event()
    with Pulse(lambda text: heard.set(), 0.02), doing("exporting"):
        assert heard.wait(10)
    assert not [thread for thread in threading.enumerate() if thread.name == "tprune-pulse"]


def test_a_run_says_its_stage_and_what_it_does_in_it() -> None:
    shown = io.StringIO()
    progress = Progress({"time": 0.0}, Console(file=shown, width=200))
    progress.stage("time", "what each sublayer costs")
    now = [progress.pulse.last]
    progress.pulse.clock = lambda: now[0]
    now[0] += 26
    progress.pulse.beat()
    with doing("exporting plan 3 of 24"):
        now[0] += 26
        progress.pulse.beat()
        progress.pulse.beat()
    lines = [line.split(maxsplit=1)[1] for line in shown.getvalue().splitlines()]
    assert lines == ["[1/1] time: what each sublayer costs", "time: what each sublayer costs", "exporting plan 3 of 24"]


def test_counted_work_says_where_it_is_while_it_is_at_it() -> None:
    seen: list[str] = []
    work = counted(lambda: seen.append(current()), 3, print, "sizes tried")
    work()
    work()
    assert seen == ["sizes tried: 0 of 3", "sizes tried: 1 of 3"]


def test_a_benchmark_says_which_round_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Worker:
        folder, memory_before_load = Path(), 0

        def open(self) -> None:
            seen.append(current())

        def ask(self, request: Any) -> dict[str, Any]:
            seen.append(current())
            return {"ms": 1.0, "tokens": 3.0, "bytes": 5}

    from contextlib import contextmanager

    @contextmanager
    def worker(*_: Any) -> Any:
        yield Worker()

    monkeypatch.setattr(bench, "_worker", worker)
    monkeypatch.setattr(bench, "_footprint", lambda *_: bench.Footprint(3.0, 1, 1, 1, 1, 1))
    monkeypatch.setattr(bench, "_runtime", lambda *_: "onnxruntime")
    work = bench.Workload(measures=("sentence",), sentences=2)
    found = bench.bench_all(Path(), {"a": Path(), "b": Path()}, ["x", "y"], rounds=4, work=work)
    assert seen[0] == "timing 3 models side by side: round 1 of 4, 0 loaded"
    assert seen[3:6] == ["timing 3 models side by side: round 1 of 4, sentence 1 of 2"] * 3
    assert any("round 4 of 4, sentence 2 of 2" in line for line in seen) and current() == ""
    assert found["a"].rounds_ms == {side: {"sentence": (1.0,) * 4} for side in ("dense", "pruned")}


def test_no_time_left_is_made_up() -> None:
    shown = io.StringIO()
    progress = Progress({"train": 5.0, "prune": 0.0}, Console(file=shown, width=200))  # nobody knows the second yet
    progress.stage("train")
    assert "left" not in shown.getvalue()
    progress.plan["prune"] = 60.0
    progress.say("now")
    assert "about 1:05 left" in shown.getvalue()


def test_the_time_left_goes_down_while_a_stage_is_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    progress = Progress({"time": 60.0, "prune": 30.0}, Console(file=io.StringIO()))
    progress.stage("time")
    now[0] += 40
    assert progress.left() == 50.0
    now[0] += 40  # longer than thought
    assert progress.left() == 30.0
    progress.finished()
    progress.stage("prune")
    now[0] += 10
    assert progress.left() == 20.0
