"""Recommendations."""
from __future__ import annotations
from tprune.analysis.record import Analysis
from tprune.plan import Plan

def worth(analysis: Analysis, plan: Plan) -> dict[str, float]:
    """How much a coupling's groups are worth against others of its kind: `(1 − shrunk) / mean over the plan's couplings of the kind`.

    What BSSL could take is cheap: a coupling that gave up much of its norm gets a small weight and so a smaller budget.
    Kinds are not compared: all heads give up more of their norm than FFN units do, and would be cut to the last.
    """
    left = {c.name: max(0.05, 1 - analysis[c.name].shrunk) for c in plan.couplings}
    of_kind: dict[str, list[float]] = {}
    for coupling in plan.couplings:
        of_kind.setdefault(coupling.kind, []).append(left[coupling.name])
    return {c.name: left[c.name] / (sum(of_kind[c.kind]) / len(of_kind[c.kind])) for c in plan.couplings}
