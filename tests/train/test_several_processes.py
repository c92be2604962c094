"""Two processes train one model as one process does: the same batches, no row twice, one writer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import TrainerCallback

from small_training import HOW, Begins, KillAt, KilledError, assert_equal, model_of, pairs, weights
from tprune.core.plan import Mode, make_plan
from tprune.families.registry import couplings
from tprune.methods.regulariser import Regulariser
from tprune.support.devices import use_device
from tprune.support.errors import DivergedError, InputError
from tprune.tasks.batches import TokenBatches
from tprune.train.shares import RowShares, StandIns
from tprune.train.trainer import train
from two_processes import together

PLAIN = replace(HOW, dropout=0.0, batch_tokens=40)  # some batches have a single row
TAUGHT = replace(PLAIN, distill=0.5, hidden_distillation=0.3, label_smoothing=0.0)
WAYS = {
    "plain": PLAIN,
    "taught": TAUGHT,
    "best": replace(PLAIN, eval_every=3, lr=5e-2),
    "pruning": PLAIN,
}


def fit(out: Path, way: str, *extra: TrainerCallback) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    """The weights and the log of a training without dropout."""
    how, model = WAYS[way], model_of()
    for module in model.modules():
        if isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.0
    callbacks = list(extra)
    if way == "pruning":
        plan = make_plan(model, "marian", couplings(model, ["ffn", "heads"]), mode=Mode.PROXIMAL, strengths=0.3)
        callbacks.append(Regulariser(model, plan, ramp=4))
    teacher = model_of(1).eval() if way == "taught" else None
    log = train(model, pairs(60), pairs(11, 1), how, out, callbacks=callbacks, teacher=teacher, save_every=4)
    return weights(model), log


def work(rank: int, folder: Path) -> None:
    found = {}
    for sharded in (False, True):
        use_device("cpu", sharded)
        for way in WAYS:
            found[way, sharded] = fit(folder / f"{way}-{sharded}", way)
    with pytest.raises(DivergedError, match="the loss is"):  # in both, though one alone meets the value
        model = model_of()
        model.forward = Spoilt(model.forward, rank)
        train(model, pairs(60), pairs(8, 1), PLAIN, folder / "spoilt")
    torch.save(found, folder / f"{rank}.pt")


class Spoilt:
    """A forward pass whose logits are no numbers in one process."""

    def __init__(self, forward: Any, rank: int) -> None:
        self.forward, self.rank = forward, rank

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = self.forward(*args, **kwargs)
        if self.rank:
            found.logits = found.logits * float("nan")
        return found


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    use_device("cpu")
    together(work, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for way in WAYS:
        single, log = fit(tmp_path / f"{way}-one", way)
        start = weights(model_of())
        assert any((single[name] - start[name]).abs().max() > 1e-2 for name in single)
        for sharded in (False, True):
            assert_equal(second[way, sharded][0], first[way, sharded][0])
            for name, value in first[way, sharded][0].items():
                if name.endswith("k_proj.bias"):  # whose gradient is 0 but for rounding, which Adam blows up
                    continue
                torch.testing.assert_close(value, single[name], rtol=1e-3, atol=2e-4, msg=lambda m, w=way: f"{w}: {m}")
            assert losses(first[way, sharded][1]) == pytest.approx(losses(log), rel=1e-3)
    written = {path.name for path in (tmp_path / "plain-False/checkpoint-8").iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth", "model.safetensors", "optimizer.pt", "sealed.json"} <= written


def losses(log: list[dict[str, float]]) -> list[float]:
    return [entry[key] for entry in log for key in ("loss", "eval_loss") if key in entry]


def go_on(rank: int, folder: Path) -> None:
    for sharded in (False, True):
        use_device("cpu", sharded)
        whole, _ = fit(folder / f"whole-{sharded}", "pruning")
        with pytest.raises(KilledError):
            fit(folder / f"broken-{sharded}", "pruning", KillAt(6))
        begins = Begins()
        again, _ = fit(folder / f"broken-{sharded}", "pruning", begins)
        assert begins.at == 4
        assert_equal(again, whole)


@pytest.mark.slow
def test_a_broken_training_of_two_processes_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    together(go_on, tmp_path)


@pytest.mark.parametrize("batches", [[[5, 1, 2], [7], [3, 4]]])
def test_no_row_is_used_twice_and_none_is_left_out(batches: list[list[int]]) -> None:
    parts = [list(RowShares(batches, rank, 2)) for rank in (0, 1)]
    assert [len(part) for part in parts] == [3, 3]  # every process takes every step
    for batch, *shares in zip(batches, *parts, strict=True):
        own = [row for share in shares for row in share if row >= 0]
        assert sorted(own) == sorted(batch) and all(shares)
    data = StandIns(pairs(8))
    assert data[3] == (data.data[3], True) and data[-1 - 7] == (data.data[7], False)


def test_batches_are_those_of_one_process() -> None:
    data = pairs(40)
    whole = list(TokenBatches(data.lengths, 64, batches=6, seed=3))
    halves = [list(RowShares(TokenBatches(data.lengths, 64, batches=6, seed=3), rank, 2)) for rank in (0, 1)]
    assert [sorted(a + b) for a, b in zip(*halves, strict=True)] == [sorted(batch) for batch in whole]


def test_compress_is_refused_in_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    import tprune

    for name, value in (("is_available", True), ("is_initialized", True), ("get_world_size", 3)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    with pytest.raises(InputError, match=r"one of 3 processes .*start it without a launcher"):
        tprune.compress(model_of(), None, pairs(4), pairs(4), macs=0.5)
