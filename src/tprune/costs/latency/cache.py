"""Latency tables that are kept: what is missing is timed, and one that is old is looked at again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from tprune.core.known_tasks import task_of
from tprune.core.model import Model, Tokenizer
from tprune.core.plan import Plan, fingerprint
from tprune.core.sites import Site
from tprune.core.sublayers import KeptFractions, width_of
from tprune.core.task import Task
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.files import TRANSLATION_ALONE
from tprune.costs.latency.fit import fitted
from tprune.costs.latency.phases import SENTENCES, TRANSCRIPTION, TRANSLATION, Times, phases_of
from tprune.costs.latency.shelf import Shelf
from tprune.costs.latency.subject import Inputs, Passes, batches_of, check_inputs, examples_of, shapes_of, spoken
from tprune.costs.latency.table import FORMAT, LatencyTable, Ratios, TimedPlan, TimingConfig, kept_fractions
from tprune.costs.latency.timer import CONVERGED, DENSE, Timer, converged, given_up, quoted_of
from tprune.runtimes.runtime import Slow, runtime_named
from tprune.support.machine import machine, version_of
from tprune.support.reporting import Report

HOUR = 3600.0  # after which a kept table is looked at again
MOVED = 0.1  # by how much a plan may be faster or slower than it was
DOUBTED = (
    "the kept latency table says that this cannot be reached; the dense model and the smallest one are timed again "
    "before it is believed"
)
Mixture = tuple[Mapping[Site, KeptFractions], float]


def key_of(model: Model, setting: TimingConfig, inputs: Inputs = None, task: Task | None = None) -> str:
    """What a table is valid for: task, phases, shapes of model and inputs, runtime, version, processor and setting."""
    phases, task = phases_of(model, setting.runtime), task or task_of(model)
    shapes: list[dict[str, list[int]]] = []
    if phases == TRANSCRIPTION:
        shapes = [{"labels": [spoken(batches_of(model, examples_of(inputs), 1, task)[0], task)]}]
    elif phases not in (TRANSLATION, SENTENCES):
        shapes = shapes_of(Passes.of(model, examples_of(inputs), setting, task).inputs)
    return _hash([FORMAT, task.name, asdict(phases), *_about(model, setting), _plain(setting), shapes])


def _old_key_of(model: Model, setting: TimingConfig) -> str:
    """The key by which tables of translation models were kept while there were no others."""
    known = {name: value for name, value in _plain(setting).items() if name != "new_tokens"}
    return _hash([TRANSLATION_ALONE, *_about(model, setting), known])


def _plain(setting: TimingConfig) -> dict[str, object]:
    """The configuration for a key: single precision is not named, so that tables of before stay valid."""
    named = asdict(setting)
    if setting.precision.exact:
        del named["precision"]
    return named


def _about(model: Model, setting: TimingConfig) -> list[object]:
    here = machine()
    generation = getattr(model, "generation_config", None)
    never = len(getattr(generation, "suppress_tokens", None) or ())
    version = version_of(runtime_named(setting.runtime).package)
    return [fingerprint(model), never, version, here["cpu"], here["cores"]]


def _hash(parts: object) -> str:
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _shelf(cache: Path, model: Model, setting: TimingConfig, inputs: Inputs, task: Task) -> Shelf:
    key = key_of(model, setting, inputs, task)
    old = _old_key_of(model, setting) if phases_of(model, setting.runtime) == TRANSLATION else None
    older = None if old is None else Shelf(cache / f"{old}.json", old)
    return Shelf(cache / f"{key}.json", key, older)


class FeasibilityCheck(Protocol):
    """Whether the time that a table is measured for can be reached; see `tprune.budget.reach.Feasibility`."""

    def quick_feasibility_check(self, timer: Timer, table: LatencyTable) -> None:
        """Fails early: called once the dense model's times are known, before the missing plans are timed; may raise."""
        ...

    def refused(self, table: LatencyTable) -> Exception | None:
        """What a whole table says against what is asked for, if anything."""
        ...

    def confirm(self, timer: Timer, table: LatencyTable) -> tuple[Plan, Times]:
        """Measures whether that is so, and raises where it is; otherwise the plan that meets it, and its times."""
        ...


