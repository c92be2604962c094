"""Runs a plan's methods once per optimizer step, in any training loop or as a Hugging Face callback."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypedDict, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from tprune.core.coupling import Groups, Role
from tprune.core.method import State
from tprune.core.plan import Entry, Mode, Plan
from tprune.methods.controller import Controller, ControllerState
from tprune.support.errors import InputError


class RegulariserState(TypedDict):
    """What a checkpoint keeps: the step, each method's state, and the controller's where there is one."""

    step: int
    states: list[dict[str, Tensor]]
    controller: ControllerState | None


@runtime_checkable
class TrainerState(Protocol):
    """What is read of the Trainer's own state."""

    global_step: int
    stateful_callbacks: Mapping[str, Any]


class Regulariser(TrainerCallback, ExportableState):
    """Applies each entry's method with its mode and strength λ; one application per optimizer step.

    - *gradient*: adds λ ∂R/∂w to the gradients, after unscaling and clipping, before the step;
    - *decoupled*: `w ← w − lr λ ∂R/∂w` after the step, past the optimiser's rescaling;
    - *proximal*: `n_g ← max(0, n_g − lr λ slope_g)` after the step; groups become exactly zero.

    The penalty of every coupling at the last step is in `values`.

    λ rises linearly from 0 over the first `ramp` steps; a controller, where given, multiplies it. Gradients are averaged between processes before the step and weights
    are equal in all of them, so under DDP every process applies the same closed form and nothing is communicated.

    Args:
        model: the model being trained (unwrapped).
        plan: its plan.
        ramp: steps until the full strength.
        controller: adapts each coupling's strength while training.

    Raises:
        InputError: the plan is for another model.

    Example:
        In a loop of your own, `handle = Regulariser(model, plan).attach(optimizer)`; with the Trainer,
        `trainer.add_callback(Regulariser(model, plan))`.
    """

    def __init__(self, model: nn.Module, plan: Plan, ramp: int = 0, controller: Controller | None = None) -> None:
        self.plan, self.ramp, self.controller, self.step = plan, ramp, controller, 0
        self.groups = plan.bind(model)
        self.states: list[State] = [e.method.init(g) for e, g in zip(plan.entries, self.groups, strict=True)]
        self.values: dict[str, Tensor] = {}

    @property
    def pace(self) -> float:
        """The share of the full strength that holds at this step."""
        return min(1.0, (self.step + 1) / self.ramp) if self.ramp else 1.0

    @torch.no_grad()
    def before_step(self, optimizer: Optimizer | None = None) -> None:
        """Adds the penalties of *gradient* entries to the gradients. Call after clipping, before `optimizer.step()`."""
        # fused optimizers are handed gradients that a GradScaler has scaled
        scale = getattr(optimizer, "grad_scale", None)
        for i, entry, groups in self._active(Mode.GRADIENT):
            factors = self._factors(i, entry, groups) * (entry.strength * self.pace)
            if scale is not None:
                factors = factors * scale.to(factors.device)
            for view, fresh in groups.counted:
                weight = groups.tensors[view.param]
                if weight.grad is None:
                    continue
                w, grad = view.of(weight), view.of(weight.grad)
                view.structure.add_scaled_(grad, w if fresh is None else w * fresh.to(w.device), factors)

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        """Shrinks the groups of *decoupled* and *proximal* entries. Call after `optimizer.step()`."""
        rates = _learning_rates(optimizer)
        for mode in (Mode.DECOUPLED, Mode.PROXIMAL):
            for i, entry, groups in self._active(mode):
                moving = [(view, fresh) for view, fresh in groups.members if id(groups.tensors[view.param]) in rates]
                if not moving:
                    continue  # a frozen coupling; one that is frozen in part moves in its other members
                rate = max(rates[id(groups.tensors[view.param])] for view, _ in moving)
                scale = 1 - rate * entry.strength * self.pace * self._factors(i, entry, groups)
                if mode is Mode.PROXIMAL:
                    scale = scale.clamp_min(0)
                groups.scale_(scale, [m for m in moving if m[0].role is not Role.BIAS])
                if mode is Mode.PROXIMAL:  # an empty group loses its biases too, so that what is cut is already silent
                    alive = (scale * groups.norms > 0).to(scale.dtype)
                    groups.scale_(alive, [m for m in moving if m[0].role is Role.BIAS])
        self.step += 1

    def attach(self, optimizer: Optimizer) -> tuple[RemovableHandle, RemovableHandle]:
        """Hooks both halves into `optimizer.step()`; returns handles that remove them."""
        return (
            optimizer.register_step_pre_hook(lambda opt, *_: self.before_step(opt)),
            optimizer.register_step_post_hook(lambda opt, *_: self.after_step(opt)),
        )

    def state_dict(self) -> RegulariserState:
        """The step, the methods' and the controller's states, for a checkpoint."""
        control = self.controller.state_dict() if self.controller else None
        return {"step": self.step, "states": [dict(state) for state in self.states], "controller": control}

    def load_state_dict(self, state: RegulariserState) -> None:
        """Takes up a checkpoint. Raises `InputError` when it belongs to another plan."""
        if len(state["states"]) != len(self.states):
            raise InputError(
                f"the checkpoint holds {len(state['states'])} method states, the plan {len(self.states)} entries"
            )
        self.step, self.states = int(state["step"]), list(state["states"])
        control = state.get("controller")
        if self.controller and control:
            self.controller.load_state_dict(control)

    def state(self) -> dict[str, object]:
        """What the Trainer writes into its checkpoints: tensors as lists of numbers."""
        mine = self.state_dict()
        states = [{k: v.tolist() if isinstance(v, Tensor) else v for k, v in state.items()} for state in mine["states"]]
        couplings = [entry.coupling.name for entry in self.plan.entries]
        return {"args": {}, "attributes": {**mine, "states": states, "couplings": couplings}}

    def on_train_begin(self, args: object, state: TrainerState, control: object, **_: object) -> None:
        """Takes up the step and states of a resumed Trainer."""
        saved = state.stateful_callbacks.get(type(self).__name__, [])
        for one in saved if isinstance(saved, list) else [saved]:
            found = dict(one["attributes"])
            if state.global_step and found.pop("couplings") == [e.coupling.name for e in self.plan.entries]:
                states = [
                    {k: torch.tensor(v) if isinstance(v, list) else v for k, v in s.items()} for s in found["states"]
                ]
                self.load_state_dict({"step": found["step"], "states": states, "controller": found.get("controller")})
        self.step = state.global_step

    def on_pre_optimizer_step(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
        """The Trainer's hook after clipping."""
        self.before_step()

    def on_optimizer_step(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
        """The Trainer's hook after the optimizer's step."""
        self.after_step(cast(Optimizer, kwargs["optimizer"]))

    def _active(self, mode: Mode) -> Iterable[tuple[int, Entry, Groups]]:
        entries = zip(self.plan.entries, self.groups, strict=True)
        return [(i, e, g) for i, (e, g) in enumerate(entries) if e.mode is mode and e.strength > 0]

    def _factors(self, i: int, entry: Entry, groups: Groups) -> Tensor:
        """`f slope_g / n_g`, 0 for empty groups: what a weight is multiplied by to give ∂R/∂w, times the controller's f."""
        update, self.states[i] = entry.method.update(groups.refresh(), self.states[i], self.step)
        self.values[entry.coupling.name] = update.value
        norms = groups.norms
        slope = self.controller.steer(i, norms, update.slope, self.step) if self.controller else update.slope
        return torch.where(norms > 0, slope / norms.clamp_min(torch.finfo(norms.dtype).tiny), torch.zeros_like(norms))


def _learning_rates(optimizer: Optimizer) -> dict[int, float]:
    """The learning rate of every parameter, by identity; works on accelerate's wrapped optimizers too."""
    return {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
