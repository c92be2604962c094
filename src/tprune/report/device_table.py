"""What `tprune bench --on` prints."""

from __future__ import annotations

from collections.abc import Sequence

from tprune.bench.devices.facts import Conditions
from tprune.bench.devices.result import DeviceResult
from tprune.report.verb_tables import bench_table


def device_table(found: DeviceResult, names: tuple[str, str] = ("dense", "pruned")) -> str:
    """The table of `tprune bench`, what the device is, how warm and fast it was, and warnings."""
    machine = found.machine
    what = [str(machine[key]) for key in ("model", "soc", "system") if machine.get(key)]
    pinned = ", ".join(map(str, machine["pinned_to"]))
    how = [f"pinned to cores {pinned}"] if pinned else []
    how += [f"governor {machine['governor']}"] if machine.get("governor") else []
    lines = [bench_table(found, names), f"on {', '.join([*what, *how])}; {found.protocol}"]
    looks = [look for each in found.conditions for look in (each.before, each.after)]
    lines += filter(None, [_reach(looks)])
    return "\n".join([*lines, *(f"warning: {line}" for line in found.warnings)])


def _reach(looks: Sequence[Conditions]) -> str:
    """From where to where temperature and frequency went; empty where the device does not say."""
    mhz = [look.mhz for look in looks if look.mhz is not None]
    hottest = [look.hottest for look in looks if look.hottest is not None]
    parts = [f"{min(mhz):.0f} to {max(mhz):.0f} MHz"] if mhz else []
    parts += [f"hottest sensor at {min(hottest):.0f} to {max(hottest):.0f} degrees"] if hottest else []
    return ", ".join(parts)
