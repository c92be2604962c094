"""Stock checkpoints: pruned models that the dense model's own configuration describes, without code of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import nn

from tprune.core.cuts import Cuts
from tprune.families.around import innermost
from tprune.families.feed_forward import FeedForward
from tprune.families.rows import Row, shapes_of
from tprune.support.errors import InputError

WORDS = {"nothing": "removed", "constant": "removed", "gathered": "gather"}  # the others are norms of a narrower width
CANNOT = "a stock configuration cannot express"


def stock_units(
    rows: Iterable[Row], cuts: Cuts, replaced: Mapping[str, Any], keys: Mapping[str, str]
) -> dict[str, int]:
    """What the configuration has to say of hidden units.

    Args:
        rows: of the model that is cut.
        cuts: of the model.
        replaced: the modules that would be replaced by others, see `config.pruned`.
        keys: by stack, the key of the configuration that says how many hidden units its blocks have.

    Raises:
        InputError: a module would have to be replaced, or blocks of one stack have different sizes.
    """
    for module, how in replaced.items():
        raise InputError(f"{CANNOT} {WORDS.get(how['kind'], 'width')}: {module}; plan FFN units only")
    units: dict[str, set[int]] = {}
    for row in map(innermost, rows):
        if isinstance(row, FeedForward):
            units.setdefault(row.site.stack, set()).add(cuts.shape(f"{row.down}.weight")[row.held.inputs])
    for stack, sizes in units.items():
        if len(sizes) > 1:
            raise InputError(f"a stock configuration has one FFN size per side, the {stack} has {sorted(sizes)}")
    return {keys[stack]: sizes.pop() for stack, sizes in units.items() if stack in keys}


def checked_stock(build: Callable[[], nn.Module], cuts: Cuts) -> nn.Module:
    """The stock model.

    Raises `InputError` naming the first tensor for which its configuration has another shape than the cuts leave.
    """
    built = build()
    for name, shape in shapes_of(built).items():
        if cuts.shape(name) != shape:
            said = " x ".join(map(str, cuts.shape(name)))
            raise InputError(
                f"{CANNOT} fewer heads, or other dimensions of heads: {name} is {said}, stock "
                f"{' x '.join(map(str, shape))}; plan FFN units only"
            )
    return built
