"""What an analysis found, as plain data that goes to JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import pstdev
from typing import Any

from tprune.analysis.sites import block_name, origin_from_name
from tprune.core.kinds import Scope, rule_of
from tprune.core.sites import Site, site_from_json
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Reading:
    """One component at the end of one strength.

    Attributes:
        zero: the fraction of its groups that vanished (below 1 % of their mean norm in the dense model).
        shrunk: `1 − Σ n / Σ n_dense`, how much of its norm it gave up.
        norms: quantiles of its norms, smallest first, in units of the dense mean.
    """

    zero: float
    shrunk: float
    norms: tuple[float, ...]


@dataclass(frozen=True)
class Component:
    """One axis of one matrix, or one coupling.

    Attributes:
        name: the coupling's name.
        kind: its kind (`lines` for a single matrix).
        groups: how many lines or groups it has.
        zero: see `Reading`, at the strongest pressure; `shrunk` likewise.
        shrunk: see `zero`.
        norms: quantiles of its norms in the dense model, in units of their mean.
        path: one reading per strength.
        ablation_loss: that the dense model adds (nats per token) when the smallest 30 % of the groups are zero; None
            where it was not measured.
        site: where it lies; None where its family does not say.
        matrix: of `lines`, the module whose lines they are.
        axis: of `lines`, `in` or `out`.
    """

    name: str
    kind: str
    groups: int
    zero: float
    shrunk: float
    norms: tuple[float, ...] = ()
    path: tuple[Reading, ...] = ()
    ablation_loss: float | None = None
    site: Site | None = None
    matrix: str = ""
    axis: str = ""

    @property
    def block(self) -> str:
        """The block that it lies in, in words; where its site is not known, its matrix or its name."""
        return block_name(self.site) if self.site is not None else self.matrix or self.name

    @property
    def area(self) -> float:
        """The mean of `shrunk` along the path: early and much is 1, late or little 0."""
        return sum(r.shrunk for r in self.path) / len(self.path) if self.path else self.shrunk


@dataclass(frozen=True)
class Point:
    """One strength of the path, the step at which it ended, and the validation loss there (nats per token.

    None if not asked).
    """

    strength: float
    step: int
    loss: float | None = None


@dataclass(frozen=True)
class Analysis:
    """What BSSL found, one component per coupling in the model's order, and how it was run.

    Attributes:
        components: of all matrices' axes, and the couplings asked for.
        strength: the base of the path, in units of the learning rate.
        steps: in all.
        path: the strengths, rising.
        loss: the dense model's validation loss (nats per token).
        blocks: `matrix`, or `heads` where attention projections were split into slices.
    """

    components: tuple[Component, ...]
    strength: float
    steps: int
    path: tuple[Point, ...] = ()
    loss: float | None = None
    blocks: str = "matrix"

    def __getitem__(self, name: str) -> Component:
        for component in self.components:
            if component.name == name:
                return component
        raise InputError(f"the analysis has no component {name!r}")

    def of_kind(self, kind: str) -> tuple[Component, ...]:
        """The components of one kind."""
        return tuple(c for c in self.components if c.kind == kind)

    @property
    def lines(self) -> tuple[Component, ...]:
        """The components that are lines of single matrices."""
        return tuple(c for c in self.components if rule_of(c.kind).scope is Scope.MATRIX)

    @property
    def telling(self) -> int:
        """The strength, by its place on the path, at which lines of matrices differ most.

        What differs is the fractions that vanished or, where nothing did, the norms given up; only strengths that left
        the loss below twice the dense model's count.
        """
        lines = [c for c in self.lines if c.path]
        sane = [i for i, p in enumerate(self.path) if p.loss is None or self.loss is None or p.loss <= 2 * self.loss]
        if not lines or not sane:
            return 0
        return max(sane, key=lambda i: (pstdev(c.path[i].zero for c in lines), pstdev(c.path[i].shrunk for c in lines)))

    def to_json(self) -> str:
        """As it is written into a run."""
        return json.dumps(asdict(self), indent=1)

    @staticmethod
    def load(path: Path) -> Analysis:
        """Reads an analysis back, also from among what `tprune analyze` writes beside it.

        Raises `InputError` naming the file.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            components = tuple(_component(c) for c in data["components"])
            points = tuple(Point(**p) for p in data.get("path", ()))
            rest = {key: data[key] for key in ("loss", "blocks") if key in data}
            return Analysis(components, data["strength"], data["steps"], points, **rest)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: no analysis ({error})") from None


def _component(data: dict[str, Any]) -> Component:
    path = tuple(Reading(**{**r, "norms": tuple(r["norms"])}) for r in data.pop("path", ()))
    if "harm" in data:  # its name in files of earlier versions
        data["ablation_loss"] = data.pop("harm")
    if "site" in data:
        data["site"] = site_from_json(data["site"])
    else:
        data |= origin_from_name(data["name"], data["kind"])
    return Component(**{**data, "norms": tuple(data.get("norms", ()))}, path=path)
