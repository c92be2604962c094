"""Every structure, family and method against the public conformance check, and mistakes that it has to find."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from small_models import small_batch, small_model
from tprune.coupling import Coupling, Groups, Role, View, tensors_of
from tprune.errors import CertificateError
from tprune.methods import Method, State, Update
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.hoyer_square import HoyerSquare, PacedHoyerSquare
from tprune.models import couplings
from tprune.models.modeling_tprune import PrunedLayerNorm, Removed, RemovedAttention
from tprune.plan import Mode, Plan, make_plan
from tprune.realise import cut
from tprune.realise.certificate import certify
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.regularise import Regulariser
from tprune.select import keep_best
from tprune.structure import Structure
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
    gone = [n for n, m in small.named_modules() if isinstance(m, RemovedAttention)]
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


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (_WrongSlope(), "not the gradient"), (_Divides(), "not finite"), (_Remembers(), "changes the state"),
        (_Random(), "not the gradient|not deterministic"),
    ],
)  # fmt: skip
def test_broken_methods_are_found(method: Method, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_method(method)


# --- structures ---


@pytest.mark.parametrize(
    ("pattern", "sizes", "shape"),
    [
        ("o i -> o i", {}, (3, 4)), ("o i -> o", {}, (3, 4)), ("o i -> i", {}, (3, 4)), ("o i ->", {}, (3, 4)),
        ("(R r) (C c) -> R r C", {"r": 2, "c": 3}, (4, 6)), ("(R r) (C c) -> R C", {"r": 2, "c": 3}, (5, 7)),
        ("(h d) i -> h", {"h": 2}, (6, 3)), ("o (h d) -> h", {"h": 2}, (3, 6)), ("(h d) i -> h d", {"h": 2}, (6, 3)),
        ("(k r d) i -> k", {"k": 2, "r": 3}, (12, 2)), ("(h three d) i -> h", {"h": 2, "three": 3}, (12, 2)),
        ("o i y x -> o", {}, (3, 2, 3, 3)), ("o i y x -> o i", {}, (3, 2, 3, 3)),
        ("(O o) (I i) y x -> O I y x", {"o": 4, "i": 1}, (8, 3, 3, 3)),
        ("(O o) (I i) t y x -> O I", {"o": 2, "i": 2}, (4, 4, 2, 3, 3)), ("o (f m) -> o f", {"m": 4}, (3, 10)),
        ("(h d) i -> d h", {"h": 2}, (6, 3)), ("u -> u", {}, (5,)),
    ],
)  # fmt: skip
def test_structures_conform(pattern: str, sizes: dict[str, int], shape: tuple[int, ...]) -> None:
    for seed in range(3):
        check_structure(Structure(pattern, sizes), shape, seed=seed)


def test_a_structure_whose_norms_are_off_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Structure, "norms", lambda self, w: self.squares(w).sqrt() + 1e-6)
    with pytest.raises(AssertionError, match="norms differ"):
        check_structure(Structure("o i -> o"), (3, 4))


# --- planted mistakes ---


def permute_heads(small: Any) -> None:
    attention = small.model.encoder.layers[0].self_attn
    for tensor in (attention.k_proj.weight, attention.k_proj.bias):
        tensor.data = tensor.data.unflatten(0, (attention.num_heads, -1)).flip(0).flatten(0, 1)


def rescale_attention(small: Any) -> None:
    for module in small.modules():
        if hasattr(module, "qk_dim"):
            module.scaling = module.qk_dim**-0.5


def freeze_positions(small: Any) -> None:
    for module in small.modules():
        if isinstance(module, RemovedAttention):
            module.counts_positions = False


def divide_by_new_width(small: Any) -> None:
    for module in small.modules():
        if isinstance(module, PrunedLayerNorm):
            module.dense = len(module.weight)


def untie(small: Any) -> None:
    """The output projection keeps other dimensions than the embedding it is tied to."""
    small.lm_head.weight = nn.Parameter(small.lm_head.weight.detach().roll(1, dims=1))


def lose_a_bias(small: Any) -> None:
    small.model.encoder.layers[0].fc1.bias.data.zero_()


def forget_output_bias(small: Any) -> None:
    for module in small.modules():
        if isinstance(module, RemovedAttention):
            module.out_proj = Removed()


MISTAKES: list[tuple[list[str], Callable[[Any], None], str]] = [
    (["qk"], permute_heads, "forward"), (["qk"], rescale_attention, "forward"),
    (["width"], divide_by_new_width, "forward"),
    (["width"], untie, "forward"), (["ffn"], lose_a_bias, "forward"), (["sublayer"], freeze_positions, "cached"),
    (["heads"], forget_output_bias, "forward"),
]  # fmt: skip


def cut_with_mistake(model: Any, plan: Plan, break_: Callable[[Any], None]) -> tuple[Plan, Any]:
    """Without the first decoder self-attention where sublayers and heads go: every mistake has something to break."""
    kept = {e.coupling.name: e.keep for e in plan.entries}
    kept |= {n: torch.zeros_like(k) for n, k in kept.items() if "decoder.layers.0.self_attn" in n and k.ndim < 2}
    plan = plan.with_kept(kept, {}, {})
    small = shrink(model, plan)
    check_agrees(masked(model, plan), small, small_batch())
    break_(small)
    return plan, small


@pytest.mark.parametrize(("kinds", "break_", "says"), MISTAKES)
@pytest.mark.parametrize("family", ["marian", "bart"])
def test_mistakes_in_the_small_model_are_found(
    family: str, kinds: list[str], break_: Callable[[Any], None], says: str
) -> None:
    model = small_model(family)
    plan, small = cut_with_mistake(model, random_kept(model, make_plan(model, family, couplings(model, kinds))), break_)
    with pytest.raises(AssertionError, match=says):
        check_agrees(masked(model, plan), small, small_batch())
    with pytest.raises(CertificateError, match="step" if says == "cached" else "off the masked one"):
        certify(model, plan, small, small_batch(), steps=8)


@pytest.mark.parametrize(
    ("kind", "break_"),
    [("qk", permute_heads), ("qk", rescale_attention), ("width", divide_by_new_width), ("width", untie)],
)
def test_check_family_finds_mistakes_of_a_realisation(
    kind: str, break_: Callable[[Any], None], marian_small: Any
) -> None:
    def broken(model: Any, plan: Plan) -> Any:
        small = shrink(model, plan)
        break_(small)
        return small

    with pytest.raises(AssertionError, match=f"marian, {kind}"):
        check_family(marian_small, small_batch(), [kind], realise=broken)


def changed(coupling: Coupling, change: Callable[[View], View | None]) -> Coupling:
    return replace(coupling, views=tuple(v for view in coupling.views if (v := change(view)) is not None))


def first_of(model: Any, kind: str) -> Coupling:
    return next(c for c in couplings(model) if c.kind == kind and "encoder" in c.name)


def wrong_order(view: View) -> View:
    if "q_proj" not in view.param:
        return view
    pattern = view.structure.pattern.replace("(h d)", "(d h)")
    return replace(view, structure=Structure(pattern, view.structure.sizes))


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        ("ffn", lambda v: None if v.role is Role.BIAS else v, "still read"),
        ("ffn", lambda v: None if v.param.endswith("fc1.weight") else v, "still read"),
        ("heads", lambda v: None if v.param.endswith("v_proj.bias") else v, "still read"),
        ("qk", lambda v: None if v.param.endswith("q_proj.bias") else v, "still read"),
        ("vo", lambda v: None if v.param.endswith("v_proj.bias") else v, "still read"),
        ("qk", wrong_order, "still read"),
    ],
)
def test_incomplete_couplings_are_found(
    kind: str, change: Callable[[View], View | None], says: str, marian_small: Any
) -> None:
    coupling = first_of(marian_small, kind)
    check_coupling(marian_small, coupling, run)
    with pytest.raises(AssertionError, match=says):
        check_coupling(marian_small, changed(coupling, change), run)


@pytest.mark.parametrize("lost", ["embed_positions", "self_attn_layer_norm.bias"])
def test_an_incomplete_residual_width_is_found(lost: str, marian_small: Any) -> None:
    width = next(c for c in couplings(marian_small, ["width"]))
    broken = changed(width, lambda v: None if lost in v.param else v)
    with pytest.raises(AssertionError, match="still read"):
        check_coupling(marian_small, broken, run, silent=False)


@pytest.mark.parametrize(
    "lost", ["embed_positions", "fc1.weight", "fc2.bias", "encoder_attn.out_proj.weight", "lm_head"]
)
def test_a_residual_width_that_cannot_be_cut_is_found(
    lost: str, marian_small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tprune.testing as testing

    def table(model: nn.Module, kinds: Any = None) -> tuple[Coupling, ...]:
        found = couplings(model, kinds)
        return tuple(changed(c, lambda v: None if lost in v.param else v) for c in found)

    monkeypatch.setattr(testing, "couplings", table)
    if lost == "lm_head":  # tied to the embedding, which is listed: cut alike, so nothing is missed
        check_family(marian_small, small_batch(), ["width"])
        monkeypatch.setattr(cut, "_twins", lambda tensors: {name: [name] for name in tensors})
    with pytest.raises(AssertionError, match="marian, width: cannot be realised"):
        check_family(marian_small, small_batch(), ["width"])


def test_a_coupling_that_misses_a_consumer_is_found(marian_small: Any) -> None:
    ffn = first_of(marian_small, "ffn")
    model = nn.ModuleDict({"whole": marian_small, "reader": nn.Linear(12, 3).double()})
    layer = marian_small.model.encoder.layers[0]

    def both(twin: Any) -> Tensor:
        seen: list[Tensor] = []
        handle = twin["whole"].model.encoder.layers[0].fc1.register_forward_hook(lambda *a: seen.append(a[-1]))
        logits = run(twin["whole"])
        handle.remove()
        return torch.cat([logits.flatten(), twin["reader"](nn.functional.gelu(seen[0])).flatten()])

    assert layer.fc1.out_features == 12
    moved = changed(ffn, lambda v: replace(v, param=f"whole.{v.param}"))
    with pytest.raises(AssertionError, match="producers are still read"):
        check_coupling(model, moved, both)


def test_open_couplings_and_blind_runs_are_refused(marian_small: Any) -> None:
    with pytest.raises(AssertionError, match="is open"):
        check_coupling(marian_small, next(iter(couplings(marian_small, ["lines"]))), run)
    with pytest.raises(AssertionError, match="does not depend"):
        check_coupling(marian_small, first_of(marian_small, "ffn"), lambda _: torch.ones(3))


def test_wrong_head_order_of_a_whole_table_is_found(marian_small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import tprune.testing as testing

    monkeypatch.setattr(
        testing, "couplings", lambda model, kinds=None: tuple(changed(c, wrong_order) for c in couplings(model, kinds))
    )
    with pytest.raises(AssertionError, match="marian, heads"):
        check_family(marian_small, small_batch(), ["heads"])
