"""A two-layer net with one coupling, its data, and penalties and loops for it that are written by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from tprune.core.coupling import Coupling, bias, consumer, producer
from tprune.core.method import Method
from tprune.core.plan import Mode, Plan, make_plan
from tprune.methods.hoyer_square import HoyerSquare

UNITS = Coupling(
    "ffn",
    (producer("up.weight", "u i -> u"), bias("up.bias", "u -> u"), consumer("down.weight", "o u -> u")),
    kind="ffn",
)
WEIGHTS = ("up.weight", "down.weight")


class Net(nn.Module):
    def __init__(self, units: int = 6, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.up, self.down = nn.Linear(3, units), nn.Linear(units, 2)

    def forward(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        return {"loss": F.mse_loss(self.down(self.up(x).relu()), y)}


class Pairs(Dataset[dict[str, Tensor]]):
    def __init__(self, n: int) -> None:
        g = torch.Generator().manual_seed(7)
        self.x, self.y = torch.randn(n, 3, generator=g), torch.randn(n, 2, generator=g)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"x": self.x[i], "y": self.y[i]}

    def batch(self, start: int, size: int) -> dict[str, Tensor]:
        return {"x": self.x[start : start + size], "y": self.y[start : start + size]}


def plan_of(model: nn.Module, mode: Mode, strength: float, method: Method | None = None) -> Plan:
    return make_plan(model, "net", [UNITS], method=method or HoyerSquare(), mode=mode, strengths=strength)


def unit_norms(weights: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([weights["up.weight"], weights["down.weight"].T], dim=1).norm(dim=1)


def hoyer(weights: Mapping[str, Tensor]) -> Tensor:
    n = unit_norms(weights)
    return n.sum() ** 2 / n.square().sum()


def lasso(weights: Mapping[str, Tensor]) -> Tensor:
    return 5**0.5 * unit_norms(weights).sum()  # 3 + 2 elements a unit


def penalty_gradients(model: nn.Module, penalty: Callable[[Mapping[str, Tensor]], Tensor] = hoyer) -> dict[str, Tensor]:
    weights = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters() if name in WEIGHTS}
    return dict(zip(weights, torch.autograd.grad(penalty(weights), list(weights.values())), strict=True))


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], **tolerance: float) -> None:
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], msg=lambda m, n=name: f"{n}: {m}", **tolerance)


def reference_loop(
    model: nn.Module,
    data: Pairs,
    *,
    steps: int,
    micro: int,
    size: int,
    clip: float,
    strength: float,
    ramp: int,
    lr: float,
) -> None:
    """The penalty once per optimizer step, after accumulation and clipping, written without the package."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    for step in range(steps):
        optimizer.zero_grad()
        for i in range(micro):
            (model(**data.batch((step * micro + i) * size, size))["loss"] / micro).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        added = penalty_gradients(model)
        for name, p in model.named_parameters():
            if name in added and p.grad is not None:
                p.grad += strength * min(1.0, (step + 1) / ramp) * added[name]
        optimizer.step()


HOW: dict[str, Any] = {"steps": 5, "micro": 3, "size": 4, "clip": 0.01, "strength": 0.02, "ramp": 4, "lr": 0.01}


class InOrder(Trainer):
    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def trainer_for(model: nn.Module, out: Path, callbacks: list[TrainerCallback], **changes: Any) -> Trainer:
    arguments = {
        "output_dir": str(out),
        "max_steps": HOW["steps"],
        "per_device_train_batch_size": HOW["size"],
        "gradient_accumulation_steps": HOW["micro"],
        "max_grad_norm": HOW["clip"],
        "learning_rate": HOW["lr"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "optim": "adamw_torch",
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "no",
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
    } | changes
    return InOrder(model, TrainingArguments(**arguments), train_dataset=Pairs(60), callbacks=callbacks)


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        if state.global_step == self.step:
            raise KeyboardInterrupt
        return control
