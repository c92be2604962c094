"""Results of before runs named their metric: the same content under the names of now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

METRICS = {"bleu": "BLEU", "chrf": "chrF"}  # by the old key
POOR = {"BLEU": 5.0, "chrF": 20.0}
SIDES = ("dense", "pruned")


def now(data: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a `results.json` as it is written now; one that is so already, or is no results, stays as it is.

    What was not noted then is not made up: scores have no interval of their own (its ends are the value), and no number
    of examples (0).
    """
    if "bleu_difference" not in data:
        return dict(data)
    kept = {key: value for key, value in data.items() if key not in ("bleu_difference", "signatures", *SIDES)}
    signatures, paired = data.get("signatures"), data["bleu_difference"]
    sides = {side: _side(data[side], signatures) for side in SIDES if side in data}
    difference = {"metric": metric("BLEU"), **paired} if isinstance(paired, dict) else paired
    return {**sides, **kept, "metric": "BLEU", "difference": difference, "task": "translation"}


def metric(name: str) -> dict[str, Any]:
    """A metric of translations, as results have it.

    Example:
        >>> metric("BLEU")
        {'name': 'BLEU', 'larger_is_better': True, 'unit': '', 'digits': 2, 'poor': 5.0}
    """
    return {"name": name, "larger_is_better": True, "unit": "", "digits": 2, "poor": POOR[name]}


def scores_of(side: Mapping[str, Any], signatures: Mapping[str, Any], count: int = 0) -> dict[str, Any]:
    """The scores of one side by metric, from its old keys; of one that lacks a key, the others."""
    return {
        name: {
            "metric": metric(name),
            "value": side[key],
            "low": side[key],
            "high": side[key],
            "count": count,
            "signature": signatures.get(f"{key}_signature"),
            "doubts": [],
        }
        for key, name in METRICS.items()
        if key in side
    }


def evaluated(found: Mapping[str, Any]) -> dict[str, Any]:
    """What stage `evaluate` left, as it is written now."""
    if "paired" not in found:
        return dict(found)
    sides = {side: found[side] for side in SIDES}
    return {
        "metric": "BLEU",
        "scores": {name: scores_of(side, side, side.get("sentences", 0)) for name, side in sides.items()},
        "facts": {
            name: {key: side[key] for key in ("at_limit", "limit") if key in side} for name, side in sides.items()
        },
        "difference": {"metric": metric("BLEU"), **found["paired"]},
        "baselines": {},
        "beams": found.get("beams"),
    }


def _side(side: Any, signatures: Any) -> Any:
    if not isinstance(side, dict):
        return side
    rest = {key: value for key, value in side.items() if key not in METRICS}
    return {"scores": scores_of(side, signatures if isinstance(signatures, dict) else {}), **rest}
