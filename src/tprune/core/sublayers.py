"""Sublayers: the couplings of one attention or feed-forward block, and what cutting several of them saves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tprune.core.coupling import Coupling
from tprune.core.kinds import COVERING, INNER, SHARING, WHOLE_BLOCK, WIDTH, Scope, rule_of
from tprune.core.plan import Plan
from tprune.core.sites import Site, no_site
from tprune.support.errors import InputError

KeptCounts = Mapping[str, int]  # lines that a sublayer keeps (groups, or dimensions per head), by kind of coupling
KeptFractions = Mapping[str, float]  # the same as fractions of all its lines


@dataclass(frozen=True)
class Sublayer:
    """One block of a model as a plan sees it.

    Attributes:
        site: where it lies.
        couplings: by kind, the names of its couplings in the plan.
        whole: by kind, how many lines there are: groups, or dimensions per head.
    """

    site: Site
    couplings: Mapping[str, str]
    whole: KeptCounts

    @property
    def name(self) -> str:
        """As tables and results write it: `model.decoder.layers.0.self_attn`."""
        return self.site.name

    @property
    def place(self) -> str:
        """Its kind, whatever the layer: `decoder.self_attn`."""
        return self.site.place

    def fractions(self, counts: KeptCounts) -> dict[str, float]:
        """Kept lines as fractions of all; 1 for kinds that `counts` does not name."""
        return {kind: counts.get(kind, total) / total for kind, total in self.whole.items()}


def sublayers_of(plan: Plan) -> tuple[Sublayer, ...]:
    """The sublayers of a plan in its order; the residual width belongs to none.

    Raises:
        InputError: a coupling that shares no budget, such as the lines of one matrix, or one without a site; two of
            one kind at one site; or the residual widths of two stacks.
    """
    if len(widths := [c.name for c in plan.couplings if rule_of(c.kind).scope is Scope.MODEL]) > 1:
        raise InputError(f"{' and '.join(widths)}: two residual widths cannot share a budget; expected one of them")
    names: dict[Site, dict[str, str]] = {}
    lines: dict[Site, dict[str, int]] = {}
    for entry in plan.entries:
        coupling = entry.coupling
        if rule_of(coupling.kind).scope is Scope.MODEL:
            continue
        site = _site_of(coupling)
        if coupling.kind in names.setdefault(site, {}):
            twin = names[site][coupling.kind]
            raise InputError(
                f"{coupling.name}: {twin} is of kind {coupling.kind!r} at the same site; expected one of each"
            )
        names[site][coupling.kind] = coupling.name
        lines.setdefault(site, {})[coupling.kind] = entry.groups[-1] if entry.groups else 1
    return tuple(Sublayer(site, kinds, lines[site]) for site, kinds in names.items())


def _site_of(coupling: Coupling) -> Site:
    if coupling.kind not in SHARING:
        raise InputError(
            f"{coupling.name}: couplings of kind {coupling.kind!r} cannot share a budget; expected "
            f"{', '.join(SHARING)}, {WIDTH}"
        )
    if coupling.site is None:
        raise no_site(coupling.name)
    return coupling.site


def kept_counts(plan: Plan) -> dict[str, dict[str, int]]:
    """The lines that every sublayer of a selected plan keeps, by its name and by kind of coupling."""
    entries = {entry.coupling.name: entry for entry in plan.entries}
    found: dict[str, dict[str, int]] = {}
    for s in sublayers_of(plan):
        found[s.name] = {
            kind: int(entries[name].keep.sum()) * s.whole[kind] // entries[name].keep.numel()
            for kind, name in s.couplings.items()
        }
    return found


def drops_source(plan: Plan, layers: int) -> bool:
    """Whether a selected plan empties every sublayer that reads the source, in a decoder of `layers` layers."""
    counts = kept_counts(plan)
    gone = [s for s in sublayers_of(plan) if s.site.reads_source and emptied(counts[s.name])]
    return len(gone) >= layers


def emptied(counts: KeptCounts | KeptFractions) -> bool:
    """Whether a sublayer that keeps so much computes nothing: it is removed, or a kind that covers it keeps no line.

    Example:
        >>> emptied({"heads": 0, "qk": 8}), emptied({"heads": 2, "sublayer": 1})
        (True, False)
    """
    return any(counts.get(kind) == 0 for kind in (WHOLE_BLOCK, *COVERING))


def width_of(plan: Plan) -> float:
    """The share of the residual width that a plan keeps; 1 where it has no such coupling."""
    return next((float(e.keep.double().mean()) for e in plan.entries if e.coupling.kind == WIDTH), 1.0)


def combined(saved: Callable[[str, float], Any], shares: KeptFractions) -> Any:
    """What a sublayer saves with several kinds cut at once, from what each saves alone.

    `saved(h, qk, vo) = saved(h) + h/H · (saved(qk) + saved(vo))`: dimensions are saved in the heads that stay. This is
    exact for parameters and multiply-accumulates. A removed sublayer saves what its removal saves.

    Args:
        saved: of a kind and its share, the others whole; a number or an array.
        shares: by kind.

    Example:
        >>> combined(lambda kind, share: 10 * (1 - share), {"heads": 0.5, "qk": 0.5})
        7.5
    """
    if shares.get(WHOLE_BLOCK, 1.0) == 0:
        return saved(WHOLE_BLOCK, 0.0)
    found = sum(saved(kind, shares[kind]) for kind in COVERING if kind in shares)
    for outer, inner in INNER.items():
        if inside := [saved(kind, shares[kind]) for kind in inner if kind in shares]:
            found = found + shares.get(outer, 1.0) * sum(inside)
    return found
