"""Latency tables that are kept: what is missing is timed, and one that is old is looked at again."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from tprune.errors import InputError
from tprune.files import write_json
from tprune.latency import FORMAT, TIMED, LatencyTable, Ratios, Setting, Timed, shares_of
from tprune.latency_fit import fitted
from tprune.latency_plans import plans_for
from tprune.latency_timer import MOST, STEADY, Timer, steady
from tprune.machine import machine, version_of
from tprune.plan import Plan, fingerprint
from tprune.progress import Report
from tprune.runtimes.runtime import runtime_named
from tprune.sublayers import Shares, width_of
from tprune.texts import check_list

HOUR = 3600.0  # after which a kept table is looked at again
MOVED = 0.1  # by how much a plan may be faster or slower than it was
NOTHING: Ratios = dict.fromkeys(TIMED, ())
Mixture = tuple[Mapping[str, Shares], float]


def key_of(model: Any, setting: Setting) -> str:
    """What a table is valid for: this model's shapes, runtime and its version, processor and setting."""
    here, never = machine(), len(model.generation_config.suppress_tokens or ())
    about = [version_of(runtime_named(setting.runtime).package), here["cpu"], here["cores"], asdict(setting)]
    parts = [FORMAT, fingerprint(model), never, *about]
    return sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def measured(
    model: Any, tokenizer: Any, sentences: Sequence[str], setting: Setting, cache: Path,
    report: Report = lambda text: None, kinds: Sequence[str] = ("ffn", "heads"), removal: bool = True,
    check: Callable[[Timer, LatencyTable], None] = lambda timer, table: None,
) -> LatencyTable:  # fmt: skip
    """The latency table of a model on this machine; plans that `cache` (a folder) knows are not timed again.

    What is measured is kept every few rounds, so that a run that was stopped, or one that asks for more kinds, times only what is
    missing. A machine may change, too: of a table that is older than an hour one plan is timed again, and where it has moved all are.

    Args:
        model: a trained dense model.
        tokenizer: its own.
        sentences: source sentences, for the tokens and the time of whole ones.
        setting: threads, batch and lengths.
        cache: where tables are kept, one file each.
        report: is told how far it is.
        kinds: of couplings whose sizes are to be known; none for the dense model alone.
        removal: whether sublayers may also be left with nothing.
        check: is called once the dense model's times are known, before what is missing is timed; may raise.

    Raises:
        NoisyMachineError: a plan stayed unsteady; says by how much.
        InputError: the model has no coupling of a kind, or `cache` cannot be written to or holds a damaged table.
    """
    check_list(sentences, "sentences")
    key = key_of(model, setting)
    path = cache / f"{key}.json"
    table = _kept(path, key)
    plans = list(plans_for(model, kinds, removal))
    old = bool(table and table.plans and plans) and time.time() - path.stat().st_mtime > HOUR
    if table and not old and not _missing(plans, table):
        return fitted(table, model)
    with tempfile.TemporaryDirectory() as folder:
        timer = Timer(model, tokenizer, tuple(sentences), setting, Path(folder))
        if table and old:
            table = _looked_at_again(timer, table, plans, report)
        if table is None:
            table = timer.dense(key)
        write_json(path, table.to_json())
        check(timer, table)
        missing = _missing(plans, table)
        for some in (missing[i : i + timer.together] for i in range(0, len(missing), timer.together)):
            report(f"exporting {len(some)} plan{'s' * (len(some) != 1)}, to be timed side by side")
            known = [_known(plan, table) for plan in some]
            named = {f"plan {i} of the table": plan for i, plan in enumerate(some, 1)}
            for ratios in timer.side_by_side(named, known, report):
                table = _with(table, some, ratios)
                write_json(path, table.to_json())
                good = sum(steady(each, setting) for each in ratios)
                rounds = max(len(each["sentence"]) for each in ratios)
                report(f"{rounds} rounds; {good} of {len(some)} plans are known to within ±{STEADY:.0%}")
    return fitted(table, model)


def _kept(path: Path, key: str) -> LatencyTable | None:
    """The table of a file, if there is one and it is of this key. Raises `InputError` for a folder that cannot be written to."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        table = LatencyTable.load(path) if path.exists() else None
    except OSError as error:
        raise InputError(
            f"{path.parent}: latency tables cannot be kept there ({error.strerror or error}); name another folder in XDG_CACHE_HOME"
        ) from None
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path.parent}: latency tables cannot be kept there; name another folder in XDG_CACHE_HOME")
    return table if table and table.key == key else None


def _mixture(plan: Plan) -> Mixture:
    return shares_of(plan), width_of(plan)


def _timed(plan: Plan, table: LatencyTable) -> Timed | None:
    """What the table knows of a plan."""
    mixture = _mixture(plan)
    return next((t for t in table.plans if (t.shares, t.width) == mixture), None)


def _known(plan: Plan, table: LatencyTable) -> Ratios:
    """The ratios of a plan that are worth adding to: of one that never became steady none are."""
    timed = _timed(plan, table)
    if timed is None:
        return NOTHING
    given_up = len(timed.ratios["sentence"]) >= MOST * table.setting.rounds and not steady(timed.ratios, table.setting)
    return NOTHING if given_up else timed.ratios


def _missing(plans: Sequence[Plan], table: LatencyTable) -> list[Plan]:
    return [plan for plan in plans if not steady(_known(plan, table), table.setting)]


def _with(table: LatencyTable, plans: Sequence[Plan], ratios: Sequence[Ratios]) -> LatencyTable:
    new = [Timed(*_mixture(plan), each) for plan, each in zip(plans, ratios, strict=True)]
    names = [(t.shares, t.width) for t in new]
    rest = [t for t in table.plans if (t.shares, t.width) not in names]
    return dataclasses.replace(table, plans=(*rest, *new))


def _looked_at_again(
    timer: Timer, table: LatencyTable, plans: Sequence[Plan], report: Report
) -> LatencyTable | None:  # fmt: skip
    """An old table, if the smallest of these plans that it knows takes as long as it did; otherwise nothing."""
    before = [(table.times(t.medians).sentence, plan) for plan in plans if (t := _timed(plan, table))]
    if not before:
        return None
    was, least = min(before, key=lambda each: each[0])
    now = timer.times(least, table).sentence
    if abs(now / was - 1) <= MOVED:
        return table
    less = "less" if now < was else "more"
    report(
        f"a plan of the kept latency table takes {abs(now / was - 1):.0%} {less} time than it did; all are timed again"
    )
    return None
