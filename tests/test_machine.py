import os

import pytest

import tprune.machine
from tprune.machine import idle_cores


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are pinned on Linux alone")
def test_idle_cores_are_some_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.sched_getaffinity(0)
    assert len(idle_cores(1)) == 1
    assert set(idle_cores(1)) <= mine
    assert idle_cores(len(mine) + 1) == sorted(mine)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(tprune.machine.psutil, "cpu_percent", lambda interval, percpu: [0.0, 2.0, 1.0, 97.0])
    monkeypatch.setattr(tprune.machine, "_read", lambda path: "")
    assert idle_cores(2) == [1, 2]  # 3 is busy, and 0 is where systems do their own work


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are pinned on Linux alone")
def test_cores_of_one_processor_come_last_and_slow_ones_after_fast_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    twins, speed = {0: "0-1", 1: "0-1", 2: "2,3", 3: "2,3"}, {0: "3000", 1: "3000", 2: "2000", 3: "2000"}

    def read(path: object) -> str:
        core = int(str(path).split("/cpu/cpu")[1].split("/")[0])
        return twins[core] if "topology" in str(path) else speed[core]

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(tprune.machine.psutil, "cpu_percent", lambda interval, percpu: [0.0] * 4)
    monkeypatch.setattr(tprune.machine, "_read", read)
    assert idle_cores(1) == [0]
    assert idle_cores(2) == [0, 2]
    assert idle_cores(3) == [0, 1, 2]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert idle_cores(2) == []
