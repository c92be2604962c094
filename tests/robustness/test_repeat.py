"""Two whole demos, each with an empty home and cache; the second on a busy machine and killed twenty times.

`make test-repeat`.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from outcomes import load, outcome

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not os.environ.get("TPRUNE_REPEAT"), reason="takes up to an hour: make test-repeat"),
]
KILLS = 20


def start(home: Path, out: Path) -> subprocess.Popen[bytes]:
    """Begins the demo, or goes on with it."""
    home.mkdir(exist_ok=True)
    users = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}  # which the tests set
    apart = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    with (home / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tprune", "demo", "--out", str(out)],
            stdout=log,
            stderr=log,
            env={**users, **apart},
        )


def test_the_demo_gives_the_same_again_killed_and_on_a_busy_machine(tmp_path: Path) -> None:
    began = time.monotonic()
    assert start(tmp_path / "first", tmp_path / "quiet").wait() == 0, (tmp_path / "first" / "log").read_text()[-3000:]
    took, expected = time.monotonic() - began, outcome(tmp_path / "quiet")
    print(f"undisturbed: {took:.0f} s, trained with {expected['results']['training']}")
    home, chance, killed, runs = tmp_path / "second", random.Random(0), 0, 1
    with load():
        while True:
            out = tmp_path / f"disturbed-{runs}"
            process = start(home, out)
            try:
                process.wait(chance.uniform(0.07, 0.22) * took if killed < KILLS else None)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                killed += 1
                continue
            assert process.returncode == 0, (home / "log").read_text()[-3000:]
            assert outcome(out) == expected
            if killed == KILLS:
                break
            runs += 1  # it came to its end between two kills: the next ones are another run's
    print(
        f"killed {killed} times, {runs} disturbed run{'s' * (runs > 1)} to the end, "
        f"{time.monotonic() - began:.0f} s in all"
    )
    for name, digest in expected.items():
        if name in ("dense", "regularised", "cut", "pruned"):
            print(f"{name}: {digest}")