def measured(
    model: Model,
    tokenizer: Tokenizer | None,
    inputs: Inputs,
    setting: TimingConfig,
    cache: Path,
    report: Report = lambda text: None,
    kinds: Sequence[str] = ("ffn", "heads"),
    removal: bool = True,
    asked: FeasibilityCheck | None = None,
    task: Task | None = None,
    even: Sequence[str] = (),
) -> LatencyTable:
    """The latency table of a model on this machine; plans that `cache` (a folder) knows are not timed again.

    What is measured is kept every few rounds, so that a run that was stopped, or one that asks for more kinds, times
    only what is missing. A machine may change, too: of a table that is older than an hour the dense model and one plan
    are timed again, and where plans have moved against it all are. So they are before a kept table refuses anything.
    Times that vary too much serve this call and are not kept.

    Args:
        model: a trained dense model.
        tokenizer: its own; needed for translation alone.
        inputs: source sentences, for the tokens and the time of whole ones; of other tasks encoded examples, whose
            median length is timed, or None for inputs of typical size.
        setting: threads, batch and lengths.
        cache: where tables are kept, one file each.
        report: called with lines of progress, and with warnings of times that vary.
        kinds: of couplings whose sizes are to be known; none for the dense model alone.
        removal: whether sublayers may also be left with nothing.
        asked: what the table is for, which may turn out to be out of reach, or met already.
        task: what the model is for; its own if not given.
        even: kinds of which all sublayers of a stack keep equally many, because the runtime needs it.

    Raises:
        InputError: the model has no coupling of a kind, or `cache` cannot be written to or holds a damaged table; or
            the dense model meets what is asked for.
        NoisyMachineError: a plan varies too much to say anything.
        UnreachableError: what is asked for cannot be reached, as measured now.
    """
    task = task or task_of(model)
    check_inputs(model, inputs, task)
    shelf = _shelf(cache, model, setting, inputs, task)
    kept, plans = shelf.read(), _plans(model, setting, kinds, removal, even)
    old = bool(kept and kept.plans and plans) and shelf.age() > HOUR
    refused = False
    if kept and kept.dense_spread <= DENSE and not old and not _missing(plans, kept):
        found = fitted(kept, model, task)
        refused = asked is not None and asked.refused(found) is not None
        if not refused:
            return found
        report(DOUBTED)
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(model, tokenizer, inputs, setting, Path(folder), report=report, task=task)
        table = timer.dense(shelf.key)
        if kept is not None:
            table = _with_plans(table, kept, report)
            if old and not _still_so(timer, table, plans, report):
                table = replace(table, plans=())
        shelf.write(table)
        if asked is not None:
            asked.quick_feasibility_check(timer, table)
        known = bool(table.plans)
        table = fitted(_completed(timer, table, plans, shelf, report), model, task)
        if asked is None or asked.refused(table) is None:
            return table
        if known and not refused:
            report(DOUBTED)
        least = asked.confirm(timer, table)  # raises where it is so
        if not known:  # all was measured just now; this plan too
            return table.corrected_by(*least)
        report("the smallest model that may be left is faster than the latency table says; all plans are timed again")
        return fitted(_completed(timer, replace(table, plans=()), plans, shelf, report), model, task)


def kept_table(
    model: Model,
    inputs: Inputs,
    setting: TimingConfig,
    cache: Path,
    kinds: Sequence[str],
    removal: bool,
    task: Task | None = None,
    even: Sequence[str] = (),
) -> LatencyTable | None:
    """The table that `measured` has kept of a model, if nothing of it is missing; arguments as there."""
    task = task or task_of(model)
    kept = _shelf(cache, model, setting, inputs, task).read()
    if kept is None or not kept.plans or _missing(_plans(model, setting, kinds, removal, even), kept):
        return None
    return fitted(kept, model, task)


