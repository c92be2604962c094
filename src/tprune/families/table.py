"""Tables: a family made out of rows, one for each block of its models."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.core.coupling import Coupling
from tprune.core.cuts import Cuts
from tprune.core.plan import Plan
from tprune.core.sites import Site
from tprune.families.left import added_buffers, left_by
from tprune.families.modeling.modeling_pruned import Gathered, pruned_class, rebuild_
from tprune.families.rows import Heads, Row, gone, shapes_of
from tprune.families.rows import lines as lines_of
from tprune.families.stock import checked_stock, stock_units
from tprune.families.tied import untie_
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
        tolerance: how far masked and shrunk models may differ in double precision, relative to the largest output;
            norms that are computed in single precision need more.
        lines: whether single lines of the linear maps inside the blocks can be cut too; such maps are gathered.
        stock: by stack, the key of the configuration that says how many hidden units all its blocks have; where it is
            given, models whose hidden units alone are cut can be written as stock models.
        settings: what the configuration of a small model has to say otherwise than that of the model.
        computed: the tensors of a small model that are no slices of the model's, by name: values that change with the
            sizes, and buffers that the class has not or does not save.
        silence: what a masked model needs beside zeros to do what the small one does, in place.

    Example:
        >>> from tprune.core.sites import ENCODER, FEED_FORWARD, Site
        >>> from tprune.families.feed_forward import FeedForward
        >>> row = FeedForward(Site(ENCODER, 0, FEED_FORWARD), "0", ("0.0",), "0.2")
        >>> nets = Table("net", lambda m: True, lambda m: [row])
        >>> net = nn.Sequential(nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 2)))
        >>> [str(c) for c in nets.couplings(net)][0]
        '0.ffn: 0.0.weight `u i -> u`; 0.0.bias `u -> u`; 0.2.weight `o u -> u`'
    """

    name: str
    belongs: Callable[[nn.Module], bool]
    rows: Callable[[Any], Iterable[Row]]
    tolerance: float = 1e-10
    lines: bool = True
    stock: Mapping[str, str] = field(default_factory=dict)
    settings: Callable[[Any], Mapping[str, Any]] = lambda _: {}
    computed: Callable[[Any, Cuts], Mapping[str, Tensor]] = lambda _model, _cuts: {}
    silence: Callable[[Any, Plan], None] = lambda _model, _plan: None

    def matches(self, model: nn.Module) -> bool:
        """By what the table says; pruned models belong to the family too."""
        return self.belongs(model)

    def couplings(self, model: nn.Module) -> tuple[Coupling, ...]:
        """What the rows say can be cut.

        Raises:
            InputError: a row does not fit the model, or two rows claim one thing.
        """
        shapes, rows = shapes_of(model), checked_rows(self, model)
        closed = [coupling for row in rows for coupling in row.couplings(shapes)]
        return (*closed, *(one for name, site in self._maps(model, rows) for one in lines_of(name, site)))

    def _maps(self, model: nn.Module, rows: Iterable[Row]) -> Iterator[tuple[str, Site]]:
        """The linear maps inside the blocks, each once, with their sites; other modules are left out."""
        found: dict[str, Site] = {}
        for row in rows:
            for name in (*row.outputs, *row.inputs) if row.module and self.lines else ():
                found.setdefault(name, row.site)
        return ((name, site) for name, site in found.items() if type(model.get_submodule(name)) is nn.Linear)

    def build(self, model: nn.Module, cuts: Cuts, heads: Heads, stock: bool) -> nn.Module:
        """An empty model of what the cuts leave.

        Raises:
            InputError: a stock class is asked for that cannot hold it, lines of a matrix are gathered where the table
                has no lines, or no model can hold what is left.
        """
        if stock and not self.stock:
            raise InputError(
                f"{self.name}: stock classes have layers of one size; leave out stock, and our code travels along"
            )
        if cuts.gather and not self.lines:
            raise InputError(
                f"{self.name}: lines of {next(iter(cuts.gather))} are gathered; expected closed couplings alone"
            )
        rows = checked_rows(self, model)
        pruned = left_by(rows, model, cuts, heads)
        if buffers := added_buffers(model, cuts, self.computed_tensors(model, cuts), stock):
            pruned["buffers"] = buffers
        if stock:
            sizes = stock_units(rows, cuts, pruned["replaced"], self.stock)
            return checked_stock(lambda: self._empty(model, None, sizes), cuts)
        small = self._empty(model, pruned, {})
        if not cuts.gather:
            checked_rows(self, small)  # a coupling without one of its members would leave that of the old size
        return small

    def drops_empty(self, name: str) -> bool:
        """Matrices and biases of blocks of which nothing is left are dropped; the bias of the output map stays."""
        return True

    def computed_tensors(self, model: nn.Module, cuts: Cuts) -> Mapping[str, Tensor]:
        """What the table computes; see `computed`."""
        return self.computed(model, cuts)

    def silence_(self, model: nn.Module, plan: Plan) -> None:
        """What a masked model needs beside zeros; see `silence`."""
        self.silence(model, plan)

    def inherit(self, model: nn.Module, small: nn.Module) -> None:
        """Generation settings, the attention function, and computed buffers, in the precision that they have."""
        if not isinstance(model, PreTrainedModel) or not isinstance(small, PreTrainedModel):
            return
        if getattr(model, "generation_config", None) is not None:
            small.generation_config = copy.deepcopy(model.generation_config)
        small.set_attn_implementation(model.config._attn_implementation)
        saved, left = {*model.state_dict(), *small.state_dict()}, dict(small.named_buffers())
        for name, buffer in model.named_buffers():
            if name not in saved and name in left:
                where, _, what = name.rpartition(".")
                setattr(small.get_submodule(where), what, buffer.clone())

    def _empty(self, model: nn.Module, pruned: dict[str, Any] | None, sizes: Mapping[str, int]) -> nn.Module:
        """A model as `pruned` says it, from the class of another.

        Where that is None, a stock model of the given sizes.
        """
        if isinstance(model, PreTrainedModel):
            dense: Any = _of_transformers(type(model))
            kept = {key: value for key, value in model.config.to_dict().items() if key not in NOT_CONFIGURED}
            given = {**kept, **self.settings(model), **sizes}
            made = dense if pruned is None else pruned_class(dense)
            built: nn.Module = made(made.config_class(**given, **({} if pruned is None else {"pruned": pruned})))
            untie_(built, model)
            return built
        small: Any = copy.deepcopy(model)
        rebuild_(small, pruned or {})
        small.pruned = pruned
        cut: nn.Module = small
        return cut


def _of_transformers(kind: type[Any]) -> type[Any]:
    """The class of transformers that a class is, or is made from.

    The class itself, before it was pruned, where there is none.
    """
    of_theirs = (one for one in kind.__mro__ if getattr(transformers, one.__name__, None) is one)
    found: type[Any] = next((one for one in of_theirs if "forward" in vars(one)), getattr(kind, "dense_class", kind))
    return found


def checked_rows(table: Table, model: nn.Module) -> list[Row]:
    """The rows of a model's blocks that are still there.

    Args:
        table: of the model's family.
        model: any model of the family.

    Raises:
        InputError: a row names what the model does not have, a tensor does not fit it, or two rows claim the same
            features.
    """
    for name, module in model.named_modules():
        if isinstance(module, Gathered):
            raise InputError(f"{name} is a gathered matrix; prune again from the model before the gather")
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
    """Refuses a module that is output and input of one row, and one with two names.

    Two names are found for the module by itself and for its weight. Raises `InputError`.

    The residual stream is left out: embeddings and output layers share weights rightly. That `forward` calls a module
    twice no row can see; `tprune.testing.check_coupling` finds it.
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
