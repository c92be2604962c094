"""Tables: a family made out of rows, one for each block of its models."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from tprune.core.coupling import Coupling
from tprune.core.cuts import Cuts
from tprune.families.modeling.modeling_pruned import pruned_class, rebuild_
from tprune.families.rows import Heads, Row, gone, shapes_of
from tprune.support.errors import InputError

NOT_CONFIGURED = (
    "pruned",
    "model_type",
    "architectures",
    "auto_map",
)  # what a pruned model's configuration says itself


@dataclass(frozen=True)
class Table:
    """A family as a table.

    Attributes:
        name: of the family; for models of transformers their `model_type`.
        belongs: whether a model is of the family.
        rows: the blocks of a model. Rows of blocks of which earlier pruning has left nothing are left out.
        tolerance: how far masked and shrunk models may differ in double precision, relative to the largest output; norms that are
            computed in single precision need more.

    Example:
        >>> from tprune.core.sites import ENCODER, FEED_FORWARD, Site
        >>> from tprune.families.feed_forward import FeedForward
        >>> nets = Table("net", lambda m: True, lambda m: [FeedForward(Site(ENCODER, 0, FEED_FORWARD), "0", ("0.0",), "0.2")])
        >>> net = nn.Sequential(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))
        >>> [str(c) for c in nets.couplings(net)][0]
        '0.ffn: 0.0.weight `u i -> u`; 0.0.bias `u -> u`; 0.2.weight `o u -> u`'
    """

    name: str
    belongs: Callable[[nn.Module], bool]
    rows: Callable[[Any], Iterable[Row]]
    tolerance: float = 1e-10

    def matches(self, model: nn.Module) -> bool:
        """By what the table says; pruned models belong to the family too."""
        return self.belongs(model)

    def couplings(self, model: nn.Module) -> tuple[Coupling, ...]:
        """What the rows say can be cut.

        Raises:
            InputError: a row does not fit the model, or two rows claim one thing.
        """
        shapes = shapes_of(model)
        return tuple(coupling for row in checked_rows(self, model) for coupling in row.couplings(shapes))

    def build(self, model: nn.Module, cuts: Cuts, heads: Heads, stock: bool) -> nn.Module:
        """An empty model of what the cuts leave.

        Raises:
            InputError: a stock class is asked for, lines of a matrix are gathered, or no model can hold what is left.
        """
        if stock:
            raise InputError(
                f"{self.name}: stock classes have layers of one size; leave out stock, and our code travels along"
            )
        if cuts.gather:
            raise InputError(
                f"{self.name}: lines of {next(iter(cuts.gather))} are gathered; expected closed couplings alone"
            )
        pruned = self._pruned(model, cuts, heads)
        small = _empty(model, pruned)
        checked_rows(self, small)  # a coupling without one of its members would leave that of the old size
        return small

    def drops_empty(self, name: str) -> bool:
        """Matrices and biases of blocks of which nothing is left are dropped; the bias of the output map stays."""
        return True

    def inherit(self, model: nn.Module, small: nn.Module) -> None:
        """Generation settings, the attention function, and computed buffers, in the precision that they have."""
        if not isinstance(model, PreTrainedModel) or not isinstance(small, PreTrainedModel):
            return
        if getattr(model, "generation_config", None) is not None:
            small.generation_config = copy.deepcopy(model.generation_config)
        small.set_attn_implementation(model.config._attn_implementation)
        saved, left = model.state_dict(), dict(small.named_buffers())
        for name, buffer in model.named_buffers():
            if name not in saved and name in left:
                where, _, what = name.rpartition(".")
                setattr(small.get_submodule(where), what, buffer.clone())

    def _pruned(self, model: nn.Module, cuts: Cuts, heads: Heads) -> dict[str, Any]:
        """What `config.pruned` says after the cuts, which may not be the first."""
        holder = model.config if isinstance(model, PreTrainedModel) else model
        before: Mapping[str, Any] = getattr(holder, "pruned", None) or {}
        changes = [row.changes(cuts, heads) for row in checked_rows(self, model)]
        replaced = dict(before.get("replaced", {}))
        for change in changes:
            replaced |= change.replaced
        tensors = {
            name: list(cuts.shape(name))
            for name in dict.fromkeys([*before.get("tensors", {}), *cuts.keep])
            if name in cuts.shapes and name not in cuts.removed and 0 not in cuts.shape(name)
        }
        attributes, values = dict(before.get("attributes", {})), dict(before.get("values", {}))
        for change in changes:
            for module, named in change.attributes.items():
                attributes[module] = dict(named)
                values.pop(module, None)
            values |= {module: list(sizes) for module, sizes in change.values.items()}
        return {
            "replaced": {module: dict(how) for module, how in replaced.items()},
            "tensors": tensors,
            "attributes": {module: named for module, named in attributes.items() if module not in replaced},
            "values": {module: sizes for module, sizes in values.items() if module not in replaced},
        }


def _empty(model: nn.Module, pruned: dict[str, Any]) -> nn.Module:
    """A model as `pruned` says it, from the class of another."""
    if isinstance(model, PreTrainedModel):
        kind: Any = type(model)
        made = pruned_class(getattr(kind, "dense_class", kind))
        given = {key: value for key, value in model.config.to_dict().items() if key not in NOT_CONFIGURED}
        built: nn.Module = made(made.config_class(**given, pruned=pruned))
        return built
    small: Any = copy.deepcopy(model)
    rebuild_(small, pruned)
    small.pruned = pruned
    cut: nn.Module = small
    return cut


def checked_rows(table: Table, model: nn.Module) -> list[Row]:
    """The rows of a model's blocks that are still there.

    Raises:
        InputError: a row names what the model does not have, a tensor does not fit it, or two rows claim the same features.
    """
    rows = [row for row in table.rows(model) if not gone(model, row.module)]
    for row in rows:
        row.check(model)
    _used_once(table, model, rows)
    _claimed_once(table, "outputs", [(row.module, row.outputs) for row in rows])
    _claimed_once(table, "inputs", [(row.module, row.inputs) for row in rows])
    sites = Counter(row.site for row in rows)
    if shared := [site for site, count in sites.items() if count > 1]:
        one, other = [row.module for row in rows if row.site == shared[0]][:2]
        raise InputError(f"{table.name}: two rows have the site {tuple(shared[0])}, {one} and {other}")
    return rows


def _used_once(table: Table, model: nn.Module, rows: list[Row]) -> None:
    """Raises `InputError` for a module that is output and input of one row, and for one with two names, by itself or by its weight.

    The residual stream is left out: embeddings and output layers share weights rightly. That `forward` calls a module twice no row
    can see; `tprune.testing.check_coupling` finds it.
    """
    names, written = dict[int, str](), dict[int, str]()
    inside = [row for row in rows if row.module]
    for row in inside:
        if both := sorted(set(row.outputs) & set(row.inputs)):
            raise InputError(
                f"{table.name}: {row.module}: {both[0]} is among its outputs and its inputs; expected other modules"
            )
        for name in dict.fromkeys((*row.outputs, *row.inputs)):
            if (first := names.setdefault(id(model.get_submodule(name)), name)) != name:
                raise InputError(
                    f"{table.name}: {first} and {name} are one module, which is used twice; it cannot be cut"
                )
        written |= {id(model.get_submodule(name).weight): name for name in row.outputs}
    for row in inside:
        for name in row.inputs:
            if (first := written.get(id(model.get_submodule(name).weight), name)) != name:
                raise InputError(
                    f"{table.name}: {first} and {name} have one weight, whose rows and columns would be cut apart"
                )


def _claimed_once(table: Table, what: str, claims: list[tuple[str, tuple[str, ...]]]) -> None:
    counts = Counter(name for _, names in claims for name in names)
    for name in (name for name, count in counts.items() if count > 1):
        rows = " and ".join(row or "the residual stream" for row, names in claims if name in names)
        raise InputError(f"{table.name}: the {what} of {name} are claimed twice, by {rows}")