def _plans(model: Model, setting: TimingConfig, kinds: Sequence[str], removal: bool, even: Sequence[str]) -> list[Plan]:
    """Those of a table: fewer where the runtime lowers slowly."""
    return list(plans_for(model, kinds, removal, even, isinstance(runtime_named(setting.runtime), Slow)))


def _completed(timer: Timer, table: LatencyTable, plans: Sequence[Plan], shelf: Shelf, report: Report) -> LatencyTable:
    """The table with all of these plans; those that are missing are timed."""
    missing = _missing(plans, table)
    for some in (missing[i : i + timer.together] for i in range(0, len(missing), timer.together)):
        report(f"exporting {len(some)} plan{'s' * (len(some) != 1)}, to be timed side by side")
        known = [_known(plan, table) for plan in some]
        named = {f"plan {i} of the table": plan for i, plan in enumerate(some, 1)}
        for ratios in timer.side_by_side(named, known):
            table = _with(table, some, ratios)
            shelf.write(table)
            good = sum(converged(each, table.setting) for each in ratios)
            rounds = max(len(quoted_of(each)) for each in ratios)
            report(f"{rounds} rounds; {good} of {len(some)} plans are known to within ±{CONVERGED:.0%}")
    return table


def _with_plans(dense: LatencyTable, kept: LatencyTable, report: Report) -> LatencyTable:
    """The kept plans beside the dense model as it is timed now: they are known by their ratios to it."""
    was, now, quoted = kept.dense.total, dense.dense.total, dense.phases.quoted
    if kept.dense_spread <= DENSE and abs(now / was - 1) > MOVED:
        report(
            f"the dense model takes {now:.3g} ms a {quoted}; the kept latency table said {was:.3g} ms, and is corrected"
        )
    return replace(dense, plans=kept.plans)


def _still_so(timer: Timer, table: LatencyTable, plans: Sequence[Plan], report: Report) -> bool:
    """Whether the smallest of these plans that the table knows takes as long as it did."""
    before = [(table.times(t.medians).total, plan) for plan in plans if (t := _timed(plan, table))]
    if not before:
        return False
    was, least = min(before, key=lambda each: each[0])
    now = timer.times(least, table).total
    if abs(now / was - 1) <= MOVED:
        return True
    less = "less" if now < was else "more"
    report(
        f"a plan of the kept latency table takes {abs(now / was - 1):.0%} {less} time than it did; all are timed again"
    )
    return False


def _mixture(plan: Plan) -> Mixture:
    return kept_fractions(plan), width_of(plan)


def _timed(plan: Plan, table: LatencyTable) -> TimedPlan | None:
    """What the table knows of a plan."""
    mixture = _mixture(plan)
    return next((t for t in table.plans if (t.shares, t.width) == mixture), None)


def _known(plan: Plan, table: LatencyTable) -> Ratios:
    """The ratios of a plan that more rounds are added to; none of a plan that was given up."""
    timed = _timed(plan, table)
    if timed is None or given_up(timed.ratios, table.setting):
        return dict.fromkeys(table.phases.timed, ())
    return timed.ratios


def _missing(plans: Sequence[Plan], table: LatencyTable) -> list[Plan]:
    return [plan for plan in plans if not converged(_known(plan, table), table.setting)]


def _with(table: LatencyTable, plans: Sequence[Plan], ratios: Sequence[Ratios]) -> LatencyTable:
    new = [TimedPlan(*_mixture(plan), each) for plan, each in zip(plans, ratios, strict=True)]
    names = [(t.shares, t.width) for t in new]
    rest = [t for t in table.plans if (t.shares, t.width) not in names]
    return replace(table, plans=(*rest, *new))
