"""BSSL analysis: what a structured penalty takes from every matrix, axis by axis, before anything is pruned.

From the dense model, proximal group lasso runs over the lines of every block of every matrix. The lines that reach zero first
are those that the model can lose; their share per matrix, axis, layer and side says where pruning is cheap.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tprune.coupling import bind
from tprune.errors import InputError
from tprune.methods.group_lasso import GroupLasso
from tprune.models import couplings
from tprune.plan import Mode, Plan, make_plan
from tprune.regularise import Regulariser

Fit = Callable[[nn.Module, Regulariser], None]


@dataclass(frozen=True)
class Component:
    """One axis of one matrix, or one coupling, after the analysis.

    Attributes:
        name: the coupling's name.
        kind: its kind (`lines` for a single matrix).
        groups: how many lines or groups it has.
        zero: the fraction that reached zero.
        shrunk: `1 − Σ n_after / Σ n_before`, how much of its norm it gave up.
    """

    name: str
    kind: str
    groups: int
    zero: float
    shrunk: float


@dataclass(frozen=True)
class Analysis:
    """What BSSL found: one component per coupling, in the model's order, and how it was run."""

    components: tuple[Component, ...]
    strength: float
    steps: int

    def __getitem__(self, name: str) -> Component:
        for component in self.components:
            if component.name == name:
                return component
        raise InputError(f"the analysis has no component {name!r}")

    def of_kind(self, kind: str) -> tuple[Component, ...]:
        """The components of one kind."""
        return tuple(c for c in self.components if c.kind == kind)

    def to_json(self) -> str:
        """As it is written into a run."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def load(path: Path) -> Analysis:
        """Reads an analysis back. Raises `InputError` naming the file."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return Analysis(tuple(Component(**c) for c in data["components"]), data["strength"], data["steps"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: no analysis ({error})") from None


def analyse(model: Any, fit: Fit, *, kinds: tuple[str, ...], strength: float, steps: int) -> Analysis:
    """Runs BSSL on a copy of the model: `L = CE + λ Σ_blocks (Σ_rows √s‖row‖ + Σ_columns √s‖column‖)`, by proximal steps.

    The blocks are whole matrices, both axes of each; the norms of the couplings of `kinds` are read off the same run.

    Args:
        model: the trained dense model; stays as it is.
        fit: trains a model for `steps` steps with the regulariser in its loop.
        kinds: which couplings to report beside the lines of matrices.
        strength: λ, in units of the learning rate.
        steps: of training.

    References:
        Mao et al., TPrune, 2021 (block-wise structured sparsity learning; our reconstruction from the abstract).
    """
    twin = copy.deepcopy(model)
    lines = couplings(twin, ["lines"])
    shown = (*lines, *couplings(twin, kinds))
    before = {g.coupling.name: g.norms.detach().clone() for g in bind(shown, twin)}
    plan = make_plan(twin, "analysis", lines, method=GroupLasso(), mode=Mode.PROXIMAL, strengths=strength)
    fit(twin, Regulariser(twin, plan, ramp=max(1, steps // 4)))
    components = []
    with torch.no_grad():
        for groups in bind(shown, twin):
            name, norms = groups.coupling.name, groups.norms
            zero = float((norms <= 1e-3 * before[name].mean()).double().mean())
            shrunk = float(1 - norms.sum() / before[name].sum())
            components.append(Component(name, groups.coupling.kind, norms.numel(), round(zero, 4), round(shrunk, 4)))
    return Analysis(tuple(components), strength, steps)


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
