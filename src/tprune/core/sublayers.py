"""Sublayers: the couplings of one attention or feed-forward block, and what it saves when several of them are cut at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tprune.core.plan import Plan
from tprune.support.errors import InputError

KINDS = ("heads", "qk", "vo", "ffn", "sublayer")
PLACE = re.compile(r"(?:^|\.)(encoder|decoder)\.layers\.\d+\.(.+?)(?:\.(?:heads|qk|vo|sublayer))?$")
READS_SOURCE = "decoder.encoder_attn"

Left = Mapping[str, int]  # what stays of a sublayer: lines (groups, or dimensions per head) by kind of coupling
Shares = Mapping[str, float]  # the same as shares of the whole


@dataclass(frozen=True)
class Sublayer:
    """One block of a model as a plan sees it.

    Attributes:
        name: such as `model.decoder.layers.0.self_attn`.
        couplings: by kind, the names of its couplings in the plan.
        whole: by kind, how many lines there are: groups, or dimensions per head.
    """

    name: str
    couplings: Mapping[str, str]
    whole: Left

    @property
    def place(self) -> str:
        """Its kind, whatever the layer: `decoder.self_attn`."""
        return place_of(self.name)

    def shares(self, left: Left) -> dict[str, float]:
        """What stays, as shares of the whole; kinds that `left` does not name are whole."""
        return {kind: left.get(kind, total) / total for kind, total in self.whole.items()}


def place_of(name: str) -> str:
    """The kind of sublayer that a sublayer or coupling is or lies in. Raises `InputError` for one without a place.

    Example:
        >>> place_of("model.decoder.layers.2.encoder_attn.heads"), place_of("model.encoder.layers.0.ffn.sublayer")
        ('decoder.encoder_attn', 'encoder.ffn')
    """
    found = PLACE.search(name)
    if not found or found[2].endswith((".in", ".out")):
        raise InputError(
            f"{name} lies in no sublayer whose cost is known; expected {', '.join(KINDS)} couplings, or width"
        )
    return f"{found[1]}.{found[2]}"


def sublayers_of(plan: Plan) -> tuple[Sublayer, ...]:
    """The sublayers of a plan in its order; the residual width belongs to none.

    Raises:
        InputError: a coupling that lies in no sublayer, such as the lines of one matrix.
    """
    names: dict[str, dict[str, str]] = {}
    lines: dict[str, dict[str, int]] = {}
    for entry in plan.entries:
        kind, name = entry.coupling.kind, entry.coupling.name
        if kind == "width":
            continue
        if kind not in KINDS:
            raise InputError(
                f"{name}: couplings of kind {kind!r} cannot share a budget; expected {', '.join(KINDS)}, width"
            )
        place_of(name)
        sublayer = re.sub(r"\.(heads|qk|vo|sublayer)$", "", name)
        names.setdefault(sublayer, {})[kind] = name
        lines.setdefault(sublayer, {})[kind] = entry.groups[-1] if entry.groups else 1
    return tuple(Sublayer(name, kinds, lines[name]) for name, kinds in names.items())


def left_of(plan: Plan) -> dict[str, dict[str, int]]:
    """For every sublayer of a selected plan, by name, what stays; all where an entry says nothing."""
    entries = {entry.coupling.name: entry for entry in plan.entries}
    found: dict[str, dict[str, int]] = {}
    for s in sublayers_of(plan):
        found[s.name] = {
            kind: int(entries[name].keep.sum()) * s.whole[kind] // entries[name].keep.numel()
            for kind, name in s.couplings.items()
        }
    return found


def blind(plan: Plan, layers: int) -> bool:
    """Whether a selected plan leaves none of so many decoder layers reading the source."""
    left = left_of(plan)
    gone = [
        s.name for s in sublayers_of(plan)
        if s.place == READS_SOURCE and 0 in (left[s.name].get("sublayer"), left[s.name].get("heads"))
    ]  # fmt: skip
    return len(gone) >= layers


def width_of(plan: Plan) -> float:
    """The share of the residual width that a plan keeps; 1 where it has no such coupling."""
    return next((float(e.keep.double().mean()) for e in plan.entries if e.coupling.kind == "width"), 1.0)


def combined(saved: Callable[[str, float], Any], shares: Shares) -> Any:
    """What a sublayer saves with several kinds cut at once, from what each saves alone.

    `saved(h, qk, vo) = saved(h) + h/H · (saved(qk) + saved(vo))`: dimensions are saved in the heads that stay. This is exact
    for parameters and multiply-accumulates. A removed sublayer saves what its removal saves.

    Args:
        saved: of a kind and its share, the others whole; a number or an array.
        shares: by kind.

    Example:
        >>> combined(lambda kind, share: 10 * (1 - share), {"heads": 0.5, "qk": 0.5})
        7.5
    """
    if shares.get("sublayer", 1.0) == 0:
        return saved("sublayer", 0.0)
    inside = sum(saved(kind, shares[kind]) for kind in ("qk", "vo") if kind in shares)
    return (
        sum(saved(kind, shares[kind]) for kind in ("heads", "ffn") if kind in shares)
        + shares.get("heads", 1.0) * inside
    )
