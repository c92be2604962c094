"""Calibration: moments of what linears really read, without padding, on the side of the model they lie on."""

from typing import Any

import pytest
import torch
from torch import Tensor

from small_models import small_batch, small_model
from tprune.core.coupling import Coupling, consumer, producer
from tprune.core.labels import IGNORED
from tprune.core.plan import make_plan
from tprune.families.registry import couplings
from tprune.scores.calibration import consumers, grams, inputs, kept_columns
from tprune.support.errors import InputError


def model_and_plan(*kinds: str) -> tuple[Any, Any]:
    model = small_model("marian")
    return model, make_plan(model, "marian", couplings(model, kinds))


def seen_by(model: Any, name: str, batch: dict[str, Tensor]) -> Tensor:
    """The whole input of a module, padding too."""
    kept: list[Tensor] = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, given, out: kept.append(given[0]))
    with torch.no_grad():
        model(**batch)
    handle.remove()
    return kept[0]


def test_moments_are_those_of_tokens_that_are_no_padding() -> None:
    model, plan = model_and_plan("ffn", "heads")
    batches = [small_batch(3), small_batch(2)]
    found = grams(model, plan, batches)
    assert list(found)[:2] == ["model.encoder.layers.0.self_attn.out_proj.weight", "model.encoder.layers.0.fc2.weight"]
    assert len(found) == 2 * 2 + 3 * 3
    for name, side in (
        ("model.encoder.layers.1.fc2", "source"),
        ("model.decoder.layers.2.encoder_attn.out_proj", "target"),
    ):
        rows = []
        for batch in batches:
            x = seen_by(model, name, batch)
            real = batch["attention_mask"] if side == "source" else batch["labels"] != IGNORED
            rows += [x[i, j] for i in range(x.shape[0]) for j in range(x.shape[1]) if real[i, j]]
        one = torch.cat([torch.stack(rows), torch.ones(len(rows), 1)], dim=1)
        gram = found[f"{name}.weight"]
        assert gram.count == len(rows) and gram.moments.dtype == torch.float64
        torch.testing.assert_close(gram.moments, one.T @ one / len(rows))


def test_key_and_value_projections_of_cross_attention_read_the_source() -> None:
    model = small_model("marian")
    batch = small_batch()
    name = "model.decoder.layers.1.encoder_attn.v_proj"
    x = inputs(model, [f"{name}.weight"], batch)[f"{name}.weight"]
    assert torch.equal(x, seen_by(model, name, batch)[batch["attention_mask"].bool()])


def test_gathering_leaves_the_model_as_it_was() -> None:
    model, plan = model_and_plan("ffn")
    model.train()
    grams(model, plan, [small_batch()])
    assert model.training and not any(m._forward_pre_hooks for m in model.modules())


def test_consumers_are_linears_whose_columns_are_groups() -> None:
    model, plan = model_and_plan("ffn", "heads", "qk", "vo", "sublayer", "width")
    found = consumers(model, plan)
    attention = "model.encoder.layers.0.self_attn"
    assert found["model.encoder.layers.0.ffn"] == ("model.encoder.layers.0.fc2.weight",)
    assert found[f"{attention}.heads"] == found[f"{attention}.vo"] == (f"{attention}.out_proj.weight",)
    assert found[f"{attention}.qk"] == found[f"{attention}.sublayer"] == ()
    assert "lm_head.weight" not in found["width"] and f"{attention}.q_proj.weight" in found["width"]


def test_columns_stay_where_all_couplings_keep_them() -> None:
    model, plan = model_and_plan("heads", "vo")
    name = "model.decoder.layers.0.self_attn"  # 2 heads of 8
    head, half = torch.tensor([True, False]), torch.arange(16).reshape(2, 8) % 2 == 0
    keep = kept_columns(model, plan.with_kept({f"{name}.heads": head, f"{name}.vo": half}, {}, {}))
    assert keep[f"{name}.out_proj.weight"].nonzero().flatten().tolist() == [0, 2, 4, 6]
    assert keep["model.decoder.layers.1.self_attn.out_proj.weight"].all()


def test_no_data_is_refused() -> None:
    model, plan = model_and_plan("ffn")
    with pytest.raises(InputError, match="no calibration batches"):
        grams(model, plan, [])
    empty = small_batch() | {"labels": torch.full((3, 7), IGNORED)}
    with pytest.raises(InputError, match="calibration batch 1 has no tokens but padding"):
        grams(model, plan, [small_batch(), empty])


def test_a_linear_that_does_not_run_is_named() -> None:
    model = small_model("marian")
    model.spare = torch.nn.Linear(16, 16)
    open_lines = Coupling("spare", (consumer("spare.weight", "o i -> i"),), closed=False)
    with pytest.raises(InputError, match=r"spare.weight: no forward pass"):
        grams(model, make_plan(model, "marian", [open_lines]), [small_batch()])


def test_rows_are_no_columns() -> None:
    model = small_model("marian")
    rows = Coupling(
        "k",
        (
            producer("model.encoder.layers.0.fc1.weight", "u i -> u"),
            consumer("model.encoder.layers.0.fc1.weight", "u i -> u"),
        ),
    )
    assert consumers(model, make_plan(model, "marian", [rows])) == {"k": ()}
