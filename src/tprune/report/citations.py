"""BibTeX of what a run used, so that whoever writes about it can say so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tprune.analysis.bssl import analyse
from tprune.core.known_realisations import REALISATIONS
from tprune.core.plan import Plan
from tprune.core.realisation import parts
from tprune.recipe.renamed import current
from tprune.scores.second_order import removal
from tprune.support.papers import papers_of
from tprune.train.losses import distillation_loss
from tprune.train.pseudo_targets import make_pseudo_targets
from tprune.train.schedule import rewound

TPRUNE = """@article{mao2021tprune,
  title = {{TPrune}: Efficient Transformer Pruning for Mobile Devices},
  author = {Mao, Jiachen and Yang, Huanrui and Li, Ang and Li, Hai and Chen, Yiran},
  journal = {ACM Transactions on Cyber-Physical Systems}, volume = {5}, number = {3}, year = {2021},
  doi = {10.1145/3446640}
}"""
OF_STAGES = {
    "sequence_distillation": make_pseudo_targets,
    "distill": distillation_loss,
    "rewind": rewound,
}  # by the key of a stage that switches it on


def citations(recipe: Mapping[str, Any], plan: Plan, by_plan: bool, task: object) -> list[str]:
    """BibTeX entries of what the stages of a run used: each thing carries its own (`tprune.support.papers`).

    Args:
        recipe: as in `run.json`.
        plan: what was cut.
        by_plan: whether what is kept came from a plan made before.
        task: whose metrics the run is scored by.
    """
    return [TPRUNE, *papers_of((*_used(recipe, plan, by_plan), task))]


def _used(recipe: Mapping[str, Any], plan: Plan, by_plan: bool) -> Iterator[object]:
    recipe = current(recipe)
    prune, recover = recipe["prune"], recipe["recover"]
    if recipe["analyze"]["steps"]:
        yield analyse
    if prune["steps"]:
        yield from (entry.method for entry in plan.entries)
    if not prune["steps"] or (not by_plan and prune["allocation"] == "loss"):
        yield removal
    yield from (REALISATIONS.named(name) for name in parts(plan))
    for stage in (prune, recover):
        if stage["steps"]:
            yield from (thing for key, thing in OF_STAGES.items() if stage[key])
