"""Two latency tables of one model, in a precision and in fp32: the time of plans that keep a part of it in fp32.

A whole sublayer in fp32 takes its fp32 prices in place of its others; what is cut of it saves what it saves in fp32.
What lies in no sublayer (embeddings, the output layer, fixed costs) takes what the dense models' times leave of the
prices. So a model that is all fp32 takes the time that the table in fp32 says.
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


@dataclass(frozen=True)
class Beside:
    """The table of a model in fp32, and which weights are fp32 where a part of a model is.

    Attributes:
        table: in fp32.
        weights: by sublayer's name; of what lies in none by `REST`.
    """

    table: LatencyTable
    weights: Mapping[str, tuple[str, ...]]

    def keeps(self, name: str, precision: Precision) -> bool:
        """Whether a sublayer, or the rest, stays fp32 in a precision."""
        weights = self.weights.get(name, ())
        return bool(weights) and set(weights) <= set(precision.exceptions)

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
        width: share of the residual.
    """

    table: LatencyTable
    exact: LatencyTable
    realised: Floats
    realised_exact: Floats
    width: float = 1.0

    def sublayer(self, place: str) -> Floats:
        """What a whole sublayer takes more in fp32: milliseconds of each part. By prices alone, however they add up."""
        found: Floats = self.exact.whole(place, self.width) - self.table.whole(place, self.width)
        return found

    def rest(self, places: Sequence[str]) -> Floats:
        """What lies in no sublayer takes more in fp32; `places` are those of all sublayers."""
        more = self._model(self.exact, self.realised_exact) - self._model(self.table, self.realised)
        found: Floats = more - sum((self.sublayer(place) for place in places), np.zeros_like(more))
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
    both = InBoth(table, exact, real, real_exact, width)
    found = np.zeros(len(table.phases.parts))
    for site, mine in shares.items():
        if beside.keeps(site.name, precision):
            less = real_exact * exact.saved_by(site.place, mine, width) - real * table.saved_by(site.place, mine, width)
            found = found + both.sublayer(site.place) - less
    return found + both.rest([site.place for site in shares]) if beside.keeps(REST, precision) else found
