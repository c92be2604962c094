"""The cores of a device, and which of them a measurement is pinned to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tprune.bench.devices.device import Device, has, script
from tprune.support.errors import InputError

LOOK = """
grep Cpus_allowed_list: /proc/self/status
cd /sys/devices/system/cpu || exit 0
for core in cpu[0-9]*; do
  online=$(cat "$core/online" 2>/dev/null)
  highest=$(cat "$core/cpufreq/cpuinfo_max_freq" 2>/dev/null)
  governor=$(cat "$core/cpufreq/scaling_governor" 2>/dev/null)
  echo "core ${core#cpu} ${online:-1} ${highest:-0} ${governor:--}"
done
"""
BIG, LITTLE = "big", "little"
MOST = 4096  # cores of any machine


@dataclass(frozen=True)
class Core:
    """A core: its number, its highest frequency in kHz (0: not known), and what sets its frequency (none: unknown)."""

    number: int
    highest: int
    governor: str | None


def cores_of(device: Device) -> tuple[Core, ...]:
    """The cores that are on, and that a program of ours may use. Raises `InputError` where the device names none."""
    text = device.shell(script(LOOK))
    allowed: set[int] | None = None
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["Cpus_allowed_list:"]:
            allowed = set(numbers(words[1]))
        elif words[:1] == ["core"] and len(words) == 5 and words[2] != "0":
            found.append(Core(int(words[1]), int(words[3]), None if words[4] == "-" else words[4]))
    there = sorted((core for core in found if allowed is None or core.number in allowed), key=lambda core: core.number)
    if not there:
        raise InputError(f"{device.title}: names no cores in /sys/devices/system/cpu; expected those of Linux")
    return tuple(there)


def numbers(text: str) -> list[int]:
    """The numbers of a list as Linux writes it. Raises `ValueError` for another text.

    Example:
        >>> numbers("0-2,5")
        [0, 1, 2, 5]
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = int(first), int(last if dash else first)
        if not 0 <= low <= high < MOST:
            raise ValueError(f"{part!r} is no range of cores")
        found += range(low, high + 1)
    return found


def chosen(cores: Sequence[Core], asked: str, threads: int) -> tuple[Core, ...]:
    """The cores that a measurement is pinned to.

    `big` are the cores of the highest frequency, `little` those of the lowest; where these are fewer than threads,
    those of the next frequency are taken too. Anything else is a list of numbers.

    Raises:
        InputError: a list that is none, cores that are not there, fewer cores than threads, or `little` where all
            cores have the same highest frequency.

    Example:
        >>> phone = [Core(number, 1_800_000 if number < 4 else 2_800_000, None) for number in range(8)]
        >>> [core.number for core in chosen(phone, "big", 1)], [core.number for core in chosen(phone, "0,2", 2)]
        ([4, 5, 6, 7], [0, 2])
    """
    picked = _by_speed(cores, asked, threads) if asked in (BIG, LITTLE) else _listed(cores, asked)
    if threads > len(picked):
        raise InputError(f"threads {threads}; expected at most {len(picked)}, the cores that the model is pinned to")
    return tuple(sorted(picked, key=lambda core: core.number))


def _by_speed(cores: Sequence[Core], asked: str, threads: int) -> list[Core]:
    speeds = sorted({core.highest for core in cores}, reverse=asked == BIG)
    if asked == LITTLE and len(speeds) == 1:
        raise InputError(f"--cores little: all cores have the same highest frequency; expected some of {_said(cores)}")
    picked: list[Core] = []
    for speed in speeds:
        if len(picked) < threads:
            picked += [core for core in cores if core.highest == speed]
    return picked


def _listed(cores: Sequence[Core], asked: str) -> list[Core]:
    try:
        wanted = set(numbers(asked))
    except ValueError:
        raise InputError(f"--cores {asked}: expected big, little, or a list such as 4-7 or 0,2") from None
    if missing := sorted(wanted - {core.number for core in cores}):
        raise InputError(
            f"--cores {asked}: the device has no core {missing[0]} to use; expected some of {_said(cores)}"
        )
    return [core for core in cores if core.number in wanted]


def _said(cores: Sequence[Core]) -> str:
    return ",".join(str(core.number) for core in cores)


def pinning(device: Device, cores: Sequence[Core], asked: str | None) -> list[str]:
    """The words before a command that pin it to cores; none where the device has no `taskset`, and none were asked for.

    Raises:
        InputError: it has none, and cores were asked for.
    """
    if has(device, "taskset"):
        return ["taskset", mask(cores)]
    if asked is not None:
        raise InputError(f"--cores {asked}: {device.title} has no taskset, which pins programs; leave --cores out")
    return []


def mask(cores: Sequence[Core]) -> str:
    """Cores as `taskset` takes them: a hexadecimal number with a bit for each.

    Example:
        >>> mask([Core(4, 0, None), Core(7, 0, None)])
        '90'
    """
    return f"{sum(1 << core.number for core in cores):x}"
