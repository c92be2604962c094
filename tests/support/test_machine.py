import os
import subprocess
from pathlib import Path

import pytest
import torch

import tprune.support.machine
from tprune.support.errors import InputError
from tprune.support.machine import (
    cgroup_quota,
    check_threads,
    commit,
    default_threads,
    idle_cores,
    processor_features,
    training_precision,
    usable_cores,
)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are pinned on Linux alone")
def test_idle_cores_are_some_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = os.sched_getaffinity(0)
    assert len(idle_cores(1)) == 1
    assert set(idle_cores(1)) <= mine
    assert idle_cores(len(mine) + 1) == sorted(mine)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(tprune.support.machine.psutil, "cpu_percent", lambda interval, percpu: [0.0, 2.0, 1.0, 97.0])
    monkeypatch.setattr(tprune.support.machine, "_read", lambda path: "")
    assert idle_cores(2) == [1, 2]  # 3 is busy, and 0 is where systems do their own work


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are pinned on Linux alone")
def test_cores_of_one_processor_come_last_and_slow_ones_after_fast_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    twins, speed = {0: "0-1", 1: "0-1", 2: "2,3", 3: "2,3"}, {0: "3000", 1: "3000", 2: "2000", 3: "2000"}

    def read(path: object) -> str:
        core = int(str(path).split("/cpu/cpu")[1].split("/")[0])
        return twins[core] if "topology" in str(path) else speed[core]

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(tprune.support.machine.psutil, "cpu_percent", lambda interval, percpu: [0.0] * 4)
    monkeypatch.setattr(tprune.support.machine, "_read", read)
    assert idle_cores(1) == [0]
    assert idle_cores(2) == [0, 2]
    assert idle_cores(3) == [0, 1, 2]
    monkeypatch.delattr(os, "sched_getaffinity")
    assert idle_cores(2) == []


def test_default_threads_are_the_usable_cores_and_fewer_where_asked_but_never_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tprune.support.machine, "usable_cores", lambda: 4)
    for asked, threads in (("", 4), ("3", 3), ("2,1", 2), ("64", 4), ("0", 4), ("many", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert default_threads() == threads
        check_threads(default_threads())
    with pytest.raises(InputError, match="threads 5; expected 1 to 4"):  # what was asked for is refused
        check_threads(5)


def test_the_load_of_the_moment_does_not_change_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tprune.support.machine, "usable_cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for busy in (0.0, 50.0, 100.0):
        monkeypatch.setattr("psutil.cpu_percent", lambda interval=None, busy=busy: busy)
        assert default_threads() == 4


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2.0),
        ("0::/../..\n", {"cpu.max": "300000 100000"}, 3.0),
        (
            "3:cpu,cpuacct:/x\n1:cpuset:/y\n",
            {"cpu,cpuacct/x/cpu.cfs_quota_us": "250000", "cpu,cpuacct/x/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        ("3:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, None),
        ("3:memory:/x\n", {"memory/x/cpu.max": "1 1"}, None),
    ],
)
def test_quotas_of_control_groups(tmp_path: Path, membership: str, files: dict[str, str], quota: float | None) -> None:
    (tmp_path / "cgroup").write_text(membership)
    for name, content in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(content + "\n")
    assert cgroup_quota(tmp_path / "cgroup", tmp_path / "fs") == quota


def test_a_quota_below_one_core_leaves_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for quota, cores in ((0.5, 1), (1.5, 1), (2.0, 2), (64.0, 3), (None, 3)):
        monkeypatch.setattr(tprune.support.machine, "cgroup_quota", lambda membership, root, quota=quota: quota)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
        assert usable_cores() == cores


def test_the_processor_alone_decides_the_training_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for features, precision in (({"amx_bf16": True}, "bf16"), ({"avx512_bf16": True}, "fp32"), ({}, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        assert training_precision("auto") == precision
        assert [training_precision(asked) for asked in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_the_commit_is_that_of_tprune_and_of_no_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True, capture_output=True)

    installed = tmp_path / "machine.py"
    installed.write_text("")
    monkeypatch.setattr(tprune.support.machine, "__file__", str(installed))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit() is None
    git("init", "-q")
    (tmp_path / "mine.txt").write_text("")
    git("add", "mine.txt")
    git("commit", "-q", "-m", "mine")
    assert commit() is None  # as in an environment inside of somebody's own repository
    git("add", "machine.py")
    git("commit", "-q", "-m", "ours")
    found = commit()
    assert found is not None and len(found) == 12
    installed.write_text("changed")
    assert commit() == f"{found}+"


def test_instructions_of_the_processor_are_read_from_what_linux_says(tmp_path: Path) -> None:
    said = tmp_path / "cpuinfo"
    said.write_text("processor\t: 0\nmodel name\t: One\nflags\t\t: fpu avx2 avx512_vnni\nbugs\t\t: spectre\n")
    assert processor_features(said) == {"fpu", "avx2", "avx512_vnni"}
    said.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert processor_features(said) == {"fp", "asimd", "bf16"}
    assert processor_features(tmp_path / "none") == frozenset()
