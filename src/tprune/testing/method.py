"""Whether a method keeps its protocol."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tprune.core.coupling import Coupling, Groups, bias, consumer, groups_of, producer
from tprune.core.method import Method, Update
from tprune.core.plan import Mode, make_plan
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import InputError
from tprune.testing.common import TOLERANCE, apart, require


def check_method(method: Method, *, exact: bool = True, seed: int = 0) -> None:
    """A method's value, slopes, pull, keep mask, zero groups, determinism and state.

    Args:
        method: the method.
        exact: slopes and pull are the gradient of its value; if not (a rescaled step), they only have its signs.
        seed: of the weights it is tried on.

    Raises:
        AssertionError: it breaks the protocol.

    Example:
        >>> from tprune.methods.group_lasso import GroupLasso
        >>> check_method(GroupLasso())
    """
    groups, name = _example(seed), type(method).__name__
    _, update, _ = _run(method, groups)
    _check_shapes(update, groups, name)
    require(_finite(update), f"{name}: not finite where one group is zero")
    _check_gradient(method, groups, exact, name)

    empty = Groups(groups.coupling, {param: torch.zeros_like(tensor) for param, tensor in groups.tensors.items()})
    nothing = _run(method, empty)[1]
    require(_finite(nothing), f"{name}: not finite where all groups are zero")
    _check_state(method, name, seed)


def _check_shapes(update: Update, groups: Groups, name: str) -> None:
    require(update.value.shape == (), f"{name}: the value is no scalar")
    require(update.slope.shape == groups.norms.shape, f"{name}: expected one slope per group")
    try:
        update.check(groups)
    except InputError as error:
        raise AssertionError(f"{name}: {error}") from None


def _check_gradient(method: Method, groups: Groups, exact: bool, name: str) -> None:
    for tensor in groups.tensors.values():
        tensor.requires_grad_(True)
    update = method.update(groups.refresh(), method.init(groups), 0)[0]
    params = ("up", "down") if update.pull is None else tuple(groups.tensors)  # no slope moves biases, a pull may
    expected = _gradient(update.value, [groups.tensors[param] for param in params])
    model = _Holder(groups.tensors)
    plan = make_plan(model, "", [groups.coupling], method=method, mode=Mode.GRADIENT, strengths=1.0)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    Regulariser(model, plan).before_step()
    subject = "slopes" if update.pull is None else "slopes and pull"
    for param, gradient in zip(params, expected, strict=True):
        applied, wanted = model.get_parameter(param).grad, torch.zeros(()) if gradient is None else gradient
        assert applied is not None
        zero = groups.tensors[param] == 0
        if update.pull is None:
            require(bool((applied[zero] == 0).all()), f"{name}: a group that is zero is moved")
        if exact:
            require(apart(wanted, applied) < TOLERANCE, f"{name}: {subject} are not the gradient of the value")
        else:
            agree = bool((applied.sign() == wanted.sign()).all())
            require(agree, f"{name}: {subject} against the gradient of the value")


def _gradient(value: Tensor, tensors: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """The gradient of a value, None for a tensor that it does not depend on, as a count depends on none."""
    return torch.autograd.grad(value, tensors, allow_unused=True) if value.requires_grad else [None] * len(tensors)


def _check_state(method: Method, name: str, seed: int) -> None:
    groups = _example(seed)
    before = {param: tensor.clone() for param, tensor in groups.tensors.items()}
    state, first, after = _run(method, groups, steps=3)
    same = _run(method, _example(seed), steps=3)[1]
    require(_equal(first, same), f"{name}: not deterministic")
    require(all(torch.equal(before[p], t) for p, t in groups.tensors.items()), f"{name}: update changes the weights")
    require(all(isinstance(v, Tensor) for v in after.values()), f"{name}: the state holds more than tensors")
    file = io.BytesIO()
    torch.save(dict(after), file)
    read = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    kept = {key: tensor.clone() for key, tensor in after.items()}
    a, b = method.update(groups.refresh(), after, 3)[0], method.update(groups.refresh(), read, 3)[0]
    require(_equal(a, b), f"{name}: a saved state does not resume")
    require(all(torch.equal(kept[key], after[key]) for key in kept), f"{name}: update changes the state it is given")
    require(set(state) == set(after), f"{name}: init and update give states with different tensors")


def _finite(update: Update) -> bool:
    given = [update.value, update.slope, *(update.pull or {}).values()]
    return all(bool(tensor.isfinite().all()) for tensor in given)


def _equal(a: Update, b: Update) -> bool:
    one, other = _tensors(a), _tensors(b)
    return len(one) == len(other) and all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


def _tensors(update: Update) -> list[Tensor]:
    keep = [] if update.keep is None else [update.keep]
    return [update.value, update.slope, *keep, *(update.pull or {}).values()]


def _run(method: Method, groups: Groups, steps: int = 1) -> tuple[Mapping[str, Tensor], Update, Mapping[str, Tensor]]:
    first = state = method.init(groups)
    for step in range(steps):
        update, state = method.update(groups.refresh(), state, step)
    return first, update, state


def _example(seed: int) -> Groups:
    """Five units of unequal norms, the third of them zero."""
    random = torch.Generator().manual_seed(seed)
    scale = torch.tensor([1.0, 0.3, 0.0, 2.0, 0.01], dtype=torch.float64)
    up = torch.randn(5, 3, generator=random, dtype=torch.float64) * scale[:, None]
    down = torch.randn(4, 5, generator=random, dtype=torch.float64) * scale
    views = (producer("up", "u i -> u"), bias("shift", "u -> u"), consumer("down", "o u -> u"))
    return groups_of(Coupling("example", views), {"up": up, "shift": scale.clone(), "down": down})


class _Holder(nn.Module):
    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_parameter(name, nn.Parameter(tensor.detach().clone()))
