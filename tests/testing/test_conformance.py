"""Every structure, family and method against the public conformance check, and mistakes that it has to find."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from small_models import small_batch, small_model
from tprune.core.coupling import Coupling, Groups, tensors_of
from tprune.core.method import Method, State, Update
from tprune.core.plan import Mode, Plan, make_plan
from tprune.core.selection import keep_best
from tprune.core.structure import Structure
from tprune.families.modeling.modeling_pruned import Nothing
from tprune.families.registry import couplings
from tprune.methods.gradual_magnitude import GradualMagnitude
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.hoyer_square import HoyerSquare, PacedHoyerSquare
from tprune.methods.regulariser import Regulariser
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.testing import (
    check_agrees,
    check_coupling,
    check_family,
    check_method,
    check_saved,
    check_structure,
    random_kept,
)

FAMILIES = ("marian", "marian_untied", "bart", "bart_untied")
KINDS = ("ffn", "heads", "qk", "vo", "sublayer", "width", "lines")
METHODS = {"group_lasso": GroupLasso(), "hoyer_square": HoyerSquare(), "paced": PacedHoyerSquare()}


def run(model: Any) -> Tensor:
    logits: Tensor = model(**small_batch()).logits
    return logits


def kept_plan(model: nn.Module, kinds: list[str], keep: Callable[[Coupling, tuple[int, ...]], Tensor]) -> Plan:
    plan = make_plan(model, "test", couplings(model, kinds))
    chosen = {e.coupling.name: keep(e.coupling, e.groups) for e in plan.entries}
    return plan.with_kept({name: mask.bool() for name, mask in chosen.items()}, {}, {})


def agree(model: Any, plan: Plan) -> Any:
    small = shrink(model, plan)
    check_agrees(masked(model, plan), small, small_batch())
    return small


# --- families and kinds ---


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_shrinks_exactly(family: str, kind: str) -> None:
    check_family(small_model(family), small_batch(), [kind])


@pytest.mark.parametrize("family", FAMILIES)
def test_all_kinds_together_shrink_exactly(family: str) -> None:
    model, batch = small_model(family), small_batch()
    plan = random_kept(model, make_plan(model, family, couplings(model)))
    small = agree(model, plan)
    check_saved(small, plan, batch)
    assert sum(p.numel() for p in small.parameters()) < 0.6 * sum(p.numel() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_and_all_together_over_many_seeds(family: str, seed: int) -> None:
    check_family(small_model(family, seed), small_batch(), seed=seed)


@pytest.mark.parametrize("family", ["marian", "bart"])
@pytest.mark.parametrize("which", ["0.self_attn", "self_attn"])
@pytest.mark.parametrize("how", ["sublayer", "heads"])
def test_positions_go_on_without_decoder_self_attention(family: str, which: str, how: str) -> None:
    model = small_model(family)

    def keep(coupling: Coupling, groups: tuple[int, ...]) -> Tensor:
        return torch.full(groups, not (".decoder." in coupling.name and f"{which}.{how}" in coupling.name))

    small = agree(model, kept_plan(model, [how], keep))
    gone = [n for n, m in small.named_modules() if isinstance(m, Nothing)]
    assert len(gone) == (1 if which.startswith("0") else 3)


@pytest.mark.parametrize("family", ["marian", "bart"])
@pytest.mark.parametrize("kinds", [["ffn"], ["heads"], ["ffn", "heads"], ["sublayer"]])
def test_nothing_left_leaves_only_output_biases(family: str, kinds: list[str]) -> None:
    model = small_model(family)
    plan = kept_plan(model, kinds, lambda _, groups: torch.zeros(groups))
    small = agree(model, plan)
    check_saved(small, plan, small_batch())
    for kind, part in (("ffn", "fc1"), ("heads", "q_proj")):
        assert any(part in name for name in tensors_of(small)) == (kind not in kinds and kinds != ["sublayer"])


def test_query_key_and_value_sizes_may_differ(marian_small: Any) -> None:
    def keep(coupling: Coupling, groups: tuple[int, ...]) -> Tensor:
        return keep_best(torch.rand(groups), 3 if coupling.kind == "qk" else 1)

    small = agree(marian_small, kept_plan(marian_small, ["qk", "vo"], keep))
    attention = small.model.encoder.layers[0].self_attn
    assert (attention.q_proj.out_features, attention.v_proj.out_features) == (12, 4)
    assert attention.scaling == marian_small.model.encoder.layers[0].self_attn.scaling


@pytest.mark.parametrize("family", FAMILIES)
def test_a_pruned_model_is_pruned_again(family: str) -> None:
    kinds = [kind for kind in KINDS if kind != "lines"]
    model = small_model(family)
    first = shrink(model, random_kept(model, make_plan(model, family, couplings(model, kinds)), share=0.8, seed=0))
    second = random_kept(first, make_plan(first, family, couplings(first, kinds)), seed=1)
    twice = agree(first, second)
    check_saved(twice, second, small_batch())
    assert sum(p.numel() for p in twice.parameters()) < sum(p.numel() for p in first.parameters())


@pytest.mark.parametrize("family", ["marian", "bart"])
def test_every_closed_coupling_passes_the_perturbation_check(family: str) -> None:
    model = small_model(family)
    for coupling in couplings(model):
        if coupling.closed:
            check_coupling(model, coupling, run, silent=coupling.kind != "width")


# --- methods ---


@pytest.mark.parametrize("name", METHODS)
def test_methods_conform(name: str) -> None:
    for seed in range(3):
        check_method(METHODS[name], exact=name != "paced", seed=seed)


@pytest.mark.parametrize("kind", ["ffn", "heads", "qk", "vo", "width", "lines"])
@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_empties_is_cut_without_loss(name: str, kind: str) -> None:
    model = small_model("marian")
    plan = make_plan(model, "marian", couplings(model, [kind]), method=METHODS[name], mode=Mode.PROXIMAL, strengths=1.0)
    penalty = Regulariser(model, plan)
    for entry, groups in zip(plan.entries, penalty.groups, strict=True):  # the same groups nearly empty in every head
        small = torch.ones(entry.groups)
        small[..., : max(1, entry.groups[-1] // 3)] = 1e-4
        groups.scale_(small)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    penalty.attach(optimizer)
    for _ in range(3):
        optimizer.zero_grad()
        optimizer.step()
    kept = {groups.coupling.name: groups.refresh().norms > 0 for groups in penalty.groups}
    assert all(0 < int(mask.sum()) < mask.numel() for mask in kept.values())
    small_one = shrink(model, plan.with_kept(kept, {}, {}))
    check_agrees(model, small_one, small_batch(), kind)


class _WrongSlope(HoyerSquare):
    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        update, state = super().update(groups, state, step)
        return Update(update.value, update.slope + 0.1), state


class _Divides(GroupLasso):
    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        update, state = super().update(groups, state, step)
        return Update(update.value, update.slope * groups.norms / groups.norms), state


class _Remembers(GroupLasso):
    def init(self, groups: Groups) -> State:
        return {"sum": torch.zeros(())}

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        state["sum"].add_(1)
        update, _ = super().update(groups, state, step)
        return update, state


class _Random(GroupLasso):
    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        update, state = super().update(groups, state, step)
        noise = 1 + torch.rand(())
        return Update(update.value * noise, update.slope * noise), state


class _Towards(GroupLasso):
    """Pulls every weight to one: `R = ½ Σ (w − 1)²`, biases included."""

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        pull = {name: tensor - 1 for name, tensor in groups.tensors.items()}
        value = torch.stack([p.square().sum() / 2 for p in pull.values()]).sum()
        return Update(value, torch.zeros_like(groups.norms), self.pulled(pull)), state

    def pulled(self, pull: dict[str, Tensor]) -> dict[str, Tensor]:
        return pull


class _PullsTwice(_Towards):
    def pulled(self, pull: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: 2 * p for name, p in pull.items()}


class _PullsBiasesAway(_Towards):
    def pulled(self, pull: dict[str, Tensor]) -> dict[str, Tensor]:
        return {**pull, "shift": -pull["shift"]}


class _ForgetsAPull(_Towards):
    def pulled(self, pull: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"up": pull["up"]}


class _PullsToInfinity(_Towards):
    def pulled(self, pull: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: p / (p + 1) for name, p in pull.items()}


@dataclass(frozen=True)
class _Keeps(GroupLasso):
    """No penalty, a mask."""

    keep: Callable[[Tensor], Tensor] = lambda norms: norms > 0.1

    def update(self, groups: Groups, state: State, step: int) -> tuple[Update, State]:
        zeros = torch.zeros_like(groups.norms)
        return Update(zeros.detach().sum(), zeros.detach(), keep=self.keep(groups.norms.detach())), state


def test_methods_with_a_pull_or_a_mask_conform() -> None:
    check_method(_Towards())
    check_method(_Keeps())
    check_method(GradualMagnitude(share=0.6, over=2, every=1))


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (_WrongSlope(), "not the gradient"),
        (_Divides(), "not finite"),
        (_Remembers(), "changes the state"),
        (_Random(), "not the gradient|not deterministic"),
        (_PullsTwice(), "slopes and pull are not the gradient"),
        (_PullsBiasesAway(), "slopes and pull are not the gradient"),
        (_ForgetsAPull(), "there is no pull for down"),
        (_PullsToInfinity(), "not finite"),
        (_Keeps(lambda norms: norms), "keep holds torch.float64"),
        (_Keeps(lambda norms: norms[:-1] > 0), r"keep has shape \(4,\); expected \(5,\)"),
        (_Keeps(lambda norms: torch.rand(5) > 0.5), "not deterministic|does not resume"),
    ],
)
def test_broken_methods_are_found(method: Method, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_method(method)


# --- structures ---


@pytest.mark.parametrize(
    ("pattern", "sizes", "shape"),
    [
        ("o i -> o i", {}, (3, 4)),
        ("o i -> o", {}, (3, 4)),
        ("o i -> i", {}, (3, 4)),
        ("o i ->", {}, (3, 4)),
        ("(R r) (C c) -> R r C", {"r": 2, "c": 3}, (4, 6)),
        ("(R r) (C c) -> R C", {"r": 2, "c": 3}, (5, 7)),
        ("(h d) i -> h", {"h": 2}, (6, 3)),
        ("o (h d) -> h", {"h": 2}, (3, 6)),
        ("(h d) i -> h d", {"h": 2}, (6, 3)),
        ("(k r d) i -> k", {"k": 2, "r": 3}, (12, 2)),
        ("(h three d) i -> h", {"h": 2, "three": 3}, (12, 2)),
        ("o i y x -> o", {}, (3, 2, 3, 3)),
        ("o i y x -> o i", {}, (3, 2, 3, 3)),
        ("(O o) (I i) y x -> O I y x", {"o": 4, "i": 1}, (8, 3, 3, 3)),
        ("(O o) (I i) t y x -> O I", {"o": 2, "i": 2}, (4, 4, 2, 3, 3)),
        ("o (f m) -> o f", {"m": 4}, (3, 10)),
        ("(h d) i -> d h", {"h": 2}, (6, 3)),
        ("u -> u", {}, (5,)),
    ],
)
def test_structures_conform(pattern: str, sizes: dict[str, int], shape: tuple[int, ...]) -> None:
    for seed in range(3):
        check_structure(Structure(pattern, sizes), shape, seed=seed)


def test_a_structure_whose_norms_are_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Structure, "norms", lambda self, w: self.squares(w).sqrt() + 1e-6)
    with pytest.raises(AssertionError, match="norms differ"):
        check_structure(Structure("o i -> o"), (3, 4))


@pytest.mark.parametrize("seed", range(4))
def test_check_family_removes_the_only_sublayer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model("marian")
    one = couplings(model, ["sublayer"])[:1]
    monkeypatch.setattr("tprune.testing.family.couplings", lambda *_: one)
    seen: list[Plan] = []

    def realise(whole: Any, plan: Plan) -> Any:
        seen.append(plan)
        return shrink(whole, plan)

    check_family(model, small_batch(), ["sublayer"], seed=seed, realise=realise)
    assert [entry.kept for plan in seen for entry in plan.entries] == [()]
