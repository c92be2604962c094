"""What a benchmark on a device found: the figures, and what the device was like meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from tprune.bench.devices.facts import Weather
from tprune.bench.result import BenchResult


@dataclass(frozen=True)
class DeviceResult(BenchResult):
    """See `tprune.bench.result.BenchResult`; `machine` is the device.

    Attributes:
        protocol: how the sides take turns.
        conditions: of every round, frequency and temperatures before and after it.
        warnings: what makes the figures doubtful.
        broken: why there are fewer rounds than asked for; None where there are all.
    """

    protocol: str = ""
    conditions: Sequence[Weather] = ()
    warnings: Sequence[str] = ()
    broken: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """See `BenchResult.as_dict`."""
        return super().as_dict() | {
            "protocol": self.protocol,
            "conditions": [each.as_dict() for each in self.conditions],
            "warnings": list(self.warnings),
            "broken": self.broken,
        }


def on_device(found: BenchResult, machine: Mapping[str, Any], **more: Any) -> DeviceResult:
    """A result as that of a device; `more` are what `DeviceResult` adds."""
    plain = {each.name: getattr(found, each.name) for each in fields(found)}
    return DeviceResult(**plain | {"machine": dict(machine)}, **more)
