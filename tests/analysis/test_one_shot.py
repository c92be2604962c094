"""One shot: as many groups as asked, a copy that shrinks exactly, and less loss than magnitude."""

from typing import Any

import pytest
import torch

from small_models import small_batch, small_model
from tprune.analysis.one_shot import one_shot
from tprune.budget.size import Budget, select_to
from tprune.core.plan import make_plan
from tprune.core.selection import Uniform
from tprune.families.registry import couplings
from tprune.realise.certificate import certify
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.scores.calibration import grams
from tprune.scores.reconstruction import repair_, repaired
from tprune.scores.second_order import keep_counts, removal_scores


@pytest.mark.parametrize("in_turn", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_it_is_the_order_of_removal_repaired(in_turn: bool) -> None:
    model: Any = small_model("marian")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    batches = [small_batch(), small_batch(2)]
    plan = make_plan(model, "marian", couplings(model, ("ffn", "heads", "vo")))
    goal = select_to(model, plan, Budget("macs", 0.7), Uniform())
    ready, chosen = one_shot(model, goal, batches, in_turn=in_turn)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert chosen == keep_counts(goal, removal_scores(model, plan, grams(model, plan, batches)))
    assert [len(e.kept or ()) for e in chosen.entries] == [len(e.kept or ()) for e in goal.entries]
    twin: Any = repaired(model, chosen, batches) if in_turn else small_model("marian")
    if not in_turn:
        repair_(twin, chosen, grams(model, plan, batches))
    expected = twin.state_dict()
    assert all(torch.equal(expected[name], tensor) for name, tensor in ready.state_dict().items())
    small = shrink(ready, chosen)
    assert certify(ready, chosen, small, batches[0], steps=5).forward < 1e-12
    dense = model(**batches[0]).logits
    assert (small(**batches[0]).logits - dense).norm() < (masked(model, goal)(**batches[0]).logits - dense).norm()
