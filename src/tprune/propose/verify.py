"""Whether the rows of a proposed family are right: perturbed and cut at random, as `inspect --check` does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.core.coupling import Coupling
from tprune.core.family import Family
from tprune.core.kinds import Scope, rule_of
from tprune.core.plan import Plan, make_plan
from tprune.core.task import Batch, Task
from tprune.families.registry import trying
from tprune.families.table import Table
from tprune.propose.trace import Run
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.testing import check_agrees, check_coupling, random_kept
from tprune.testing.common import apart, require


@dataclass(frozen=True)
class Judge:
    """What a proposed family is judged by.

    Attributes:
        model: in double precision, its biases and norms random.
        run: its output.
        task: what it is made for; None where no task is known.
        batch: of the task.
    """

    model: nn.Module
    run: Run
    task: Task | None = None
    batch: Batch | None = None

    def couplings(self, table: Table, kind: str) -> list[Coupling]:
        """Those of a kind."""
        return [coupling for coupling in table.couplings(self.model) if coupling.kind == kind]

    def wrong(self, table: Table, kinds: Sequence[str]) -> str:
        """What is wrong with the couplings of some kinds, cut together; empty where nothing is.

        Args:
            table: the proposed family.
            kinds: of couplings.
        """
        try:
            with trying(cast(Family, table)), torch.no_grad():
                couplings = [c for kind in kinds for c in self.couplings(table, kind)]
                require(bool(couplings), f"no couplings of kind {' or '.join(kinds)}")
                for coupling in couplings:
                    if coupling.closed:
                        mixes = rule_of(coupling.kind).scope is Scope.MODEL
                        check_coupling(self.model, coupling, self.run, silent=not mixes)
                self._realised(table, couplings)
        except Exception as error:  # a wrong table makes a model's own code fail in any way
            said = " ".join(str(error).split())[:240]
            return said if isinstance(error, AssertionError) else f"{type(error).__name__}: {said}"
        return ""

    def _realised(self, table: Table, couplings: Sequence[Coupling]) -> None:
        plan = make_plan(self.model, table.name, couplings)
        for seed, share in enumerate((0.6, 0.8)):
            chosen = random_kept(self.model, plan, share=share, seed=seed)
            whole = [e.coupling.name for e in chosen.entries if e.groups == ()]
            removed = {name: torch.tensor(number % 2 != seed) for number, name in enumerate(whole)}
            others = {e.coupling.name: e.keep for e in chosen.entries if e.groups != ()}
            self._as_masked(table, plan.with_kept({**others, **removed}, {}, {}))

    def _as_masked(self, table: Table, plan: Plan) -> None:
        small, reference = shrink(self.model, plan), masked(self.model, plan)
        off = apart(self.run(reference), self.run(small))
        require(off < table.tolerance, f"masked and shrunk differ by {off:.2g}")
        if self.task is not None and self.batch is not None:
            check_agrees(reference, small, self.batch, table.name, task=self.task, tolerance=table.tolerance)
        if isinstance(small, PreTrainedModel):
            self._saved(small, plan, table.tolerance)

    def _saved(self, small: nn.Module, plan: Plan, tolerance: float) -> None:
        with tempfile.TemporaryDirectory() as folder:
            again = load(save(small, Path(folder, "saved"), plan=plan)).eval()
        off = apart(self.run(small), self.run(again))  # what code computes in single precision is not saved in double
        require(off < tolerance, f"outputs change on the way through disk by {off:.2g}")


def first_tensor(out: object) -> Tensor:
    """The first floating-point tensor of what a model returns. Raises `TypeError` where there is none.

    Args:
        out: a tensor, or a tuple, mapping or record of them.
    """
    if isinstance(out, Tensor) and out.is_floating_point():
        return out
    values = list(out.values()) if hasattr(out, "values") else out if isinstance(out, list | tuple) else []
    for value in values:
        try:
            return first_tensor(value)
        except TypeError:
            continue
    raise TypeError(f"the model returns a {type(out).__name__} without a floating-point tensor")
