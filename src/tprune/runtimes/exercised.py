"""Which features an export was checked with: what the check did, and what had been cut of the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from tprune.core.coupling import Coupling, Groups
from tprune.counting.output_rows import written_rows
from tprune.families.modeling.modeling_pruned import Gathered, NarrowLayerNorm, NarrowRMSNorm
from tprune.families.registry import couplings
from tprune.runtimes.features import FEATURES, features_for
from tprune.runtimes.report import ExportReport
from tprune.support.errors import InputError

CUTS: Mapping[str, tuple[type[nn.Module], ...]] = {
    "narrow residual": (NarrowLayerNorm, NarrowRMSNorm),
    "single lines": (Gathered,),
}


def exercised(model: Any, build: str, report: ExportReport) -> tuple[str, ...]:
    """The features of `FEATURES` that a check has met.

    Args:
        model: that was exported, dense or pruned.
        build: the name of its skeleton.
        report: of the check, which passed.
    """
    found = {*_done(build, report), *_cut(model)}
    return tuple(name for name in FEATURES if name in found and name in features_for(build))


def _done(build: str, report: ExportReport) -> Iterator[str]:
    if report.sentences:
        yield from ("greedy", "beam")
    if report.inputs:
        yield "one pass"
    if report.steps:
        yield "steps"
    if max(report.sentences, report.inputs) > 1:
        yield "batch"


def _cut(model: Any) -> Iterator[str]:
    """What the shapes of a model show; a model of no family shows less."""
    modules = list(model.modules())
    yield from (name for name, kinds in CUTS.items() if any(isinstance(module, kinds) for module in modules))
    if any(getattr(module, "removed", False) for module in modules):
        yield "removed blocks"
    if written_rows(model):
        yield "output vocabulary"
    try:
        known = couplings(model)
    except InputError:
        return
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    sizes = {one: Groups(one, tensors).shape for one in known if one.kind in ("heads", "ffn", "channels", "qk", "vo")}
    if _differ(sizes, "heads"):
        yield "uneven heads"
    if _differ(sizes, "ffn") or _differ(sizes, "channels"):
        yield "uneven units"
    widths = {(one.kind, one.site): shape[-1:] for one, shape in sizes.items()}
    if any(kind == "qk" and widths.get(("vo", site), width) != width for (kind, site), width in widths.items()):
        yield "uneven head widths"


def _differ(sizes: Mapping[Coupling, tuple[int, ...]], kind: str) -> bool:
    return len({shape for one, shape in sizes.items() if one.kind == kind}) > 1
