"""Folders that earlier versions wrote.

These are pruned Marian and BART models, whose sizes stood in `config.pruned` part by part.

{"width": 200,                                                # residual dimensions (absent: all)
 "attention": {"model.encoder.layers.0.self_attn": {"heads": 4, "qk": 32, "v": 24}},    # sizes per head
 "ffn": {"model.encoder.layers.0": 512},                      # hidden units
 "removed": ["model.decoder.layers.0.self_attn", "model.encoder.layers.1.ffn"],
 "gather": {"model.encoder.layers.0.fc1": {"in": 200}}}       # lines of one matrix: {"in": n, "out": n}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tprune.core.cuts import cuts_of
from tprune.core.plan import make_plan
from tprune.families.registry import couplings, family_of
from tprune.realise.cut import kept_heads

AXES = {"out": 0, "in": 1}  # of a matrix
PARTS = ("width", "attention", "ffn", "removed", "gather")


def of_earlier_version(pruned: object) -> bool:
    """Whether an earlier version wrote this `config.pruned`.

    Example:
        >>> of_earlier_version({"width": 200}), of_earlier_version({"tensors": {}}), of_earlier_version(None)
        (True, False, False)
    """
    return isinstance(pruned, Mapping) and bool(pruned) and set(pruned) <= set(PARTS)


def read_earlier(kind: Any, config: Mapping[str, Any]) -> Any:
    """The configuration of a folder of an earlier version, for the class of pruned models that is loaded today."""
    said = {key: value for key, value in config.items() if key not in ("auto_map", "pruned")}
    dense = {key: value for key, value in said.items() if key not in ("model_type", "architectures")}
    return kind.config_class.from_dict({**said, "pruned": converted(kind.dense_class, dense, config["pruned"])})


def converted(dense: Any, config: Mapping[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """What `config.pruned` says today of a model of an earlier version.

    A plan that keeps as many groups is cut out of a dense model without values.

    Args:
        dense: the class of the dense model.
        config: the dense model's configuration.
        earlier: what `config.pruned` said.

    Raises:
        KeyError: it names parts that the model does not have.
    """
    with torch.device("meta"):
        model = dense(dense.config_class(**config))
    family = family_of(model)
    plan = make_plan(model, family.name, couplings(model))
    kept = {entry.coupling.name: torch.ones(entry.groups, dtype=torch.bool) for entry in plan.entries}
    for name, count in _left(earlier):
        kept[name] = _first(kept[name], count)
    for name in earlier.get("removed", ()):
        kept[f"{name}.sublayer"] = torch.zeros_like(kept[f"{name}.sublayer"])
    cuts = cuts_of(model, plan.with_kept(kept, {}, {}))
    for name, sides in earlier.get("gather", {}).items():
        for side, count in sides.items():
            whole = torch.ones_like(kept[f"{name}.{side}"])
            left = cuts.keep.get(f"{name}.weight", {}).get(AXES[side], whole)
            kept[f"{name}.{side}"] = left & (left.cumsum(0) <= count)
    chosen = plan.with_kept(kept, {}, {})
    small: Any = family.build(model, cuts_of(model, chosen), kept_heads(chosen), False)
    found: dict[str, Any] = small.config.pruned
    return found


def _left(earlier: Mapping[str, Any]) -> list[tuple[str, int]]:
    """By coupling how many of its groups are left, inside heads of each."""
    found = [("width", earlier["width"])] if earlier.get("width") is not None else []
    removed = set(earlier.get("removed", ()))
    for name, sizes in earlier.get("attention", {}).items():
        if name not in removed:
            found.append((f"{name}.heads", sizes["heads"]))
            if sizes["heads"]:
                found += [(f"{name}.qk", sizes["qk"]), (f"{name}.vo", sizes["v"])]
    found += [(f"{name}.ffn", units) for name, units in earlier.get("ffn", {}).items() if f"{name}.ffn" not in removed]
    return found


def _first(kept: Tensor, count: int) -> Tensor:
    """So many along the last axis."""
    return (torch.arange(kept.shape[-1]) < count).expand(kept.shape)
