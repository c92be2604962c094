"""How a run directory keeps what each step of a compression found: written once it is done, and read again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from tprune.analysis import Analysis
from tprune.budget.both import in_both, needs_times
from tprune.budget.evidence import Evidence
from tprune.budget.mixed import Mixed
from tprune.core.curves import Curve
from tprune.core.plan import Plan
from tprune.core.precision import Precision
from tprune.costs.latency.table import LatencyTable
from tprune.realise.certificate import Certificate
from tprune.realise.checkpoint import save
from tprune.run.folder import Run
from tprune.run.outputs import markers
from tprune.run.results import spelling_of
from tprune.run.sequence import STEPS
from tprune.run.translation.steps import distill_data
from tprune.run.work import Work
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.reporting import silent
from tprune.train.pseudo_targets import cut_share

Write = Callable[[Run, Work], dict[str, Any]]
Read = Callable[[Run, Work], Work]


def as_it_is(run: Run, work: Work) -> Work:
    """Nothing is read."""
    return work


@dataclass(frozen=True)
class Kept:
    """How a run keeps what a step found.

    Attributes:
        write: writes it, and returns what the stage's marker says.
        after: reads it, whether the step was taken now or before.
        before: reads what the step needs of earlier ones that nothing else needs, if it is taken at all: a model.
    """

    write: Write
    after: Read = as_it_is
    before: Read = as_it_is


def taken(run: Run, name: str, work: Work) -> Work:
    """The work after the step of a stage, which is taken unless it is done already. What was kept is what goes on."""
    kept = KEPT[name]
    run.stage(name, lambda: kept.write(run, STEPS[name](kept.before(run, work))))
    after = kept.after(run, work)
    if run.curves is not None and name == "profile" and after.evidence is not None:
        run.curves.losses(after.evidence.curves)
    return after


def _write_spelling(run: Run, work: Work) -> dict[str, Any]:
    assert work.spelling is not None
    return work.spelling.to_dict()


def _read_spelling(run: Run, work: Work) -> Work:
    return replace(work, spelling=spelling_of(run))


def _write_evidence(run: Run, work: Work) -> dict[str, Any]:
    evidence = work.evidence
    assert evidence is not None
    if evidence.table is not None:
        write_json(run.out / "latency.json", evidence.table.to_dict())
    found = {"sensitivity": [asdict(curve) for curve in evidence.curves], "faster": evidence.faster}
    if evidence.mixed is None:
        return found
    if evidence.table is not None and evidence.table.beside is not None:
        write_json(run.out / "latency-fp32.json", evidence.table.beside.table.to_dict())
    return {**found, "mixed": asdict(evidence.mixed)}


def _read_evidence(run: Run, work: Work) -> Work:
    marker = markers(run.out).path("profile")
    done = read_json(marker)
    try:
        curves = tuple(Curve(c["name"], tuple(c["kept"]), tuple(c["losses"])) for c in done["sensitivity"])
        faster = float(done["faster"])
        mixed = _mixed(done["mixed"]) if run.recipe.bench.auto else None
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{marker}: damaged; delete it, and the same command measures again") from None
    table = LatencyTable.load(run.out / "latency.json") if run.recipe.prune.timed else None
    found = Evidence(table, curves, faster)
    if mixed is None:
        return replace(work, evidence=found)
    fp32 = LatencyTable.load(run.out / "latency-fp32.json") if needs_times(run.recipe.prune) else None
    return replace(work, evidence=in_both(found, mixed, fp32))


def _mixed(data: Mapping[str, Any]) -> Mixed:
    base = Precision(data["base"]["name"], tuple(data["base"]["exceptions"]))
    losses = {name: float(loss) for name, loss in data["losses"].items()}
    return Mixed(base, losses, {name: tuple(weights) for name, weights in data["weights"].items()})


def _write_analysis(run: Run, work: Work) -> dict[str, Any]:
    assert work.analysis is not None
    (run.out / "analysis.json").write_text(work.analysis.to_json(), encoding="utf-8")
    return {}


def _read_analysis(run: Run, work: Work) -> Work:
    return replace(work, analysis=Analysis.load(run.out / "analysis.json"))


def _say_translations(run: Run, work: Work) -> dict[str, Any]:
    share, limit = cut_share(work.start.translations)
    return {"sentences": len(run.corpus.train), "at_limit": round(share, 4), "limit": limit}


def _read_translations(run: Run, work: Work) -> Work:
    taught = distill_data(
        replace(work, start=replace(work.start, report=silent))
    )  # they are made by now: this reads them
    return replace(work, material=taught.material)


def _write_regularised(run: Run, work: Work) -> dict[str, Any]:
    save(work.made, run.out / "regularised", run.processor(run.base), work.final)
    return {}


def _read_regularised(run: Run, work: Work) -> Work:
    folder = run.out / "regularised"
    return replace(work, made=run.load(folder).eval(), final=Plan.load(folder / "plan.json"))


def _write_cut(run: Run, work: Work) -> dict[str, Any]:
    plan, certificate = work.final, work.certificate
    assert certificate is not None
    save(work.made, run.out / "cut", run.processor(run.base), plan, certificate)
    return {"certificate": certificate.to_dict(), "asked": dict(plan.asked), "reached": dict(plan.reached)}


def _read_cut(run: Run, work: Work) -> Work:
    folder = run.out / "cut"
    certificate = Certificate(**read_json(folder / "certificate.json"))
    return replace(work, made=run.load(folder), final=Plan.load(folder / "plan.json"), certificate=certificate)


def _write_recovered(run: Run, work: Work) -> dict[str, Any]:
    save(work.made, run.out / "pruned", run.processor(run.base), work.final, work.certificate)
    return {"loss": dict(work.losses)}


KEPT: Mapping[str, Kept] = {
    "resegment": Kept(_write_spelling, after=_read_spelling),
    "profile": Kept(_write_evidence, after=_read_evidence),
    "analyze": Kept(_write_analysis, after=_read_analysis),
    "distill-data": Kept(_say_translations, after=_read_translations),
    "prune": Kept(_write_regularised),
    "shrink": Kept(_write_cut, before=_read_regularised),
    "recover": Kept(_write_recovered, before=_read_cut),
}
