"""Mistakes that the conformance check has to find."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_conformance import run
from torch import Tensor, nn

from small_models import small_batch, small_model
from tprune.core import cuts as cut
from tprune.core.coupling import Coupling, Role, View
from tprune.core.plan import Plan, make_plan
from tprune.core.structure import Structure
from tprune.families.modeling.modeling_pruned import NarrowLayerNorm, Nothing
from tprune.families.registry import couplings
from tprune.realise.certificate import certify
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.support.errors import CertificateError
from tprune.testing import (
    check_agrees,
    check_coupling,
    check_family,
    random_kept,
)


def permute_heads(small: Any) -> None:
    attention = small.model.encoder.layers[0].self_attn
    for tensor in (attention.k_proj.weight, attention.k_proj.bias):
        tensor.data = tensor.data.unflatten(0, (attention.num_heads, -1)).flip(0).flatten(0, 1)


def rescale_attention(small: Any) -> None:
    for module in small.modules():
        if hasattr(module, "uneven"):
            module.scaling = module.uneven.qk**-0.5


def freeze_positions(small: Any) -> None:
    for module in small.modules():
        if isinstance(module, Nothing):
            module.layer_idx = None


def divide_by_new_width(small: Any) -> None:
    for module in small.modules():
        if isinstance(module, NarrowLayerNorm):
            module.dense = len(module.weight)


def untie(small: Any) -> None:
    """The output projection keeps other dimensions than the embedding it is tied to."""
    small.lm_head.weight = nn.Parameter(small.lm_head.weight.detach().roll(1, dims=1))


def lose_a_bias(small: Any) -> None:
    small.model.encoder.layers[0].fc1.bias.data.zero_()


def forget_output_bias(small: Any) -> None:
    for module in small.modules():
        if isinstance(module, Nothing):
            module.output = None


MISTAKES: list[tuple[list[str], Callable[[Any], None], str]] = [
    (["qk"], permute_heads, "forward"),
    (["qk"], rescale_attention, "forward"),
    (["width"], divide_by_new_width, "forward"),
    (["width"], untie, "forward"),
    (["ffn"], lose_a_bias, "forward"),
    (["sublayer"], freeze_positions, "cached"),
    (["heads"], forget_output_bias, "forward"),
]


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
    import tprune.testing.family as testing

    def table(model: nn.Module, kinds: Any = None) -> tuple[Coupling, ...]:
        found = couplings(model, kinds)
        left = [c for c in found if any(lost not in view.param for view in c.views)]
        return tuple(changed(c, lambda v: None if lost in v.param else v) for c in left)

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
    import tprune.testing.family as testing

    monkeypatch.setattr(
        testing, "couplings", lambda model, kinds=None: tuple(changed(c, wrong_order) for c in couplings(model, kinds))
    )
    with pytest.raises(AssertionError, match="marian, heads"):
        check_family(marian_small, small_batch(), ["heads"])
