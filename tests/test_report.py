"""What the page shows of a plan."""

from __future__ import annotations

from typing import Any

import torch

from small_models import small_model
from tprune.models import couplings
from tprune.plan import make_plan
from tprune.report.page import kept_bars


def test_dimensions_of_removed_heads_are_not_shown_as_kept() -> None:
    model: Any = small_model("marian")
    name = "model.encoder.layers.0.self_attn"
    chosen = [c for c in couplings(model) if c.name in {f"{name}.heads", f"{name}.qk"}]
    plan = make_plan(model, "marian", chosen)
    lines = next(e.groups for e in plan.entries if e.coupling.kind == "qk")
    masks = {
        f"{name}.heads": torch.tensor([True, False, False, True]),
        f"{name}.qk": torch.ones(lines, dtype=torch.bool),
    }
    bars = {bar["name"].rpartition(".")[2]: bar for bar in kept_bars(plan.with_kept(masks, {}, {}))}
    assert (bars["heads"]["kept"], bars["heads"]["total"]) == (2, 4)
    assert bars["qk"]["kept"] == bars["qk"]["total"] // 2 and bars["qk"]["share"] == 50.0
