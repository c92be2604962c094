"""`tprune inspect`: a model's couplings and sizes, and whether the table of its family is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tprune.core.coupling import bind
from tprune.core.kinds import Scope, rule_of
from tprune.core.known_tasks import task_of
from tprune.counting.size import size
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load
from tprune.support.errors import InputError
from tprune.support.reporting import Report
from tprune.testing import check_coupling, check_family, randomise_
from tprune.testing.common import in_double


def opened(where: str) -> Any:
    """A model, whose tokeniser is checked too where it has one: a look is for finding out whether both belong together.

    Raises:
        InputError: no such model, one that is made for no known task, or a tokeniser of another model.
    """
    loaded = load(where)
    task = task_of(loaded)
    if (Path(where) / "tokenizer_config.json").exists():
        task.processor(where)
    return loaded


def inspected(model: Any, kinds: Sequence[str] | None = None) -> dict[str, Any]:
    """Couplings with kind, groups, patterns and weights, and the model's size.

    Args:
        model: of a known family.
        kinds: of couplings; all but the lines of single matrices if not given.

    Raises:
        InputError: no known family, or no coupling of a kind.
    """
    shown = (
        couplings(model, kinds) if kinds else [c for c in couplings(model) if rule_of(c.kind).scope is not Scope.MATRIX]
    )
    rows = [
        {
            "name": groups.coupling.name,
            "kind": groups.coupling.kind,
            "groups": list(groups.shape),
            "weights": int(groups.sizes.sum()),
            "closed": groups.coupling.closed,
            "patterns": list(dict.fromkeys(v.structure.pattern for v in groups.coupling.views)),
        }
        for groups in bind(shown, model)
    ]
    task = task_of(model)
    example = {name: list(x.shape) for name, x in task.example(model).items()}
    found = {"couplings": rows, "task": task.name, "example": example, "size": asdict(size(model, task))}
    return {**found, "lines_left_out": not kinds}


def checked(model: Any, rows: Sequence[dict[str, Any]], report: Report = lambda text: None) -> list[str]:
    """Checks the closed couplings shown, in double precision.

    Each is perturbed; then all are cut at random, and masked is compared with shrunk.

    Biases and norms are randomised in a copy first: where they are 0 and 1 a forgotten one does not show.

    Returns:
        What was checked, in words.

    Raises:
        InputError: the table of the family is wrong for this model; says where.
    """
    twin = randomised(model)
    names = {row["name"] for row in rows if row["closed"]}
    task = task_of(twin)
    batch = task.random(twin)
    closed = [c for c in couplings(twin) if c.name in names]

    def run(of: nn.Module) -> Tensor:
        return task.run(of, batch).logits

    try:
        for number, coupling in enumerate(closed, start=1):
            mixes = (
                rule_of(coupling.kind).scope is Scope.MODEL
            )  # norms mix its dimensions: consumers of zeros see the others
            check_coupling(twin, coupling, run, silent=not mixes)
            if number % 10 == 0:
                report(f"{number} of {len(closed)} couplings perturbed")
        kinds = list(dict.fromkeys(c.kind for c in closed))
        for kind in kinds:
            check_family(twin, batch, [kind])
    except AssertionError as error:
        raise InputError(f"the couplings of this model are not what its family says: {error}") from None
    return [
        f"{len(closed)} couplings perturbed: nothing else reads what would be cut",
        f"masked and shrunk agree, also after saving and loading, for: {', '.join(kinds)}",
    ]


def randomised(model: Any) -> Any:
    """A copy in double precision whose biases and norms are not what they were initialised to."""
    twin = in_double(model)
    randomise_(twin)
    return twin
