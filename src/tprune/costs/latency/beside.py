"""Two latency tables of one model, in a precision and in fp32: the time of plans that keep a part of it in fp32.

A whole sublayer in fp32 takes its fp32 prices in place of its others; what is cut of it saves what it saves in fp32.
What lies in no sublayer (embeddings, the output layer, fixed costs) takes what the dense models' times leave of the
prices. So a model that is all fp32 takes the time that the table in fp32 says.

A part in fp32 between others in int8 may take more than that. How many times as much (`Beside.factor`) is learned from
the plans that are timed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tprune.core.precision import Precision
from tprune.core.sites import Site
from tprune.core.sublayers import KeptFractions
from tprune.costs.latency.phases import Floats

if TYPE_CHECKING:
    from tprune.costs.latency.table import LatencyTable

REST = ""  # the name of what lies in no sublayer
DOUBT = 0.03  # of the dense time in fp32: so far may the time of a plan be off for other reasons
FACTORS = (0.5, 4.0)  # what is believed


@dataclass(frozen=True)
class Beside:
    """The table of a model in fp32, and which weights are fp32 where a part of a model is.

    Attributes:
        table: in fp32.
        weights: by sublayer's name; of what lies in none by `REST`.
        factor: of what parts in fp32 take more by the two tables, for each part of the time; 1 if not given.
    """

    table: LatencyTable
    weights: Mapping[str, tuple[str, ...]]
    factor: tuple[float, ...] = ()

    @property
    def factors(self) -> Floats:
        """The factor of each part of the time."""
        return np.array(self.factor) if self.factor else np.ones(len(self.table.phases.parts))

    def keeps(self, name: str, precision: Precision) -> bool:
        """Whether a sublayer, or the rest, stays fp32 in a precision."""
        weights = self.weights.get(name, ())
        return bool(weights) and set(weights) <= set(precision.exceptions)

    def corrected_by(self, more: Floats, measured: Floats) -> Beside:
        """With the factor that a plan in both precisions shows.

        `min_f (measured − f · more)² + (doubt · (f − factor))²`: a plan with little in fp32 says little.

        Args:
            more: by the two tables what the plan takes more than all in the other precision, milliseconds of each part,
                without a factor.
            measured: what it took more.
        """
        doubt = DOUBT * self.table.dense.array
        found = (more * measured + doubt**2 * self.factors) / (more**2 + doubt**2)
        return replace(self, factor=tuple(float(each) for each in found.clip(*FACTORS)))

    def with_output_vocabulary(self, share: float, longer: float) -> Beside:
        """With a smaller output vocabulary, which saves the same share of a token's time as in the other precision."""
        token = list(self.table.dense.parts.values())[-1]
        return replace(self, table=self.table.with_output_vocabulary(share * token, longer))


@dataclass(frozen=True)
class InBoth:
    """What parts of a model take more in fp32, where models of about one speed realise these shares of the prices.

    Attributes:
        table: in the precision.
        exact: in fp32.
        realised: in the precision; a number for each part.
        realised_exact: in fp32.
        factor: of all differences, see `Beside`.
        width: share of the residual.
    """

    table: LatencyTable
    exact: LatencyTable
    realised: Floats
    realised_exact: Floats
    factor: Floats
    width: float = 1.0

    def sublayer(self, place: str) -> Floats:
        """What a whole sublayer takes more in fp32: milliseconds of each part."""
        return self.factor * self._sublayer(place)

    def rest(self, places: Sequence[str]) -> Floats:
        """What lies in no sublayer takes more in fp32; `places` are those of all sublayers."""
        more = self._model(self.exact, self.realised_exact) - self._model(self.table, self.realised)
        return self.factor * (more - sum((self._sublayer(place) for place in places), np.zeros_like(more)))

    def saved(self, less: Floats, less_exact: Floats) -> Floats:
        """What cutting a sublayer in fp32 saves: milliseconds of each part.

        Args:
            less: what it saves by the prices of the precision.
            less_exact: what it saves by those of fp32.
        """
        own = self.realised * less
        return own + self.factor * (self.realised_exact * less_exact - own)

    def _sublayer(self, place: str) -> Floats:
        """By prices alone, however they add up."""
        found: Floats = self.exact.whole(place, self.width) - self.table.whole(place, self.width)
        return found

    def _model(self, table: LatencyTable, realised: Floats) -> Floats:
        """The whole model at the width."""
        found: Floats = table.dense.array - realised * (table.additive_dense_ms - table.at_width(self.width))
        return found


def more_in_fp32(
    table: LatencyTable, beside: Beside, shares: Mapping[Site, KeptFractions], width: float, precision: Precision
) -> Floats:
    """What a plan takes more because its precision keeps a part of it in fp32: milliseconds of each part.

    Args:
        table: in the precision.
        beside: in fp32.
        shares: by site, that its sublayers keep.
        width: share of the residual.
        precision: with the weights that stay fp32.
    """
    exact = beside.table
    real = table.savings_realised(table.additive_ms(shares, width))
    real_exact = exact.savings_realised(exact.additive_ms(shares, width))
    both = InBoth(table, exact, real, real_exact, beside.factors, width)
    found = np.zeros(len(table.phases.parts))
    for site, mine in shares.items():
        if beside.keeps(site.name, precision):
            less = table.saved_by(site.place, mine, width)
            less_exact = exact.saved_by(site.place, mine, width)
            found = found + both.sublayer(site.place) + real * less - both.saved(less, less_exact)
    return found + both.rest([site.place for site in shares]) if beside.keeps(REST, precision) else found
