"""Training: losses, precision, and that a killed run resumes to the very same weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import TrainerCallback

from small_training import HOW, Begins, KillAt, KilledError, StopAt, assert_equal, model_of, pairs, weights
from tprune.core.labels import IGNORED, label_loss
from tprune.core.plan import Mode, make_plan
from tprune.families.registry import couplings
from tprune.methods.regulariser import Regulariser
from tprune.support.errors import DivergedError
from tprune.tasks.translation.encoding import Collate, MarianSize, new_model
from tprune.train.checkpoints import MANIFEST, last_checkpoint
from tprune.train.schedule import TrainingConfig
from tprune.train.trainer import dropout_at, train


def run(
    out: Path, how: TrainingConfig, *extra: TrainerCallback, penalise: bool = False, save_every: int = 2
) -> dict[str, Tensor]:
    torch.manual_seed(99)  # a resumed process knows nothing of the first one's random state
    model = model_of()
    callbacks: list[TrainerCallback] = list(extra)
    if penalise:
        plan = make_plan(model, "marian", couplings(model, ["ffn", "heads"]), mode=Mode.PROXIMAL, strengths=0.3)
        callbacks.append(Regulariser(model, plan, ramp=8))
    train(model, pairs(60), pairs(10, 1), how, out, callbacks=callbacks, save_every=save_every)
    return weights(model)


@pytest.mark.parametrize("penalise", [False, True], ids=["plain", "pruning"])
@pytest.mark.parametrize("kill", [KillAt(5), StopAt(5)], ids=["killed", "stopped"])
def test_a_broken_training_resumes_to_the_weights_of_an_unbroken_one(
    tmp_path: Path, kill: TrainerCallback, penalise: bool
) -> None:
    whole = run(tmp_path / "whole", HOW, penalise=penalise)
    try:
        run(tmp_path / "broken", HOW, kill, penalise=penalise)
    except KilledError:
        assert last_checkpoint(tmp_path / "broken") == str(tmp_path / "broken" / "checkpoint-4")
    begins = Begins()
    assert_equal(run(tmp_path / "broken", HOW, begins, penalise=penalise), whole)
    assert begins.at in (4, 5)  # it went on from there, rather than doing everything again
    start = weights(model_of())
    assert any(not torch.equal(whole[name], start[name]) for name in whole)


def unfinished(checkpoint: Path) -> None:
    (checkpoint / MANIFEST).unlink()
    (checkpoint / "trainer_state.json").unlink()
    (checkpoint / "optimizer.pt").write_bytes(b"half")


def flipped(checkpoint: Path) -> None:
    weights = checkpoint / "model.safetensors"
    found = bytearray(weights.read_bytes())
    found[-1] ^= 1
    weights.write_bytes(found)


def shortened(checkpoint: Path) -> None:
    (checkpoint / "optimizer.pt").write_bytes((checkpoint / "optimizer.pt").read_bytes()[:-100])


def gone(checkpoint: Path) -> None:
    (checkpoint / "rng_state.pth").unlink()


def manifest_of_nobody(checkpoint: Path) -> None:
    (checkpoint / MANIFEST).write_text("[1, 2")


@pytest.mark.parametrize(
    "spoil",
    [
        unfinished,
        flipped,
        *(pytest.param(one, marks=pytest.mark.slow) for one in (shortened, gone, manifest_of_nobody)),
    ],
)
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    whole = run(tmp_path / "whole", HOW)
    with pytest.raises(KilledError):
        run(tmp_path / "broken", HOW, KillAt(6))
    newest = tmp_path / "broken" / "checkpoint-6"
    spoil(newest)
    said: list[str] = []
    assert last_checkpoint(tmp_path / "broken", said.append) == str(tmp_path / "broken" / "checkpoint-4")
    assert "checkpoint-6 is passed over: " in said[0]
    assert last_checkpoint(tmp_path / "broken") == str(tmp_path / "broken" / "checkpoint-4")
    begins = Begins()
    assert_equal(run(tmp_path / "broken", HOW, begins), whole)
    assert begins.at == 4


def test_training_again_after_the_end_changes_nothing(tmp_path: Path) -> None:
    first = run(tmp_path / "out", HOW)
    assert_equal(run(tmp_path / "out", HOW), first)


def test_without_checkpoints_a_training_starts_anew_and_repeats_itself(tmp_path: Path) -> None:
    first = run(tmp_path / "a", HOW, save_every=0)
    assert last_checkpoint(tmp_path / "a") is None and last_checkpoint(tmp_path / "nowhere") is None
    assert_equal(run(tmp_path / "b", HOW, save_every=0), first)


@pytest.mark.slow
def test_the_best_weights_are_kept_and_a_broken_run_finds_the_same(tmp_path: Path) -> None:
    how = TrainingConfig(steps=12, lr=5e-3, warmup=2, batch_tokens=64, precision="fp32", seed=3, eval_every=3)
    whole = run(tmp_path / "whole", how)
    with pytest.raises(KilledError):
        run(tmp_path / "broken", how, KillAt(7))
    assert_equal(run(tmp_path / "broken", how), whole)
    shutil.rmtree(tmp_path / "whole")
    model = model_of()
    log = train(model, pairs(60), pairs(10, 1), how, tmp_path / "whole")
    losses = [entry["eval_loss"] for entry in log if "eval_loss" in entry]
    assert len(losses) == 4 and losses[-1] < losses[0]


def test_the_validation_loss_is_a_mean_over_tokens_not_over_batches(tmp_path: Path) -> None:
    valid = pairs(40, 1)
    model = model_of()
    log = train(
        model, pairs(60), valid, TrainingConfig(steps=1, batch_tokens=8, precision="fp32", eval_every=1), tmp_path
    )
    batch = Collate(0)([valid[i] for i in range(len(valid))])
    with torch.no_grad():
        expected = label_loss(model.eval()(**batch).logits, batch["labels"])
    assert [e["eval_loss"] for e in log if "eval_loss" in e] == [pytest.approx(expected.item(), rel=1e-5)]


def test_a_training_that_runs_away_stops_and_says_where(tmp_path: Path) -> None:
    model = model_of()
    with torch.no_grad():
        model.lm_head.weight.mul_(float("inf"))
    with pytest.raises(DivergedError, match=r"the loss is nan at step 1 of 10 \(lr 0\.005\); try a lower lr"):
        train(model, pairs(60), pairs(10, 1), HOW, tmp_path)


def test_patience_ends_a_training_that_no_longer_improves(tmp_path: Path) -> None:
    how = TrainingConfig(steps=40, lr=1e-9, warmup=0, batch_tokens=64, precision="fp32", eval_every=2, patience=2)
    log = train(model_of(), pairs(60), pairs(10, 1), how, tmp_path)
    assert max(int(entry["step"]) for entry in log) < 40


def test_distillation_pulls_towards_the_teacher(tmp_path: Path) -> None:
    teacher, data = model_of(seed=5), pairs(60)
    how = TrainingConfig(
        steps=30, lr=1e-2, warmup=2, batch_tokens=64, label_smoothing=0.0, distill=1.0, precision="fp32"
    )
    batch = {"input_ids": torch.tensor([data[0]["input_ids"]]), "labels": torch.tensor([data[0]["labels"]])}

    def distance(model: Any) -> float:
        with torch.no_grad():
            mine, theirs = (m.eval()(**batch).logits.log_softmax(-1) for m in (model, teacher))
        return float(F.kl_div(mine, theirs, log_target=True, reduction="batchmean"))

    student = model_of()
    before = distance(student.eval())
    start = weights(teacher)
    train(student.train(), data, pairs(10, 1), how, tmp_path, teacher=teacher)
    assert distance(student) < before
    assert_equal(weights(teacher), start)


def test_the_loss_ignores_padding_and_agrees_with_its_formula() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 5)
    labels = torch.tensor([[1, 2, IGNORED], [4, IGNORED, IGNORED]])
    kept = labels != IGNORED
    log = logits.log_softmax(-1)
    nll = -log[kept].gather(1, labels[kept][:, None]).mean()
    torch.testing.assert_close(label_loss(logits, labels), nll)
    torch.testing.assert_close(label_loss(logits, labels, 0.1), 0.9 * nll - 0.1 * log[kept].mean())
    assert label_loss(logits.bfloat16(), labels).dtype == torch.float32


def test_dropout_is_set_for_a_while_where_there_is_any() -> None:
    model = new_model(MarianSize(16, (1, 1), 2, 32, 20, 0.3, 32), 20)
    layer = model.model.encoder.layers[0]
    with dropout_at(model, 0.1):
        assert layer.dropout == model.model.decoder.dropout == 0.1 and layer.self_attn.dropout == 0.0
    assert layer.dropout == 0.3
    with pytest.raises(ZeroDivisionError), dropout_at(model, 0.0):
        _ = 1 / layer.dropout
    assert layer.dropout == 0.3
    with dropout_at(model, None):
        assert layer.dropout == 0.3
