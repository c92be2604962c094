"""The phone that tests of devices use, and two models for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_phone import HERE, PROGRAMS, Phone, exported


@pytest.fixture
def phone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Phone:
    """Four little and four big cores, two sensors (one of them off), and a gigabyte of room."""
    made = Phone(tmp_path / "adb")
    for name, text in PROGRAMS.items():
        made.program("host" if name == "adb" else "root/bin", name, text)
    made.base.mkdir(parents=True)
    made.write("free", "1000000")
    made.write("proc/self/status", "Cpus_allowed_list:\t0-7")
    made.write("proc/meminfo", "MemTotal:        5700000 kB")
    for core in range(9):  # the ninth is off
        folder = f"sys/devices/system/cpu/cpu{core}"
        made.write(f"{folder}/online", "0" if core == 8 else "1")
        for file in ("cpuinfo_max_freq", "scaling_max_freq", "scaling_cur_freq"):
            made.write(f"{folder}/cpufreq/{file}", "1800000" if core < 4 else "2800000")
        made.write(f"{folder}/cpufreq/scaling_governor", "schedutil")
    made.write("sys/class/thermal/thermal_zone0/temp", "-40000")
    made.write("sys/class/thermal/thermal_zone1/temp", "31000")
    made.write("site/onnxruntime.py", (HERE / "fake_onnxruntime.py").read_text())
    made.set(devices={"R5CT": "device"})
    monkeypatch.setenv("FAKE_ADB", str(made.home))
    monkeypatch.setenv("DEVICE_PATH", os.environ["PATH"])
    monkeypatch.setenv("PATH", f"{made.home / 'host'}:{os.environ['PATH']}")
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return made


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Path, Path]:
    """Two exported folders, the second twice as fast."""
    return exported(tmp_path / "dense", b"d" * 4000), exported(tmp_path / "pruned", b"p" * 2000)
