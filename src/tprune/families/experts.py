"""The row of a feed-forward block of experts: the experts, their hidden units, and the whole block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tprune.core.coupling import Coupling, View, bias, consumer, producer
from tprune.core.cuts import Cuts
from tprune.core.plan import Plan
from tprune.core.sites import Site
from tprune.families.rows import Changes, Heads, Shapes, expect, part, whole, without
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Experts:
    """Experts whose weights are in two tensors, of which a router chooses some for each token.

    One tensor holds the hidden units of all experts, so that a unit is the one of the same number in every expert.

    Attributes:
        site: where it lies.
        module: holds the router and the experts.
        router: the module whose `weight` has a row for each expert.
        experts: the module that holds the weights.
        up: the tensor of the maps to the hidden units, of each expert first all gates, then what they open.
        down: the tensor of the maps back.
        top_k: how many experts a token gets.
    """

    site: Site
    module: str
    router: str
    experts: str
    up: str
    down: str
    top_k: int

    @property
    def outputs(self) -> tuple[str, ...]:
        """No module: the maps are no modules."""
        return ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """No module."""
        return ()

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` unless all tensors are of as many experts, and both maps of as many hidden units."""
        part(model, self.module, self.module)
        number, units, width = expect(model, self.module, self.experts, self.up, None, None, None)
        expect(model, self.module, self.experts, self.down, number, width, units // 2)
        expect(model, self.module, self.router, "weight", number, width)

    def couplings(self, shapes: Shapes) -> Iterator[Coupling]:
        """Experts with the rows of the router, hidden units, and the whole block."""
        up, down, router = (f"{self.experts}.{self.up}", f"{self.experts}.{self.down}", f"{self.router}.weight")
        experts = (producer(up, "e n i -> e"), consumer(down, "e o n -> e"), bias(router, "e i -> e"))
        yield Coupling(f"{self.module}.experts", experts, kind="experts", site=self.site)
        units = (producer(up, "e (t u) i -> u", t=2), consumer(down, "e o u -> u"))
        yield Coupling(f"{self.module}.units", units, kind="units", site=self.site)
        views = (producer(up, "e n i ->"), producer(down, "e o n ->"), producer(router, "e i ->"))
        yield whole(self.module, self.site, views)

    def width(self) -> tuple[View, ...]:
        """What reads and writes the residual stream here; see `Residual.tensors`."""
        up, down = (f"{self.experts}.{name}" for name in (self.up, self.down))
        read = (consumer(up, "e n u -> u"), consumer(f"{self.router}.weight", "e u -> u"))
        return (*read, producer(down, "e u n -> u"))

    def changes(self, cuts: Cuts, heads: Heads) -> Changes:
        """How many experts there are, and what the router reads; a block that is removed is replaced.

        Raises:
            InputError: no expert, or none of their units, is left.
        """
        up = f"{self.experts}.{self.up}"
        if up in cuts.removed:
            return without(self.module, self.experts, constant=False)
        number, units, width = cuts.shape(up)
        if not (number and units):
            raise InputError(f"{self.module}: {number} experts of {units} units are left; cut the sublayer instead")
        router = {"num_experts": number, "hidden_dim": width, "top_k": min(self.top_k, number)}
        return Changes(attributes={self.experts: {"num_experts": number}, self.router: router})


@dataclass
class NeverChosen:
    """A hook on a router, by which it chooses none of some experts: a router without their rows.

    Attributes:
        closed: a bool for each expert.
    """

    closed: Tensor

    def __call__(self, router: nn.Module, given: object, found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Logits, the weights of the chosen experts, and which they are; as softmax, top k and a sum of 1 make them."""
        logits = found[0].masked_fill(self.closed.to(found[0].device), -torch.inf)
        best, chosen = logits.float().softmax(-1).topk(min(found[1].shape[-1], int((~self.closed).sum())), -1)
        return logits, best / best.sum(-1, keepdim=True), chosen


def close_experts_(model: nn.Module, plan: Plan) -> None:
    """Lets no token have an expert that a plan does not keep, in place.

    Zero rows of a router would be chosen where the others are negative, and nothing would come of it.

    Args:
        model: whose experts are masked.
        plan: after selection.
    """
    for entry in plan.entries:
        if entry.coupling.kind != "experts" or entry.kept is None or bool(entry.keep.all()):
            continue
        router = model.get_submodule(entry.coupling.views[-1].param.rpartition(".")[0])
        before = [hook for hook in router._forward_hooks.values() if isinstance(hook, NeverChosen)]
        if before:
            before[0].closed = before[0].closed | ~entry.keep
        else:
            router.register_forward_hook(NeverChosen(~entry.keep))
