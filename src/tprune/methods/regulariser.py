"""Runs a plan's methods once per optimizer step, in any training loop or as a Hugging Face callback."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypedDict, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle
from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from tprune.core.coupling import Groups, Member, Role, add_scaled_member_
from tprune.core.method import State, Update
from tprune.core.plan import Entry, Mode, Plan
from tprune.core.sharded import is_sharded, rows_of
from tprune.methods.controller import Controller, ControllerState
from tprune.methods.exact_masks import mask_, unmasked_state
from tprune.methods.regulariser_state import described, pack, states_in, write
from tprune.support.errors import InputError, TpruneWarning


class RegulariserState(TypedDict):
    """What a checkpoint keeps: the step, each method's state, and the controller's where there is one."""

    step: int
    states: list[dict[str, Tensor]]
    controller: ControllerState | None


@runtime_checkable
class TrainerState(Protocol):
    """What is read of the Trainer's own state."""

    global_step: int
    is_world_process_zero: bool
    stateful_callbacks: Mapping[str, Any]


@runtime_checkable
class TrainerArguments(Protocol):
    """What is read of the Trainer's settings."""

    output_dir: str


class Regulariser(TrainerCallback, ExportableState):
    """Applies each entry's method with its mode and strength λ; one application per optimizer step.

    - *gradient*: adds λ ∂R/∂w to the gradients, after unscaling and clipping, before the step;
    - *decoupled*: `w ← w − lr λ ∂R/∂w` after the step, past the optimiser's rescaling;
    - *proximal*: `n_g ← max(0, n_g − lr λ slope_g)` after the step; groups become exactly zero.

    What a method gives beside its slopes: a *pull* on the member tensors is added to ∂R/∂w, in the gradient and
    decoupled modes. A *keep* mask holds in every mode: after the step all members of the groups that are not kept are
    zero, those that are frozen beside a trained one too, and so are the optimiser's moments of their elements, so
    that nothing brings them back; state of other shapes, as Adafactor has it, stays, and a warning says
    so. A strength of 0 switches an entry off, masks included.

    The penalty of every coupling at the last step is in `values`.

    λ rises linearly from 0 over the first `ramp` steps; a controller, where given, multiplies it. Gradients are
    averaged between processes before the step and weights are equal in all of them, so under DDP every process
    applies the same closed form and nothing is communicated. Under FSDP2 every process has some rows of the weights:
    norms are those of whole groups, by one sum over the processes for each member, and each process changes its rows.
    The Trainer's callback takes up the parameters of the model that the Trainer trains, which FSDP2 replaces.

    Args:
        model: the model being trained (unwrapped).
        plan: its plan.
        ramp: steps until the full strength.
        controller: adapts each coupling's strength while training.

    Raises:
        InputError: the plan is for another model. While training: a method's update does not fit its coupling, or
            gives a pull in the proximal mode or beside a controller, which act on norms only.

    Example:
        In a loop of your own, `handle = Regulariser(model, plan).attach(optimizer)`; with the Trainer,
        `trainer.add_callback(Regulariser(model, plan))`.
    """

    everywhere: ClassVar[bool] = True  # of several processes that train together, each applies it

    def __init__(self, model: nn.Module, plan: Plan, ramp: int = 0, controller: Controller | None = None) -> None:
        self.plan, self.ramp, self.controller, self.step = plan, ramp, controller, 0
        self.groups = plan.bind(model)
        self.states: list[State] = [e.method.init(g) for e, g in zip(plan.entries, self.groups, strict=True)]
        self.values: dict[str, Tensor] = {}
        self._warned = False
        self._given = self.groups  # of the model that was given
        self._masks: dict[int, Tensor] = {}  # what the updates of this step keep, by entry

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
            update, factors = self._asked(i, entry, groups)
            strength = entry.strength * self.pace
            factors = factors * strength
            if scale is not None:
                factors = factors * scale.to(factors.device)
            for view, fresh in groups.counted:
                weight = groups.tensors[view.param]
                if weight.grad is not None:
                    add_scaled_member_(weight.grad, weight, (view, fresh), factors)
            for weight, pull in _pulls(update, groups):
                if weight.grad is not None:
                    grad, pull = _here(weight.grad, pull)
                    grad.add_(pull if scale is None else pull * scale.to(pull), alpha=strength)

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        """Shrinks the groups of *decoupled* and *proximal* entries, then masks. Call after `optimizer.step()`."""
        rates = _learning_rates(optimizer)
        for mode in (Mode.DECOUPLED, Mode.PROXIMAL):
            for i, entry, groups in self._active(mode):
                moving = [member for member in groups.members if id(groups.tensors[member[0].param]) in rates]
                if moving:  # a frozen coupling stays; one that is frozen in part moves in its other members
                    self._move(i, entry, groups, moving, rates)
        for i, keep in self._masks.items():  # after all moves: couplings overlap, and a pull moves zeros
            if any(id(tensor) in rates for tensor in self.groups[i].tensors.values()):
                mask_(self.groups[i], keep, optimizer)
                self._warn_of_unmasked(self.groups[i], optimizer)
        self._masks.clear()
        self.step += 1

    def _warn_of_unmasked(self, groups: Groups, optimizer: Optimizer) -> None:
        """Says once what of the optimiser's state no mask fits."""
        if self._warned or (found := unmasked_state(groups, optimizer)) is None:
            return
        self._warned = True
        warnings.warn(
            f"{found}: no mask fits it, so it is left as it is. Masked weights are zero after every step all the same, "
            "but may move again once the masks are lifted",
            TpruneWarning,
            stacklevel=2,
        )

    def _move(self, i: int, entry: Entry, groups: Groups, moving: Sequence[Member], rates: Mapping[int, float]) -> None:
        rate = max(rates[id(groups.tensors[view.param])] for view, _ in moving)
        update, factors = self._asked(i, entry, groups)
        scale = 1 - rate * entry.strength * self.pace * factors
        if entry.mode is Mode.PROXIMAL:
            scale = scale.clamp_min(0)
        groups.scale_(scale, [m for m in moving if m[0].role is not Role.BIAS])
        if entry.mode is Mode.PROXIMAL:  # an empty group loses its biases too, so that what is cut is already silent
            alive = (scale * groups.norms > 0).to(scale.dtype)
            groups.scale_(alive, [m for m in moving if m[0].role is Role.BIAS])
        for weight, pull in _pulls(update, groups):
            if id(weight) in rates:
                own, pull = _here(weight, pull)
                own.sub_(pull, alpha=rate * entry.strength * self.pace)

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
        """What the Trainer writes into the JSON of its checkpoints; `on_save` writes the tensors beside it."""
        mine, packed = self.state_dict(), pack(self.states)
        couplings = [entry.coupling.name for entry in self.plan.entries]
        return {"args": {}, "attributes": {**mine, "states": described(packed), "couplings": couplings}}

    def on_save(self, args: TrainerArguments, state: TrainerState, control: object, **_: object) -> None:
        """Writes the methods' states into the checkpoint that the Trainer has just written."""
        if state.is_world_process_zero:
            write(pack(self.states), Path(args.output_dir, f"checkpoint-{state.global_step}"))

    def on_train_begin(self, args: TrainerArguments, state: TrainerState, control: object, **kwargs: object) -> None:
        """Takes up the step and states of a resumed Trainer, and the parameters that FSDP2 has made of the model's.

        Raises:
            InputError: the methods' states are missing beside the checkpoint, or damaged.
        """
        self._bind_sharded(kwargs.get("model"))
        saved = state.stateful_callbacks.get(type(self).__name__, [])
        given = getattr(args, "resume_from_checkpoint", None)
        folders = [Path(args.output_dir, f"checkpoint-{state.global_step}"), *([Path(given)] if given else [])]
        for one in saved if isinstance(saved, list) else [saved]:
            found = dict(one["attributes"])
            if state.global_step and found.pop("couplings") == [e.coupling.name for e in self.plan.entries]:
                states = states_in(found["states"], len(self.states), folders)
                self.load_state_dict({"step": found["step"], "states": states, "controller": found.get("controller")})
        self.step = state.global_step

    def on_train_end(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
        """Goes back to the parameters of the model that was given."""
        self.groups = self._given

    def _bind_sharded(self, model: object) -> None:
        """Binds the plan to a model with sharded parameters, which are others than those of the given model."""
        if isinstance(model, nn.Module) and any(is_sharded(p) for p in model.parameters()):
            self.groups = self.plan.bind(model)

    def on_pre_optimizer_step(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
        """The Trainer's hook after clipping."""
        self.before_step()

    def on_optimizer_step(self, args: object, state: TrainerState, control: object, **kwargs: object) -> None:
        """The Trainer's hook after the optimizer's step."""
        self.after_step(cast(Optimizer, kwargs["optimizer"]))

    def _active(self, mode: Mode) -> Iterable[tuple[int, Entry, Groups]]:
        entries = zip(self.plan.entries, self.groups, strict=True)
        return [(i, e, g) for i, (e, g) in enumerate(entries) if e.mode is mode and e.strength > 0]

    def _asked(self, i: int, entry: Entry, groups: Groups) -> tuple[Update, Tensor]:
        """The update and, by group, what a weight is multiplied by to give ∂R/∂w.

        That is `f slope_g / n_g`, with the controller's f, and 0 for empty groups.
        """
        update, self.states[i] = entry.method.update(groups.refresh(), self.states[i], self.step)
        update.check(groups)
        name = entry.coupling.name
        if update.pull is not None and (entry.mode is Mode.PROXIMAL or self.controller):
            why = "a controller steers norms" if self.controller else "the proximal mode shrinks norms"
            raise InputError(
                f"coupling {name}: {type(entry.method).__name__} pulls single weights, but {why}; "
                "expected the gradient or decoupled mode and no controller"
            )
        self.values[name] = update.value
        if update.keep is not None:
            self._masks[i] = update.keep
        norms = groups.norms
        slope = self.controller.steer(i, norms, update.slope, self.step) if self.controller else update.slope
        return update, torch.where(
            norms > 0, slope / norms.clamp_min(torch.finfo(norms.dtype).tiny), torch.zeros_like(norms)
        )


def _pulls(update: Update, groups: Groups) -> list[tuple[Tensor, Tensor]]:
    """Every member tensor once, whatever its names, with the pull on it."""
    pulls = {id(groups.tensors[name]): (groups.tensors[name], pull) for name, pull in (update.pull or {}).items()}
    return list(pulls.values())


def _here(tensor: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
    """What this process has of a tensor, and of the pull on it, which is whole or sharded like it."""
    if not is_sharded(tensor):
        return tensor, pull.to(tensor)
    rows = rows_of(tensor)
    if is_sharded(pull):
        return rows.tensor, rows_of(pull).tensor.to(rows.tensor)
    return rows.tensor, pull[rows.start : rows.start + len(rows.tensor)].to(rows.tensor)


def _learning_rates(optimizer: Optimizer) -> dict[int, float]:
    """The learning rate of every parameter, by identity; works on accelerate's wrapped optimizers too."""
    return {id(p): float(group["lr"]) for group in optimizer.param_groups for p in group["params"]}
