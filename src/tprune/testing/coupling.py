"""Whether a coupling has all its members."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tprune.core.coupling import Coupling, Role, groups_of, tensors_of
from tprune.core.kinds import rule_of
from tprune.testing.common import TOLERANCE, apart, require


@torch.no_grad()
@torch.no_grad()
def check_coupling(
    model: nn.Module, coupling: Coupling, run: Callable[[nn.Module], Tensor], *, silent: bool = True, seed: int = 0
) -> None:
    """Closedness by perturbation: in half of the groups, zero producers silence consumers and, if `silent`, vice versa.

    Args:
        model: any model; randomise its biases first. It is left as it is.
        coupling: a closed coupling of it.
        run: the model's output on some input.
        silent: whether zero consumers silence the producers too; not so for a width, whose norms mix dimensions.
        seed: which groups.

    Raises:
        AssertionError: the coupling misses a member, or `run` does not depend on it.
    """
    require(coupling.closed, f"coupling {coupling.name} is open: nothing follows from its groups")
    twin = copy.deepcopy(model)
    groups = groups_of(coupling, tensors_of(twin))
    random = torch.Generator().manual_seed(seed)
    dropped = torch.zeros(groups.norms.numel(), dtype=torch.bool)
    dropped[torch.randperm(len(dropped), generator=random)[: max(1, len(dropped) // 2)]] = True
    dropped = dropped.reshape(groups.shape)
    saved = {param: tensor.clone() for param, tensor in groups.tensors.items()}
    roles = {Role.PRODUCER, Role.CONSUMER, Role.BIAS}
    dense = run(twin)

    def outputs(zeroed: set[Role], perturbed: set[Role]) -> tuple[Tensor, Tensor]:
        found = []
        for amount in (0.0, 1.0):
            for param, tensor in groups.tensors.items():
                tensor.copy_(saved[param])
            for view in coupling.views:
                if view.role in perturbed and amount:
                    w = view.of(groups.tensors[view.param])
                    noise = torch.rand(w.shape, generator=random, dtype=torch.float64).to(w) + 0.5
                    w.add_(noise * view.structure.expand(dropped, w))
            for view in coupling.views:  # last: a tied or overlapping element that should be zero stays zero
                if view.role in zeroed:
                    view.structure.scale_(view.of(groups.tensors[view.param]), (~dropped).to(saved[view.param].dtype))
            found.append(run(twin))
        return found[0], found[1]

    where = f"coupling {coupling.name}"
    require(apart(dense, outputs(set(), roles)[1]) > TOLERANCE, f"{where}: the output does not depend on it")
    if not rule_of(coupling.kind).shares_values:
        a, b = outputs({Role.PRODUCER, Role.BIAS}, {Role.CONSUMER})
        require(apart(a, b) < TOLERANCE, f"{where}: once producers and biases are zero, something is still read")
    if silent and any(view.role is Role.CONSUMER for view in coupling.views):
        a, b = outputs({Role.CONSUMER, Role.BIAS}, {Role.PRODUCER})
        require(apart(a, b) < TOLERANCE, f"{where}: once consumers are zero, producers are still read")
