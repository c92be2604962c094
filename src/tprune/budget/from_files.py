"""What to keep of a checkpoint that is never loaded: chosen by the norms of its groups, to a size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tprune.budget.size import Budget, select_to
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import Select, Uniform
from tprune.families.registry import couplings, family_of
from tprune.realise.on_paper import on_paper
from tprune.realise.shards import Shards
from tprune.scores.streamed import streamed_norms
from tprune.support.texts import check_list


def select_from_files(folder: str | Path, budget: Budget, kinds: Sequence[str], select: Select | None = None) -> Plan:
    """The plan that keeps the groups with the largest norms, so that the model is no larger than the budget.

    The weights are read from the files one tensor at a time; see `tprune.cut_checkpoint`, which follows the plan.

    Args:
        folder: a Hugging Face checkpoint in safetensors, whole or in shards.
        budget: the size to stay within.
        kinds: of couplings that may be cut.
        select: how couplings share the budget; the same share of each if not given.

    Raises:
        InputError: no such checkpoint, one whose tensors are not those of its class, or no coupling of a kind.
        UnreachableError: the smallest allowed selection is still larger; says what can be reached.
    """
    check_list(kinds, "kinds of couplings")
    folder = Path(folder)
    model = on_paper(folder, Shards.of(folder))
    plan = make_plan(model, family_of(model).name, couplings(model, kinds))
    return select_to(model, plan, budget, select or Uniform(), streamed_norms(folder, plan))
