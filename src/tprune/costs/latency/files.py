"""Reading a latency table from plain data, of this format and of the one before."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tprune.core.precision import Precision
from tprune.core.sites import Site, site_from_name
from tprune.costs.latency.phases import TRANSLATION, Phases, Times, phases_from_json
from tprune.costs.latency.table import (
    FORMAT,
    LatencyCurve,
    LatencyTable,
    Pair,
    Price,
    Ratios,
    TimedPlan,
    TimingConfig,
)
from tprune.support.errors import InputError

TRANSLATION_ALONE = 5  # the format that knew no other phases
LONGEST = 1000  # rounds of one plan


def table_from_json(data: Any, path: Path) -> LatencyTable:
    """A table from plain data of this file. Raises `InputError` naming it."""
    try:
        if data.get("format") == TRANSLATION_ALONE:
            data = upgraded(data)
        if data.get("format") != FORMAT:
            raise ValueError(f"format {data.get('format', 1)}, expected {FORMAT}")
        return _table(data)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: no latency table ({type(error).__name__}: {error}); delete it to measure again"
        ) from None


def upgraded(data: Mapping[str, Any]) -> dict[str, Any]:
    """A table of translation as it is written now, from one of the format before."""
    dense = data["dense"]
    parts = {name: dense[name] for name in TRANSLATION.names}
    return {
        **data,
        "format": FORMAT,
        "phases": asdict(TRANSLATION),
        "dense": {"parts": parts, "total": dense[TRANSLATION.quoted]},
        "prices": [
            {"place": price["place"], "kind": price["kind"], "ms": [price[name] for name in TRANSLATION.names]}
            for price in data["prices"]
        ],
        "curve": {"parts": [data["curve"][name] for name in TRANSLATION.names] if any(data["curve"].values()) else []},
    }


def with_unknown_times(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same with some dense time in place of one that was not kept."""
    if data.get("format") == TRANSLATION_ALONE:
        return {**data, "dense": {"encoder": 1.0, "token": 1.0, "sentence": 2.0}, "dense_spread": 0.0}
    parts = {part["name"]: 1.0 for part in data["phases"]["parts"]}
    return {**data, "dense": {"parts": parts, "total": float(len(parts))}, "dense_spread": 0.0}


def _table(data: Mapping[str, Any]) -> LatencyTable:
    phases, tokens = phases_from_json(data["phases"]), float(data["tokens"])
    dense = _times(data["dense"], phases, tokens)
    plans = (
        TimedPlan(_fractions(p["shares"]), _share(p["width"]), _rounds(p["ratios"], phases)) for p in data["plans"]
    )
    curve = tuple(tuple(map(_two, part)) for part in data["curve"]["parts"])
    prices = tuple(Price(price["place"], price["kind"], _numbers(price["ms"], phases)) for price in data["prices"])
    if curve and len(curve) != len(phases.parts):
        raise ValueError(f"curves of {len(curve)} parts, expected {len(phases.parts)}")
    return LatencyTable(
        data["key"],
        timing_config(data["setting"]),
        dense,
        tokens,
        tuple(plans),
        data["machine"],
        int(data["peak_memory"]),
        prices,
        LatencyCurve(curve),
        dense_spread=float(data.get("dense_spread", 0.0)),
        phases=phases,
    )


def timing_config(data: Mapping[str, Any]) -> TimingConfig:
    """A configuration of a file; one of before there were precisions is of single precision."""
    given = {name: value for name, value in data.items() if name != "precision"}
    known = data.get("precision", {"name": "fp32"})
    return TimingConfig(**given, precision=Precision(known["name"], tuple(known.get("exceptions", ()))))


def _times(data: Mapping[str, Any], phases: Phases, tokens: float) -> Times:
    parts = {name: float(data["parts"][name]) for name in phases.names}
    if not all(0 < x < math.inf for x in (*parts.values(), data["total"], tokens)):
        raise ValueError(f"times {data} of a {phases.quoted} of {tokens:g} tokens")
    return Times(parts, float(data["total"]))


def _numbers(data: Any, phases: Phases) -> tuple[float, ...]:
    found = tuple(map(float, data))
    if len(found) != len(phases.parts):
        raise ValueError(f"a price of {len(found)} numbers, expected {', '.join(phases.names)}")
    return found


def _share(data: Any) -> float:
    """A share of a file. Raises `ValueError` for one that nothing can have."""
    if not 0 <= data <= 1:
        raise ValueError(f"a share of {data}")
    return float(data)


def _fractions(data: Mapping[str, Mapping[str, Any]]) -> dict[Site, dict[str, float]]:
    """Shares of a file, by sublayer. Raises `ValueError` for a name that stands for no sublayer."""
    found: dict[Site, dict[str, float]] = {}
    for name, shares in data.items():
        site = site_from_name(name)
        if site is None or site.layer is None:
            raise ValueError(f"shares of {name!r}, which is no sublayer")
        found[site] = {kind: _share(x) for kind, x in shares.items()}
    return found


def _rounds(data: Any, phases: Phases) -> Ratios:
    """Ratios of a file. Raises `ValueError` for what no clock says."""
    found = {name: tuple(map(float, data[name])) for name in phases.timed}
    counts = [len(each) for each in found.values()]
    if len(set(counts)) > 1 or not 0 < counts[0] <= LONGEST:
        raise ValueError(f"{' and '.join(map(str, counts))} rounds of a plan")
    if wrong := [x for each in found.values() for x in each if not 0 < x < math.inf]:
        raise ValueError(f"a plan that is {wrong[0]} times as fast")
    return found


def _two(pair: Any) -> Pair:
    first, second = pair
    return float(first), float(second)
