"""One training with all that it needs, as it is carried out in every process that takes part."""

from __future__ import annotations

import copy
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import EarlyStoppingCallback, PrinterCallback, TrainerCallback, TrainingArguments

from tprune.core.task import Examples, Task
from tprune.support.devices import Placement, placement
from tprune.support.machine import training_precision
from tprune.tasks.padding import pad_of
from tprune.train.checkpoints import Manifests
from tprune.train.losses import Width
from tprune.train.one_process import own_places, processes
from tprune.train.schedule import TrainingConfig
from tprune.train.sharding import arguments, gather_, shard_
from tprune.train.shares import OwnDropout
from tprune.train.task_trainer import TaskTrainer


@dataclass(frozen=True)
class OneTraining:
    """What `tprune.train.trainer.train` is asked for, checked; see there.

    Attributes:
        begin: the checkpoint to go on from; None for none.
        where: the device, and whether the model is sharded.
    """

    model: nn.Module
    data: Examples
    valid: Examples
    how: TrainingConfig
    out: Path
    task: Task
    teacher: nn.Module | None
    width: Width | None
    callbacks: tuple[TrainerCallback, ...]
    save_every: int
    begin: str | None
    where: Placement

    @staticmethod
    def of(
        model: nn.Module,
        data: Examples,
        valid: Examples,
        how: TrainingConfig,
        out: Path,
        task: Task,
        teacher: nn.Module | None,
        width: Width | None,
        callbacks: tuple[TrainerCallback, ...],
        save_every: int,
        begin: str | None,
    ) -> OneTraining:
        """What was asked for, on the chosen device, in a precision that is known by name."""
        how = replace(how, precision=training_precision(how.precision))
        asked = (model, data, valid, how, out, task, teacher, width, callbacks, save_every, begin)
        return OneTraining(*asked, placement())

    def for_others(self) -> OneTraining:
        """The part of the processes that do not lead: callbacks that watch are of the leading one alone."""
        return replace(self, callbacks=tuple(c for c in self.callbacks if getattr(c, "everywhere", False)))

    @property
    def sharded(self) -> bool:
        """Whether each process has a part of the weights: asked for, and no callback reads whole ones meanwhile."""
        return self.where.sharded and processes() > 1 and not any(getattr(c, "whole", False) for c in self.callbacks)

    def carry_out(self) -> list[dict[str, float]]:
        """Trains the model in place, and returns the log. Raises `DivergedError` as `train`."""
        with own_places(), _home_again(self.model, self.teacher):
            if not self.sharded:
                return self._train(self.model)
            twin = copy.deepcopy(self.model)
            shard_(twin, self.where.device, self.how.precision == "bf16")
            log = self._train(twin)
            gather_(self.model, twin)
            return log

    def _train(self, model: nn.Module) -> list[dict[str, float]]:
        config: Any = getattr(model, "config", None)
        use_cache = getattr(config, "use_cache", None)
        trainer = TaskTrainer(
            model,
            self._arguments(),
            train_dataset=self.data,
            eval_dataset=self.valid,
            callbacks=[*self.callbacks, Manifests(), *self._stopping()],
            how=self.how,
            task=self.task,
            pad=pad_of(model),
            teacher=self.teacher.eval() if self.teacher is not None else None,
            width=self.width,
        )
        trainer.remove_callback(PrinterCallback)
        if trainer.shares is not None:
            trainer.add_callback(OwnDropout(trainer.shares))
        try:
            trainer.train(resume_from_checkpoint=self.begin)
        finally:  # the Trainer leaves its autocast around `forward`, and the cache switched off
            trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
            if use_cache is not None:
                config.use_cache = use_cache
        log: list[dict[str, float]] = trainer.state.log_history
        if trainer.shares is not None:
            _unwrap_(trainer)
        return log

    def _arguments(self) -> TrainingArguments:
        """The settings of a stage in the words of `Trainer`, which saves where it evaluates."""
        how, every = self.how, self.how.eval_every
        found = TrainingArguments(
            output_dir=str(self.out),
            max_steps=how.steps,
            learning_rate=how.lr,
            warmup_steps=how.warm_up,
            lr_scheduler_type=how.schedule,
            weight_decay=how.weight_decay,
            max_grad_norm=how.clip,
            adam_beta2=0.98,
            bf16=how.precision == "bf16",
            seed=how.seed,
            data_seed=how.seed,
            use_cpu=self.where.device == "cpu",
            report_to=[],
            disable_tqdm=True,
            logging_steps=max(1, min(100, how.steps // 20)),
            eval_strategy="steps" if every else "no",
            eval_steps=every or None,
            save_strategy="steps" if (every or self.save_every) else "no",
            save_steps=every or self.save_every or 500,
            save_total_limit=2,
            load_best_model_at_end=bool(every),
            metric_for_best_model="eval_loss",
            greater_is_better=False,
            prediction_loss_only=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            **(arguments() if self.sharded else {}),
        )
        found._n_gpu = min(1, found.n_gpu)  # a process trains on one GPU; several are for several processes
        return found

    def _stopping(self) -> list[TrainerCallback]:
        """What ends a stage whose validation loss falls no more, where it is to end so."""
        how = self.how
        return [EarlyStoppingCallback(early_stopping_patience=how.patience)] if how.eval_every and how.patience else []


@contextmanager
def _home_again(*models: nn.Module | None) -> Iterator[None]:
    """Moves models back to where they were: a Trainer leaves them on its device."""
    homes = [(model, _device(model)) for model in models if model is not None]
    try:
        yield
    finally:
        for model, home in homes:
            if home is not None and _device(model) != home:
                model.to(home)


def _device(model: nn.Module) -> torch.device | None:
    return next((tensor.device for tensor in model.parameters()), None)


def _unwrap_(trainer: Any) -> None:
    """Lets go of what wraps the model for several processes: its hooks would wait for the others in any backward."""
    trainer.accelerator.free_memory()
    trainer.model_wrapped = trainer.callback_handler.model = trainer.callback_handler.optimizer = None
    gc.collect()
