"""What a device says of itself, and how warm and fast it is at the moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tprune.bench.devices.cores import Core
from tprune.bench.devices.device import Device, script

ASK = """
prop() { getprop "$1" 2>/dev/null; }
echo "maker=$(prop ro.product.manufacturer)"
echo "model=$(prop ro.product.model)"
echo "soc=$(prop ro.soc.model)"
echo "board=$(prop ro.board.platform)"
echo "android=$(prop ro.build.version.release)"
echo "abi=$(prop ro.product.cpu.abi)"
echo "tree=$(tr -d '\\000' 2>/dev/null < /proc/device-tree/model)"
echo "cpu=$(grep -m 1 'model name' /proc/cpuinfo | cut -d : -f 2)"
echo "memory=$(grep MemTotal: /proc/meminfo | tr -dc 0-9)"
echo "kernel=$(uname -srm)"
"""

# a moment of work first: a core that rests is slow, which is no sign of anything
FEEL = """
i=0; while [ "$i" -lt 20000 ]; do i=$((i + 1)); done
for core in "$@"; do
  now=$(cat "/sys/devices/system/cpu/cpu$core/cpufreq/scaling_cur_freq" 2>/dev/null)
  most=$(cat "/sys/devices/system/cpu/cpu$core/cpufreq/scaling_max_freq" 2>/dev/null)
  echo "core $core ${now:-0} ${most:-0}"
done
for zone in /sys/class/thermal/thermal_zone*; do
  echo "zone ${zone##*zone} $(cat "$zone/temp" 2>/dev/null)"
done
"""
COLDEST, HOTTEST = 1.0, 130.0  # degrees; sensors that are off say 0 or less, or what no device survives
SLOWER = 0.9  # of the frequency before: below this the device throttles
WARMER = 10.0  # degrees from the first to the last look, from which on it is worth a word


def facts_of(device: Device) -> dict[str, Any]:
    """Model, system on a chip, version of Android and the like, in the keys that `tprune.support.machine` has."""
    said = dict(line.strip().split("=", 1) for line in device.shell(script(ASK)).splitlines() if "=" in line)
    said = {key: " ".join(value.split()) for key, value in said.items()}
    android, memory = said.get("android"), said.get("memory", "")
    found = {
        "model": " ".join(filter(None, (said.get("maker"), said.get("model")))) or said.get("tree"),
        "soc": said.get("soc") or said.get("board"),
        "abi": said.get("abi"),
        "cpu": said.get("soc") or said.get("board") or said.get("cpu") or said.get("tree"),
        "system": f"Android {android}" if android else said.get("kernel"),
        "kernel": said.get("kernel"),
        "memory": int(memory) * 1024 if memory else None,
    }
    return {"transport": device.transport} | {key: value for key, value in found.items() if value}


@dataclass(frozen=True)
class Conditions:
    """How a device is at one moment.

    Attributes:
        mhz: the frequency of the fastest of the cores used; None where it is not said.
        most_mhz: the highest frequency that it is allowed at the moment.
        degrees: of each sensor, in Celsius.
    """

    mhz: float | None
    most_mhz: float | None
    degrees: Mapping[int, float] = field(default_factory=dict)

    @property
    def hottest(self) -> float | None:
        """The highest of the temperatures."""
        return max(self.degrees.values(), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        degrees = {str(zone): value for zone, value in self.degrees.items()}
        return {"mhz": self.mhz, "most_mhz": self.most_mhz, "hottest": self.hottest, "degrees": degrees}


def conditions_of(device: Device, pinned: Sequence[str], cores: Sequence[Core]) -> Conditions:
    """Frequency and temperatures now, after a moment of work on the cores."""
    text = device.shell([*pinned, *script(FEEL, *(str(core.number) for core in cores))])
    now, most, degrees = [0], [0], {}
    for words in map(str.split, text.splitlines()):
        if words[:1] == ["core"] and len(words) == 4:
            now.append(int(words[2]))
            most.append(int(words[3]))
        elif words[:1] == ["zone"] and len(words) == 3 and words[2].lstrip("-").isdecimal():
            value = float(words[2])
            value = value / 1000 if abs(value) >= 1000 else value  # some say degrees
            if COLDEST <= value <= HOTTEST:
                degrees[int(words[1])] = value
    return Conditions(max(now) / 1000 or None, max(most) / 1000 or None, degrees)


@dataclass(frozen=True)
class Weather:
    """The conditions before and after a round."""

    before: Conditions
    after: Conditions

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"before": self.before.as_dict(), "after": self.after.as_dict()}


def throttled(rounds: Sequence[Weather]) -> list[str]:
    """Warnings where the frequency fell by more than a tenth, or the device grew much warmer.

    Example:
        >>> cool, hot = Conditions(2800.0, 2800.0, {0: 31.0}), Conditions(1900.0, 1900.0, {0: 78.5})
        >>> throttled([Weather(cool, cool), Weather(cool, hot)])[0]
        'throttled: the frequency fell from 2800 to 1900 MHz (in 1 of 2 rounds); let the device cool and measure again'
        >>> throttled([Weather(cool, hot)])[1]
        'the device grew warmer by 48 degrees, from 31 to 78'
    """
    found, slow, highest = [], [], 0.0
    for each in rounds:
        highest = max(highest, *(look.mhz or 0.0 for look in (each.before, each.after)))
        capped = min(look.most_mhz or highest for look in (each.before, each.after))
        lowest = min(capped, each.after.mhz or highest)
        if lowest < SLOWER * highest:
            slow.append((highest, lowest))
    if slow:
        high, low = min(slow, key=lambda pair: pair[1] / pair[0])
        found.append(
            f"throttled: the frequency fell from {high:.0f} to {low:.0f} MHz (in {len(slow)} of {len(rounds)} rounds); "
            "let the device cool and measure again"
        )
    if rounds:
        first, last = rounds[0].before.degrees, rounds[-1].after.degrees
        rises = {zone: last[zone] - first[zone] for zone in first if zone in last}
        zone = max(rises, key=lambda each: rises[each], default=None)
        if zone is not None and rises[zone] > WARMER:
            found.append(
                f"the device grew warmer by {rises[zone]:.0f} degrees, from {first[zone]:.0f} to {last[zone]:.0f}"
            )
    return found
