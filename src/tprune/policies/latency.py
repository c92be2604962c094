"""Budgets of time: the selection with the least loss whose predicted sentence takes at most so many milliseconds."""

from __future__ import annotations

from typing import Any

from tprune.budget import Options, cheapest
from tprune.errors import InputError, UnreachableError
from tprune.latency import LatencyTable, place_of, shares_of
from tprune.plan import Plan
from tprune.policies.size import norm_scores
from tprune.select import keep_best, lines_of
from tprune.sensitivity import Curve

KINDS = ("ffn", "heads")


def select_within(model: Any, plan: Plan, table: LatencyTable, curves: tuple[Curve, ...], milliseconds: float) -> Plan:
    """Fills in what the plan keeps, `min Σ loss` subject to `predicted sentence ≤ milliseconds`; see `tprune.budget`.

    Args:
        model: the dense model the plan was made for.
        plan: before selection.
        table: measured on this machine for this model.
        curves: the loss each coupling adds, from `tprune.sensitivity`.
        milliseconds: for one sentence, with everything beside the model's own graphs.

    Raises:
        InputError: the plan has couplings whose time is not known, or no curve.
        UnreachableError: even the smallest sizes take longer; says how long, and what cannot be cut.
    """
    for coupling in plan.couplings:
        if coupling.kind not in KINDS:
            raise InputError(
                f"{coupling.name}: a time can be asked for with couplings of kind {' and '.join(KINDS)} only"
            )
    by_name = {curve.name: curve for curve in curves}
    scores = norm_scores(model, plan)
    dense = table.predict({}).sentence
    options = []
    for name, score in scores.items():
        if name not in by_name:
            raise InputError(f"{name}: its sensitivity was not measured")
        curve = by_name[name]
        saved = [table.saved(place_of(name), k / lines_of(score)) for k in curve.kept]
        costs = tuple(-(encoder + table.tokens * step) for encoder, step in saved)
        options.append(Options(name, curve.kept, costs, curve.losses))
    least = dense + sum(min(o.costs) for o in options)
    if least > milliseconds:
        raise UnreachableError(
            f"asked for {milliseconds:.3g} ms a sentence, {dense / milliseconds:.2f}x faster than the dense {dense:.3g} ms; these "
            f"couplings can reach {least:.3g} ms, {dense / least:.2f}x. The rest is spent outside what they cut; ask for less, lower the "
            "floor, or start from a smaller model"
        )
    kept = cheapest(options, milliseconds - dense, "ms")
    chosen = plan.with_kept({name: keep_best(scores[name], k) for name, k in kept.items()}, {}, {})
    predicted = table.predict(shares_of(chosen)).sentence
    return plan.with_kept(
        {e.coupling.name: e.keep for e in chosen.entries}, {"sentence_ms": milliseconds}, {"sentence_ms": predicted}
    )
