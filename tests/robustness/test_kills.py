"""Killed at any moment (kill -9, in the middle of a save or a rename too) on a busy machine, a run ends with the same
weights and results.
"""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fuzzing import LONG
from outcomes import load, outcome

from small_run import finish, log_of, prepare, start

pytestmark = pytest.mark.slow
KILLS = 24 if LONG else 3


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
