"""What a report cites: the papers that the things a run used carry."""

from __future__ import annotations

import dataclasses

from small_net import UNITS, Net
from tprune.core.plan import make_plan
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.hoyer_square import HoyerSquare
from tprune.report.citations import TPRUNE, citations
from tprune.scores.second_order import removal
from tprune.support.papers import papers_of
from tprune.tasks.metrics.translation import quality
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.losses import distillation_loss
from tprune.train.schedule import rewound


def test_only_what_a_run_used_is_cited() -> None:
    stage = {"steps": 10, "sequence_distillation": 0.0, "distill": 0.5, "rewind": 100}
    recipe = {
        "analyze": {"steps": 5},
        "prune": {**stage, "method": "group_lasso", "allocation": "analysis"},
        "recover": stage,
    }
    model = Net()
    plan = make_plan(model, "net", [UNITS], method=HoyerSquare())
    found = citations(recipe, plan, by_plan=False, task=TRANSLATION)
    used = (GroupLasso, HoyerSquare, distillation_loss, rewound, quality)  # the analysis is a group lasso
    assert found == [TPRUNE, *papers_of(used)] and len(found) == 7
    once = {**recipe, "analyze": {"steps": 0}, "prune": {**stage, "steps": 0, "allocation": "loss"}}
    assert citations(once, plan, by_plan=True, task=TRANSLATION) == [
        TPRUNE,
        *papers_of((removal, distillation_loss, rewound, quality)),
    ]
    assert all(entry.count("{") == entry.count("}") for entry in found)


def test_the_citation_of_a_method_of_others_is_found_on_it() -> None:
    theirs = dataclasses.make_dataclass("Theirs", [], bases=(HoyerSquare,), frozen=True)
    theirs.papers = ("@misc{theirs}",)  # type: ignore[attr-defined]
    plan = make_plan(Net(), "net", [UNITS], method=theirs())
    stage = {"steps": 1, "sequence_distillation": 0.0, "distill": 0.0, "rewind": 0, "allocation": "analysis"}
    recipe = {"analyze": {"steps": 0}, "prune": stage, "recover": {**stage, "steps": 0}}
    assert citations(recipe, plan, by_plan=False, task=TRANSLATION)[1] == "@misc{theirs}"
