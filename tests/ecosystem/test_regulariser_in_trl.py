"""The regulariser as a callback of TRL's SFTTrainer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from pruned_models import decoder

from small_tasks import TEXTS, words
from tprune.core.coupling import bind
from tprune.core.plan import Mode, make_plan
from tprune.families.registry import couplings
from tprune.methods.group_lasso import GroupLasso
from tprune.methods.regulariser import Regulariser
from tprune.realise.shrink import shrink

trl = pytest.importorskip("trl")
pytestmark = pytest.mark.slow
STEPS, RATE = 12, 1e-2


def test_groups_fade_out_in_sft(tmp_path: Path) -> None:
    model = decoder("llama", "ffn").train()
    first = bind(couplings(model, ["ffn"]), model)[0]
    step = RATE * float(first.sizes[0]) ** 0.5  # that a group loses of its norm at strength 1
    strength = float(first.norms.median()) / (STEPS * step)
    plan = make_plan(
        model, "llama", couplings(model, ["ffn"]), method=GroupLasso(), mode=Mode.PROXIMAL, strengths=strength
    )
    regulariser = Regulariser(model, plan)
    before = [groups.norms.detach().clone() for groups in regulariser.groups]
    how = trl.SFTConfig(
        str(tmp_path),
        max_steps=STEPS,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        use_cpu=True,
        report_to=[],
        per_device_train_batch_size=2,
        bf16=False,
        max_length=16,
        disable_tqdm=True,
        save_strategy="no",
    )
    trainer = trl.SFTTrainer(
        model,
        how,
        train_dataset=Dataset.from_dict({"text": [*TEXTS] * 4}),
        processing_class=words(),
        callbacks=[regulariser],
    )
    trainer.train()
    assert regulariser.step == STEPS
    after = [groups.refresh().norms.detach() for groups in regulariser.groups]
    assert sum(int((norms == 0).sum()) for norms in after) > 0
    assert all((norms == 0).sum() < len(norms) for norms in after)
    assert all(bool((new.sum() < old.sum()).item()) for new, old in zip(after, before, strict=True))
    kept = {e.coupling.name: norms > 0 for e, norms in zip(plan.entries, after, strict=True)}
    small = shrink(model.eval(), plan.with_kept(kept, {}, {}))
    given = torch.randint(3, 40, (2, 6))
    torch.testing.assert_close(small(given).logits, model(given).logits, rtol=1e-4, atol=1e-4)
