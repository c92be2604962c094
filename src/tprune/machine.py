"""The machine: cores that are free, and what a result must say about where it was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tprune.errors import InputError

PACKAGES = ("tprune", "torch", "transformers", "tokenizers", "onnx", "onnxruntime", "sacrebleu", "numpy")


def free_cores() -> int:
    """Cores that nothing else keeps busy now, at least 1; `OMP_NUM_THREADS` wins where it is set."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    mine = usable_cores()
    busy = psutil.cpu_percent(interval=0.5) / 100 * (os.cpu_count() or 1)
    free: int = max(1, min(mine, round((os.cpu_count() or 1) - busy)))
    return free


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def check_threads(threads: int) -> None:
    """Raises `InputError` where there are not as many cores: threads that share one wait for each other."""
    if not 1 <= threads <= usable_cores():
        most = usable_cores()
        expected = (
            f"1 to {most}, the cores that this process may use" if most > 1 else "1: this process may use one core"
        )
        raise InputError(f"threads {threads}; expected {expected}")


def idle_cores(count: int) -> list[int]:
    """The `count` cores to pin a measurement to: no two that share a processor, fast ones, idle ones; none where a system cannot."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    busy = dict(enumerate(psutil.cpu_percent(interval=0.3, percpu=True)))

    def rank(core: int) -> tuple[bool, int, int, int]:
        folder = Path(f"/sys/devices/system/cpu/cpu{core}")
        twins = _read(folder / "topology/thread_siblings_list").replace("-", ",").split(",")
        speed = _read(folder / "cpufreq/cpuinfo_max_freq")
        return twins[0] in ("", str(core)), int(speed or 0), -round(busy.get(core, 0.0) / 10), core

    return sorted(sorted(os.sched_getaffinity(0), key=rank)[-count:])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def use_device(name: str) -> None:
    """What trains: `auto` is the GPU if there is one. Before torch has looked for GPUs.

    Raises:
        InputError: `cuda`, and there is no GPU that torch can use.
    """
    if name == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    elif name == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError(
                f"--device cuda: torch {torch.__version__} finds no GPU here; leave it out, or install a build of torch for yours"
            )


def use_free_cores() -> int:
    """Sets torch's threads to the free cores (one too many costs more than one too few) and returns their number."""
    import torch  # here, because runtimes without torch ask this module about the machine too

    cores = free_cores()
    torch.set_num_threads(cores)
    return cores


def cache_folder() -> Path:
    """Where measurements of this machine are kept between runs: `$XDG_CACHE_HOME/tprune`, or `~/.cache/tprune`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tprune"


def provenance(command: str) -> dict[str, Any]:
    """What a table must say about its numbers: command, commit, versions, processor."""
    return {"command": command, "commit": commit(), "versions": versions(), "machine": machine()}


def machine() -> dict[str, Any]:
    """Processor, cores, memory and system."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return {
        "cpu": name, "cores": os.cpu_count(), "memory": psutil.virtual_memory().total, "system": platform.system(),
        "python": platform.python_version(),
    }  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    return {package: version_of(package) or "not installed" for package in PACKAGES}


def version_of(package: str) -> str | None:
    """The installed version of a package; None where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """The commit of the source tree, with `+` where it has changes; None outside a checkout."""
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None
