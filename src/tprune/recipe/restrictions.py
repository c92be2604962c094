"""What is asked of a recipe beyond single keys: by runtimes that do not run all that can be cut, by new spellings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tprune.recipe.schema import Prune, Recover
    from tprune.runtimes.runtime import Restricted


def restricted(name: Any) -> Restricted | None:
    """The runtime of a name where it does not run all that can be cut; None for another, and for no name.

    Args:
        name: as on the command line.
    """
    from tprune.runtimes.runtime import RUNTIMES, Restricted  # here, because numpy takes a moment

    found = RUNTIMES.get(name) if isinstance(name, str) else None
    return found if isinstance(found, Restricted) else None


def evened(data: Any) -> Any:
    """The content of a recipe, where `prune.even` has what the runtime needs.

    Args:
        data: whatever a file holds.
    """
    if not isinstance(data, dict) or not isinstance(prune := data.get("prune"), dict):
        return data
    bench = data.get("bench")
    where = restricted(bench.get("runtime") if isinstance(bench, dict) else getattr(bench, "runtime", None))
    given = prune.get("even", [])
    if where is None or not isinstance(given, list):
        return data
    return {**data, "prune": {**prune, "even": [*given, *(kind for kind in where.even if kind not in given)]}}


def not_run(runtime: str, kinds: Sequence[str]) -> str | None:
    """Why a runtime runs no model of which these kinds are cut; None where it does.

    Args:
        runtime: its name.
        kinds: of couplings.
    """
    where = restricted(runtime)
    odd = [] if where is None else [kind for kind in kinds if kind not in where.kinds]
    if where is None or not odd:
        return None
    return (
        f"prune.kinds: {runtime} runs no model of which {', '.join(odd)} are cut; expected some of "
        f"{', '.join(where.kinds)}, or another runtime"
    )


def unlearnt(prune: Prune, recover: Recover) -> str | None:
    """Why a spelling could not be learnt, which is new to the model and to its teacher; None where it can."""
    if prune.output_vocabulary is None:
        return None
    if not recover.steps:
        return "prune.output_vocabulary needs recover.steps: how words are spelled anew must be learnt"
    if recover.distill or recover.hidden_distillation:
        return (
            "prune.output_vocabulary: the dense model spells otherwise, so nobody can learn this from its states; "
            "expected recover.distill 0 and recover.hidden_distillation 0 (recover.sequence_distillation goes with "
            f"it), got {recover.distill:g} and {recover.hidden_distillation:g}"
        )
    return None
