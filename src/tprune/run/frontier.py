"""A dry run at several speeds: what each would cost in every precision, from one set of measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from tprune.budget.evidence import Evidence
from tprune.budget.frontier import Point, frontier
from tprune.core.precision import AUTO, Precision
from tprune.families.graphs.graph import skeleton_of
from tprune.report.frontier import frontier_table, write_plot
from tprune.run.folder import Run
from tprune.run.sequence import measured, sized
from tprune.run.variants import precisions_of
from tprune.run.work import Work
from tprune.support.errors import TpruneError, UnreachableError
from tprune.support.files import write_json


def explored(run: Run, work: Work, speeds: Sequence[float]) -> dict[str, Any]:
    """Measures each precision once, and writes `frontier.json` and `frontier.svg`.

    Whoever picks one of the speeds and gives the command with it in the same directory measures no loss again, nor what
    the precision alone makes faster; latency tables are kept in the user's cache. The chosen plan is timed.

    Args:
        run: that would prune.
        work: before the first step.
        speeds: times faster than the dense model in fp32.

    Raises:
        UnreachableError: not even the least speed can be reached, in any precision.
    """
    work, evidence, refused = sized(work), dict[str, Evidence](), dict[str, str]()
    for precision in precisions_of(run.recipe.bench, skeleton_of(work.start.dense).name):
        try:
            evidence |= _rows(precision.name, _in(work, precision).evidence)
        except TpruneError as error:
            refused[precision.name] = str(error)
            run.progress.note(f"warning: {precision}: {error}")
    known = evidence
    if not known:
        raise UnreachableError(f"none of {', '.join(f'{speed:g}x' for speed in speeds)}: {'; '.join(refused.values())}")
    how = work.how

    def request(speed: float) -> Any:
        return how.model_copy(update={"speedup": speed, "search": 0})

    points = frontier(work.writer, work.plan, request, known, speeds, run.task)
    return _written(run, points, next((e.timed(how).phases.quoted for e in known.values()), ""), refused)


def _in(work: Work, precision: Precision) -> Work:
    """The evidence in a precision."""
    return measured(replace(work, start=replace(work.start, setting=replace(work.start.setting, precision=precision))))


def _rows(precision: str, found: Evidence | None) -> dict[str, Evidence]:
    """The evidence by what is asked for; where sublayers may choose, that of a plan in which none does, too."""
    if found is None:
        return {}
    if found.mixed is None or found.table is None:
        return {precision: found}
    alone = replace(found, mixed=replace(found.mixed, choice=False), table=replace(found.table, beside=None))
    return {precision: alone, AUTO: found}


def _written(run: Run, points: Sequence[Point], quoted: str, refused: dict[str, str]) -> dict[str, Any]:
    objective = run.recipe.prune.objective
    found = {
        "quoted": quoted,
        "objective": objective,
        "points": [asdict(point) for point in points],
        "refused": refused,
    }
    write_json(run.out / "frontier.json", found)
    write_plot(points, run.out / "frontier.svg", objective)
    run.progress.note(frontier_table(points, quoted, objective))
    return {"frontier": found}
