"""The regulariser in the Hugging Face Trainer, resumed runs, and two processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from small_net import (
    HOW,
    UNITS,
    Net,
    Pairs,
    StopAt,
    assert_same,
    plan_of,
    reference_loop,
    state,
    trainer_for,
)
from tprune.core.coupling import Coupling, producer
from tprune.core.plan import Mode, make_plan
from tprune.methods.gradual_magnitude import GradualMagnitude
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.regulariser import Regulariser


def test_trainer_with_accumulation_and_clipping_matches_the_reference(tmp_path: Path) -> None:
    expected, model = Net(), Net()
    reference_loop(expected, Pairs(60), **HOW)
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, HOW["strength"]), ramp=HOW["ramp"])
    trainer_for(model, tmp_path, [regulariser]).train()
    assert regulariser.step == 5
    assert_same(state(model), state(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_resumed_trainer_goes_on_with_the_ramp(tmp_path: Path, mode: Mode) -> None:
    def run(out: Path, resume: bool, *extra: TrainerCallback) -> tuple[dict[str, Tensor], Regulariser]:
        model = Net()
        regulariser = Regulariser(model, plan_of(model, mode, 0.05), ramp=20)
        trainer = trainer_for(model, out, [regulariser, *extra], save_strategy="steps", save_steps=2)
        trainer.train(resume_from_checkpoint=resume)
        return state(model), regulariser

    whole, _ = run(tmp_path / "whole", False)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "broken", False, StopAt(3))
    resumed, regulariser = run(tmp_path / "broken", True)
    assert regulariser.step == 5 and regulariser.pace == pytest.approx(6 / 20)
    for name in whole:
        assert torch.equal(resumed[name], whole[name])


@pytest.mark.parametrize("coupling", [UNITS, Coupling("all", (producer("up.weight", "u i ->"),))], ids=lambda c: c.name)
def test_a_resumed_trainer_goes_on_with_its_masks(tmp_path: Path, coupling: Coupling) -> None:
    method = GradualMagnitude(share=1.0 if coupling.name == "all" else 0.5, begin=1, over=3, every=1)

    def run(resume: bool, *extra: TrainerCallback) -> tuple[Net, Regulariser]:
        model = Net()
        plan = make_plan(model, "net", [coupling], method=method, mode=Mode.GRADIENT, strengths=1.0)
        regulariser = Regulariser(model, plan)
        out = tmp_path / str(bool(extra) or resume)
        trainer = trainer_for(model, out, [regulariser, *extra], save_strategy="steps", save_steps=3)
        trainer.train(resume_from_checkpoint=resume)
        return model, regulariser

    whole, _ = run(False)
    with pytest.raises(KeyboardInterrupt):
        run(False, StopAt(4))
    resumed, regulariser = run(True)
    keep = regulariser.states[0]["keep"]
    assert keep.dtype is torch.bool and keep.shape == regulariser.groups[0].shape and not keep.all()
    assert (regulariser.groups[0].refresh().norms[~keep] == 0).all()
    assert_same(state(resumed), state(whole), rtol=0, atol=0)


def ddp_worker(rank: int, world: int, mode: str, out: str) -> None:
    """Trains on this rank's half of every batch."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{out}/meet", rank=rank, world_size=world)
    model = Net()
    wrapped = DistributedDataParallel(model)
    ddp_train(model, wrapped, mode, rank, world)
    torch.save(state(model), Path(out, f"{rank}.pt"))
    os._exit(0)  # gloo's destructor joins a thread that may wait for the interpreter's lock: for ever


def ddp_train(model: Net, forward: nn.Module, mode: str, rank: int, world: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    Regulariser(model, plan_of(model, Mode(mode), 0.2, GroupLasso()), ramp=3).attach(optimizer)
    data, share = Pairs(64), 8 // world
    for step in range(8):
        optimizer.zero_grad()
        forward(**data.batch(step * 8 + rank * share, share))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        optimizer.step()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["gradient", "proximal"])
def test_two_processes_equal_one_on_the_joint_batch(tmp_path: Path, mode: str) -> None:
    torch.multiprocessing.spawn(ddp_worker, args=(2, mode, str(tmp_path)), nprocs=2, daemon=True)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert_same(second, first, rtol=0, atol=0)
    single = Net()
    ddp_train(single, single, mode, 0, 1)
    assert_same(first, state(single), rtol=1e-4, atol=1e-6)
