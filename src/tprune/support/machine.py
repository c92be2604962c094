"""The machine: cores that are free, and what a result must say about where it was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tprune.support.devices import placement
from tprune.support.errors import InputError

PACKAGES = ("tprune", "torch", "transformers", "tokenizers", "onnx", "onnxruntime", "sacrebleu", "numpy")


def default_threads() -> int:
    """Threads where no number is given: the usable cores, fewer where `OMP_NUM_THREADS` says so.

    What else the machine does at the moment is not looked at: the number of threads changes the order of sums, and with
    it the last bits of a result.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2" is one number a nesting level
    mine = usable_cores()
    return min(mine, int(asked)) if asked.isdecimal() and int(asked) > 0 else mine


def usable_cores() -> int:
    """Cores that this process may use.

    These are those of its affinity, fewer where its control group has a quota of processor time.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota = cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return cores if quota is None else max(1, min(cores, int(quota)))


def cgroup_quota(membership: Path, root: Path) -> float | None:
    """Cores' worth of processor time that control groups allow this process; None where they set no limit.

    Args:
        membership: `/proc/self/cgroup`: the group of each hierarchy, as `ID:CONTROLLERS:PATH`.
        root: where the groups are mounted; version 2 has `cpu.max`, version 1 `cpu.cfs_quota_us` and
            `cpu.cfs_period_us`.
    """
    limits = []
    for line in _read(membership).splitlines():
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = (
            root / controllers
            if controllers and (root / controllers).is_dir()
            else root / "cpu"
            if controllers
            else root
        )
        inside = [part for part in group.split("/") if part not in ("", "..")]
        for depth in range(len(inside) + 1):  # a limit of any group above counts
            folder = mount.joinpath(*inside[:depth])
            limit = _read(folder / "cpu.max").split() or [
                _read(folder / "cpu.cfs_quota_us"),
                _read(folder / "cpu.cfs_period_us"),
            ]
            if len(limit) == 2 and all(part.isdecimal() and int(part) for part in limit):
                limits.append(int(limit[0]) / int(limit[1]))
    return min(limits, default=None)


def child_environment(threads: int) -> dict[str, str]:
    """The environment of a process that imports tprune as this one does, whose libraries use so many threads."""
    pools = ("OMP", "OPENBLAS", "MKL", "RAYON")
    named = {f"{pool}_NUM_THREADS": str(threads) for pool in pools} | {"VECLIB_MAXIMUM_THREADS": str(threads)}
    here = str(Path(__file__).resolve().parents[2])
    return os.environ | named | {"PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}


def check_threads(threads: int) -> None:
    """Raises `InputError` where there are not as many cores: threads that share one wait for each other."""
    if not 1 <= threads <= usable_cores():
        most = usable_cores()
        expected = (
            f"1 to {most}, the cores that this process may use" if most > 1 else "1: this process may use one core"
        )
        raise InputError(f"threads {threads}; expected {expected}")


def idle_cores(count: int) -> list[int]:
    """The `count` cores to pin a measurement to: no two that share a processor, fast ones, idle ones.

    None where a system cannot.
    """
    if not hasattr(os, "sched_getaffinity"):
        return []
    busy = dict(enumerate(psutil.cpu_percent(interval=0.3, percpu=True)))

    def rank(core: int) -> tuple[bool, int, int, int]:
        folder = Path(f"/sys/devices/system/cpu/cpu{core}")
        twins = _read(folder / "topology/thread_siblings_list").replace("-", ",").split(",")
        speed = _read(folder / "cpufreq/cpuinfo_max_freq")
        return twins[0] in ("", str(core)), int(speed or 0), -round(busy.get(core, 0.0) / 10), core

    return sorted(sorted(os.sched_getaffinity(0), key=rank)[-count:])


def processor_features(described: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The instructions that the processor has, as Linux calls them (`avx2`, `avx512_vnni`); none where it says nothing.

    Args:
        described: what Linux says of the processor.
    """
    lines = (line.partition(":") for line in _read(described).splitlines())
    return frozenset(next((words for name, _, words in lines if name.strip() in ("flags", "Features")), "").split())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def use_threads() -> int:
    """Sets torch's threads to the default number, and returns it."""
    import torch  # here, because runtimes without torch ask this module about the machine too

    threads = default_threads()
    torch.set_num_threads(threads)
    return threads


def training_precision(asked: str) -> str:
    """In which precision to train: `auto` is bf16 where the processor multiplies matrices in it, else fp32.

    The processor's features alone decide, so that the same command computes the same on the same machine: bf16 on GPUs
    that have it and on CPUs with AMX. AVX-512's bf16 instructions alone gained nothing over fp32 in the trainings
    measured (see docs/faq.md).
    """
    if asked != "auto":
        return asked
    import torch

    if (device := placement().device) == "mps":
        return "fp32"
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu.get_capabilities().get("amx_bf16", False) else "fp32"


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
        "cpu": name,
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "system": platform.system(),
        "python": platform.python_version(),
    }


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
    """The commit of the source tree, with `+` where it has changes; None outside a checkout.

    An environment may lie inside a repository that is not tprune's: its commit says nothing of what is installed.
    """
    here = Path(__file__).parent

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", Path(__file__).name)  # fails where git does not know this file
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None
