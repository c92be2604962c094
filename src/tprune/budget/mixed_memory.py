"""Memory as a budget in which every sublayer chooses its precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tprune.budget.allocate import CostModel, CostModels, Exact
from tprune.budget.mixed import Mixed
from tprune.budget.size import size_cost_models
from tprune.core.plan import Plan
from tprune.core.precision import FP32, Precision
from tprune.core.sublayers import Sublayer
from tprune.costs.latency.beside import REST
from tprune.costs.size import PlanSizes
from tprune.runtimes.held import InMemory

MEGABYTE = 1e6


@dataclass(frozen=True)
class MixedMemory:
    """What a budget of memory needs to let precisions compete.

    Attributes:
        runtime: its name.
        mixed: losses and weights of each part.
    """

    runtime: str
    mixed: Mixed

    @property
    def exact(self) -> InMemory:
        """Weighs models in fp32."""
        return InMemory(self.runtime, FP32)

    def weigh(self, plan: Plan) -> InMemory:
        """Weighs the models of a plan, in its own precision."""
        return InMemory(self.runtime, plan.precision or self.mixed.base)

    def cost_models(self, rounded: CostModels, exact: PlanSizes, model: Any) -> CostModels:
        """The cost models of the precision, with what parts take in fp32.

        Args:
            rounded: in the precision, in 10⁶ bytes.
            exact: sizes of the plan's selections, in fp32.
            model: the dense model.
        """
        fp32 = size_cost_models(exact, "memory_mb", lambda size: size.bytes / MEGABYTE)
        base = InMemory(self.runtime, self.mixed.base)(model)
        more = {name: (self._with(name)(model) - base) / MEGABYTE for name in self.mixed.weights}

        def at(width: int | None) -> CostModel:
            found, beside = rounded(width), fp32(width)
            share = beside.whole / fp32(None).whole  # of a part about as much goes as of the whole

            def of(sublayer: Sublayer | None) -> float:
                return share * more[REST if sublayer is None else sublayer.name]

            return replace(found, exact=Exact(beside.saved, of))

        return at

    def _with(self, name: str) -> InMemory:
        base = self.mixed.base
        return InMemory(self.runtime, Precision(base.name, (*base.exceptions, *self.mixed.weights[name])))
