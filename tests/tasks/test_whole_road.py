"""Models that do not translate go the same road by the same calls: couplings, conformance, selection, cut, certificate,
one shot.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertForSequenceClassification

import tprune
from benchmarks.other_tasks.resnet import ResNet
from table_models import table_model
from tprune.analysis.loss_curves import sensitivities, token_loss_on
from tprune.analysis.one_shot import one_shot
from tprune.core.known_tasks import task_of
from tprune.counting.size import size
from tprune.families.registry import family_of
from tprune.scores.second_order import ranked_by_norm
from tprune.tasks.language_modelling import EncodedTokens, LanguageModelling
from tprune.testing import check_family
from tprune.train.schedule import TrainingConfig
from tprune.train.trainer import train

KINDS = {"bert-classifier": ("ffn", "heads"), "llama": ("ffn", "heads"), "resnet": ("channels",)}


@pytest.fixture(params=list(KINDS))
def subject(request: pytest.FixtureRequest) -> Any:
    return table_model(request.param).float()


@pytest.fixture
def kinds(request: pytest.FixtureRequest, subject: Any) -> tuple[str, ...]:
    return KINDS[request.node.callspec.params["subject"]]


def plan_of(model: Any, *kinds: str) -> tprune.Plan:
    return tprune.make_plan(model, family_of(model).name, tprune.couplings(model, list(kinds)))


def test_the_family_keeps_its_promises(subject: Any) -> None:
    check_family(subject, task_of(subject).random(subject))


def test_cut_to_a_size_with_a_certificate(subject: Any, kinds: tuple[str, ...], tmp_path: Path) -> None:
    batch, plan = task_of(subject).random(subject), plan_of(subject, *kinds)
    limits = tprune.Limits({}, 0.0 if "ffn" in kinds else 0.1)
    goal = tprune.select_to(subject, plan, tprune.Budget("macs", 0.7), tprune.Uniform(limits))
    small = tprune.shrink(subject, goal)
    assert tprune.certify(subject, goal, small, batch).forward < 1e-5
    assert size(small).macs <= 0.7 * size(subject).macs and size(small).macs == goal.reached["macs"]
    architecture = ResNet if isinstance(small, ResNet) else None
    again = tprune.load(tprune.save(small, tmp_path / "small", plan=goal), architecture=architecture).eval()
    task = task_of(again)
    assert task == task_of(subject) and torch.equal(task.run(again, batch).logits, task.run(small, batch).logits)


def test_a_certificate_knows_how_exact_a_family_is(subject: Any) -> None:
    """Norms that are computed in single precision, in a model of double precision and less width."""
    subject = subject.double()
    known = {coupling.kind for coupling in tprune.couplings(subject)}
    plan = plan_of(subject, *sorted(known & {"width", "channels"}))
    kept = {e.coupling.name: torch.arange(e.groups[-1]) % 4 > 0 for e in plan.entries}
    chosen = plan.with_kept(kept, {}, {})
    found = tprune.certify(subject, chosen, tprune.shrink(subject, chosen), task_of(subject).random(subject))
    assert found.forward < 1e-6 and found.limit == max(1e-9, family_of(subject).tolerance)


def test_one_shot_fits_what_reads_the_cut(subject: Any, kinds: tuple[str, ...]) -> None:
    """The certificate's masked model is off the dense one by more than the repaired one."""
    task, plan = task_of(subject), plan_of(subject, kinds[0])
    batches = [task.random(subject)]
    goal = tprune.select_to(subject, plan, tprune.Budget("macs", 0.9), tprune.Uniform(tprune.Limits({}, 0.1)))
    repaired, chosen = one_shot(subject, goal, batches)
    masked = copy.deepcopy(subject)
    tprune.mask_(masked, chosen)
    dense, plain, fitted = (task.run(m.eval(), batches[0]).logits for m in (subject, masked, repaired))
    assert (fitted - dense).abs().mean() < (plain - dense).abs().mean()


def test_what_is_ranked_by_norm_is_said(subject: Any, kinds: tuple[str, ...]) -> None:
    assert ranked_by_norm(subject, plan_of(subject, kinds[0])) == ""
    if isinstance(subject, BertForSequenceClassification):
        found = ranked_by_norm(subject, plan_of(subject, "ffn", "qk"))
        assert found.endswith("one layer reads them: 3 of kind qk of 6 couplings")


def test_losses_of_couplings(subject: Any, kinds: tuple[str, ...]) -> None:
    task, plan = task_of(subject), plan_of(subject, kinds[0])
    loss = token_loss_on([task.random(subject)])
    before = loss(subject)
    curves = sensitivities(subject, plan, loss, tprune.Limits({}, 0.0))
    assert len(curves) == len(plan.entries) and all(len(curve.kept) > 3 for curve in curves) and loss(subject) == before


def test_a_language_model_learns_and_its_labels_are_the_next_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, task = table_model("llama").float(), LanguageModelling()
    batch = task.collate([[5, 6, 7], [8]], 0)
    assert batch["labels"].tolist() == [[6, 7, -100], [-100, -100, -100]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    mine = task.loss(task.run(model, batch).logits, batch)
    labels = torch.where(batch["attention_mask"].bool(), batch["input_ids"], -100)
    torch.testing.assert_close(mine, model(**task.prompt(batch), labels=labels).loss)
    texts = EncodedTokens(tuple([2, *[5 + (start + i) % 30 for i in range(8)], 1] for start in range(30)))
    loss = token_loss_on([task.collate([texts[i] for i in range(30)], 0)])
    before = loss(model)
    train(
        model,
        texts,
        texts,
        TrainingConfig(160, 5e-3, 6, batch_tokens=256, label_smoothing=0.0, precision="fp32"),
        tmp_path,
    )
    assert loss(model) < 0.5 * before
