"""What a teacher adds: losses against their formulas, and targets drawn as asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tprune
from small_models import small_batch, small_model
from tprune.core.labels import IGNORED, label_loss
from tprune.realise.mask import masked
from tprune.support.errors import InputError
from tprune.tasks.batches import TokenBatches
from tprune.tasks.translation.encoding import EncodedPairs
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.losses import (
    MixedTargets,
    MixedTargetSampler,
    check_hidden,
    distillation_loss,
    hidden_distillation,
    kept_width,
    unexplained,
)

KEPT = torch.tensor([[True, True, False], [True, False, False]])


def states(seed: int, width: int = 4) -> Tensor:
    return torch.randn(2, 3, width, generator=torch.Generator().manual_seed(seed))


def test_the_taught_loss_is_the_cross_entropy_with_teacher_and_smoothed_labels_and_so_is_its_gradient() -> None:
    student, teacher = states(0, 5).requires_grad_(), states(1, 5)
    labels = torch.where(KEPT, torch.tensor([[3, 0, 1], [4, 2, 2]]), IGNORED)
    words = -(teacher[KEPT].softmax(-1) * student[KEPT].log_softmax(-1)).sum(1).mean()
    expected = 0.3 * words + 0.7 * label_loss(student, labels, 0.1)
    found = distillation_loss(student, teacher, labels, 0.3, 0.1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, student), torch.autograd.grad(expected, student))
    torch.testing.assert_close(distillation_loss(student, teacher, labels, 1.0, 0.1), words)
    assert torch.isfinite(distillation_loss(student.bfloat16(), teacher.bfloat16(), labels, 0.3)).item()


def test_unexplained_variance_agrees_with_its_formula_and_its_gradient() -> None:
    student, teacher = states(0).requires_grad_(), states(1)
    found = unexplained(student, teacher, KEPT)
    rows = [(0, 0), (0, 1), (1, 0)]
    s, t = (np.array([x.detach().numpy()[i] for i in rows], dtype=np.float64) for x in (student, teacher))
    variance = ((t - t.mean(0)) ** 2).sum()
    assert found.item() == pytest.approx(((s - t) ** 2).sum() / variance, rel=1e-5)
    (grad,) = torch.autograd.grad(found, student)
    expected = torch.zeros_like(grad)
    for i, (a, b) in enumerate(rows):
        expected[a, b] = torch.tensor(2 * (s[i] - t[i]) / variance)
    torch.testing.assert_close(grad, expected)  # and nothing at padded positions


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_unexplained_variance_has_no_unit(scale: float) -> None:
    teacher = scale * states(1)
    mean = teacher[KEPT].mean(0).expand_as(teacher)
    assert unexplained(mean, teacher, KEPT).item() == pytest.approx(1.0, rel=1e-4)
    assert unexplained(teacher, teacher, KEPT).item() == 0.0


def test_states_without_variance_give_a_finite_loss() -> None:
    one = KEPT & torch.tensor([[True, False, False], [False, False, False]])
    assert torch.isfinite(unexplained(states(0), states(1), one))


@pytest.mark.parametrize("name", ["marian", "bart"])
def test_hidden_distillation_is_the_mean_over_all_layers_and_skips_padding(name: str) -> None:
    student, teacher, batch = small_model(name, 1), small_model(name, 2), small_batch()
    outputs = [m(**batch, output_hidden_states=True) for m in (student, teacher)]
    kept = {"encoder": batch["attention_mask"].bool(), "decoder": batch["labels"] != IGNORED}
    each = [
        unexplained(*(getattr(o, f"{side}_hidden_states")[layer] for o in outputs), kept[side])
        for side, layers in (("encoder", 2), ("decoder", 3))
        for layer in range(1, layers + 1)
    ]
    found = hidden_distillation(*(TRANSLATION.states(o, batch) for o in outputs))
    torch.testing.assert_close(found, torch.stack(each).mean())
    padded = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, 7)  # other words where nobody looks
    again = [m(**(batch | {"input_ids": padded}), output_hidden_states=True) for m in (student, teacher)]
    torch.testing.assert_close(hidden_distillation(*(TRANSLATION.states(o, batch) for o in again)), found)


def cut(model: Any, *kinds: str) -> tuple[Any, tprune.Plan]:
    plan = tprune.make_plan(model, "marian", tprune.couplings(model, kinds))
    plan = tprune.select_to(model, plan, tprune.Budget("parameters", 0.85), tprune.Uniform())
    return tprune.shrink(model, plan), plan


def test_a_cut_width_is_compared_on_the_dimensions_that_were_kept() -> None:
    teacher, batch = small_model("marian"), small_batch()
    small, plan = cut(teacher, "width")
    width = kept_width(plan)
    assert width is not None and len(width) < 16
    check_hidden(small, teacher, width)
    like = masked(teacher, plan)
    outputs = [m(**batch, output_hidden_states=True) for m in (small, like)]
    assert (
        hidden_distillation(*(TRANSLATION.states(o, batch) for o in outputs), width).item() < 1e-9
    )  # the same model: nothing is unexplained
    assert hidden_distillation(*(TRANSLATION.states(o, batch) for o in outputs), tuple(range(len(width)))).item() > 0.1


@pytest.mark.slow
def test_kept_dimensions_of_one_cut_after_another_are_the_first_models() -> None:
    model = small_model("marian")
    small, first = cut(model, "ffn", "width")
    smaller, second = cut(small, "width")
    width = kept_width(second, kept_width(first))
    assert width is not None and len(width) == smaller.get_input_embeddings().weight.shape[1]
    torch.testing.assert_close(
        smaller.get_input_embeddings().weight, model.get_input_embeddings().weight[:, list(width)]
    )
    units = cut(model, "ffn")[1]
    assert kept_width(units) is None and kept_width(units, (1, 2)) == (1, 2)


def test_models_whose_hidden_states_do_not_match_are_refused() -> None:
    teacher = small_model("marian")
    small, plan = cut(teacher, "width")
    check_hidden(teacher, teacher)
    with pytest.raises(InputError, match=r"residual width is \d+, the teacher's 16; expected equal ones, or the plan"):
        check_hidden(small, teacher)
    with pytest.raises(InputError, match=r"3 kept dimensions, the last 2, for a student of width \d+"):
        check_hidden(small, teacher, (0, 1, 2))
    with pytest.raises(InputError, match="the student has 1 decoder_layers, the teacher 3"):
        check_hidden(small_model("marian", decoder_layers=1), teacher)
    assert kept_width(plan) is not None


def pairs(n: int, target: int) -> EncodedPairs:
    return EncodedPairs(tuple([i, 1] for i in range(n)), tuple([target] * (1 + i % 3) for i in range(n)))


def test_a_mixed_set_has_both_targets_and_the_longest_lengths() -> None:
    references, taught = pairs(4, 7), EncodedPairs(pairs(4, 0).source, ([8],) * 4)
    mixed = MixedTargets(references, taught)
    assert len(mixed) == 8
    assert mixed[1] == {"input_ids": [1, 1], "labels": [7, 7]} and mixed[5] == {"input_ids": [1, 1], "labels": [8]}
    assert mixed.lengths.tolist() == [2, 2, 3, 2]
    with pytest.raises(InputError, match="3 other sources than the 4"):
        MixedTargets(references, pairs(3, 8))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_of_taught_targets_is_the_one_asked_for_and_repeats(share: float) -> None:
    batches = TokenBatches(np.full(50, 4), 40, batches=200, seed=5)
    drawn = list(MixedTargetSampler(batches, share, seed=5))
    assert [[i % 50 for i in batch] for batch in drawn] == list(batches)
    taught = np.mean([i >= 50 for batch in drawn for i in batch])
    assert taught == pytest.approx(share, abs=0.03) and (share == 0.3 or taught == share)
    assert drawn == list(MixedTargetSampler(batches, share, seed=5)) and len(MixedTargetSampler(batches, share)) == 200
    if share == 0.3:
        both = {i % 50 for batch in drawn for i in batch if i >= 50} & {i for batch in drawn for i in batch if i < 50}
        assert len(both) == 50  # drawn afresh every time, not once and for all
