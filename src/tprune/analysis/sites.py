"""Where in a model a component of an analysis lies: its block in words, and of lines their matrix and axis."""

from __future__ import annotations

from typing import TypedDict

from tprune.core.coupling import Coupling, Role
from tprune.core.kinds import Scope, rule_of
from tprune.core.sites import CROSS_ATTENTION, FEED_FORWARD, SELF_ATTENTION, Site, site_from_name

WORDS = {SELF_ATTENTION: "self", CROSS_ATTENTION: "cross", FEED_FORWARD: "ffn"}


class Origin(TypedDict):
    """The fields of a component that say where it lies; see `tprune.analysis.record.Component`."""

    site: Site | None
    matrix: str
    axis: str


def origin_of(coupling: Coupling) -> Origin:
    """Where a coupling lies; of the lines of a matrix also the matrix and its axis.

    Example:
        >>> from tprune.core.coupling import consumer
        >>> lines = Coupling("a", (consumer("model.fc2.weight", "o u -> u"),), closed=False, kind="lines")
        >>> origin_of(lines)
        {'site': None, 'matrix': 'model.fc2', 'axis': 'in'}
    """
    view = coupling.views[0]
    if rule_of(coupling.kind).scope is not Scope.MATRIX:
        return {"site": coupling.site, "matrix": "", "axis": ""}
    axis = "in" if view.role is Role.CONSUMER else "out"
    return {"site": coupling.site, "matrix": view.param.removesuffix(".weight"), "axis": axis}


def origin_from_name(name: str, kind: str) -> Origin:
    """The same, for analyses written before they held it.

    Example:
        >>> origin_from_name("model.encoder.layers.0.fc1.in", "lines")["matrix"]
        'model.encoder.layers.0.fc1'
    """
    matrix, _, axis = name.rpartition(".") if rule_of(kind).scope is Scope.MATRIX else ("", "", "")
    return {"site": site_from_name(name), "matrix": matrix, "axis": axis}


def block_name(site: Site) -> str:
    """A block in words.

    Example:
        >>> block_name(Site("decoder", 0, "cross_attention"))
        'decoder 0 cross'
    """
    layer = "" if site.layer is None else str(site.layer)
    return " ".join(part for part in (site.stack, layer, WORDS.get(site.block, site.block)) if part)


def module_name(matrix: str) -> str:
    """What a matrix is called in its block: `q_proj`."""
    return matrix.rpartition(".")[2]
