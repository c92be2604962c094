"""Whether the smaller models of a family do what the masked ones do, even loaded."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.core.known_tasks import task_of
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import keep_best, lines_of
from tprune.core.task import Batch, Task, decoded
from tprune.families.registry import couplings, family_of
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.testing.common import TOLERANCE, apart, in_double, require

STEPS = 8  # of cached decoding


def random_kept(model: nn.Module, plan: Plan, *, share: float = 0.6, seed: int = 0) -> Plan:
    """The plan with a random share of the groups kept, at least one of each coupling; of sublayers about a third go.

    Args:
        model: the model that the plan is for.
        plan: before selection.
        share: of the groups that are kept, of every coupling.
        seed: of the draw.

    Raises:
        InputError: the plan is for another model.
    """
    random, kept = torch.Generator().manual_seed(seed), {}
    first = int(torch.randint(3, (), generator=random))
    for number, groups in enumerate(plan.bind(model)):
        scores = torch.rand(groups.shape, generator=random)
        count = int((number + first) % 3 > 0) if not groups.shape else max(1, int(share * lines_of(scores)))
        kept[groups.coupling.name] = keep_best(scores, count)
    return plan.with_kept(kept, {}, {})


def check_family(
    model: Any,
    batch: Batch,
    kinds: Sequence[str] | None = None,
    *,
    seed: int = 0,
    realise: Callable[[Any, Plan], Any] = shrink,
) -> None:
    """For every kind of coupling and for all together, the shrunk model does what the masked one does, even loaded.

    At least one sublayer goes, where any may.

    Args:
        model: a small model of the family; a copy is used in double precision, evaluating.
        batch: of the task's data, padded; of translation `input_ids`, `attention_mask` and `labels`.
        kinds: of couplings; all if not given.
        seed: which groups stay.
        realise: what makes the smaller model.

    Raises:
        AssertionError: a kind disagrees; says where.
    """
    twin = in_double(model)
    known_family = family_of(twin)
    family, tolerance = known_family.name, known_family.tolerance
    known = list(dict.fromkeys(coupling.kind for coupling in couplings(twin)))
    wanted = list(kinds) if kinds is not None else known
    for chosen in [[kind] for kind in wanted] + ([wanted] if len(wanted) > 1 else []):
        plan = _with_a_removal(random_kept(twin, make_plan(twin, family, couplings(twin, chosen)), seed=seed))
        where = f"{family}, {' + '.join(chosen)}"
        try:
            small = realise(twin, plan)
        except Exception as error:
            raise AssertionError(f"{where}: cannot be realised ({type(error).__name__}: {error})") from error
        try:
            check_agrees(masked(twin, plan), small, batch, where, tolerance=tolerance)
            check_saved(small, plan, batch, where)
        except AssertionError:
            raise
        except Exception as error:
            raise AssertionError(f"{where}: the smaller model cannot run ({type(error).__name__}: {error})") from error


def _with_a_removal(plan: Plan) -> Plan:
    """The plan with one sublayer less, where it has some and the draw removed none."""
    whole = [entry.coupling.name for entry in plan.entries if entry.groups == ()]
    kept = {entry.coupling.name: entry.keep for entry in plan.entries}
    if not whole or not all(bool(kept[name]) for name in whole):
        return plan
    return plan.with_kept({**kept, whole[0]: torch.tensor(False)}, {}, {})


def check_agrees(
    reference: Any,
    small: Any,
    batch: Batch,
    where: str = "model",
    beams: int = 3,
    task: Task | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Two models agree: a padded forward pass, and where they generate, cached decoding step by step and beam search.

    Args:
        reference: the masked model.
        small: the realised one.
        batch: of the task, padded.
        where: for messages.
        beams: of the beam search.
        task: the models' task if not given.
        tolerance: the largest difference that counts as agreement, relative to the largest output.

    Raises:
        AssertionError: they do not; says in what.
    """
    task = task or task_of(reference)
    expected = task.run(reference, batch).logits
    off = apart(expected, task.run(small, batch).logits)
    require(off < tolerance, f"{where}: a forward pass is off by {off:.2g}")
    steps = 0
    for step, (a, b) in enumerate(decoded(task, (reference, small), batch, STEPS)):
        off, steps = apart(a, b), step + 1
        require(off < tolerance, f"{where}: cached decoding is off by {off:.2g} at step {steps}")
    if not steps:
        return
    source = task.prompt(batch)
    a, b = (_beams(model, source, beams) for model in (reference, small))
    require(torch.equal(a.sequences, b.sequences), f"{where}: beam search gives other translations")
    require(apart(a.sequences_scores, b.sequences_scores) < tolerance, f"{where}: beam search gives other scores")


@torch.no_grad()
@torch.no_grad()
def check_saved(small: Any, plan: Plan, batch: Batch, where: str = "model") -> None:
    """A model comes back from disk bit for bit, and its plan from JSON.

    Args:
        small: a realised model.
        plan: that it was made by.
        batch: of its task.
        where: for messages.

    Raises:
        AssertionError: it does not.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = save(small, Path(folder, "saved"), plan=plan)
        architecture = None if isinstance(small, PreTrainedModel) else type(small)
        again, read = load(out, architecture=architecture).eval(), Plan.load(out / "plan.json")
    require(read == plan, f"{where}: the plan changes on its way through JSON")
    a, b = (task_of(small).run(model, batch) for model in (small, again))
    require(a.logits.dtype == b.logits.dtype, f"{where}: saved in {a.logits.dtype}, loaded in {b.logits.dtype}")
    require(torch.equal(a.logits, b.logits), f"{where}: logits change on the way through disk")


def _beams(model: Any, source: Mapping[str, Tensor], beams: int) -> Any:
    return model.generate(
        **source,
        num_beams=beams,
        num_return_sequences=beams,
        min_new_tokens=6,
        max_new_tokens=10,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
    )
