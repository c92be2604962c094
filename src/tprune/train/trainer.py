"""Training and fine-tuning through transformers' Trainer: token batches, smoothing and distillation, resumable."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from tprune.core.known_tasks import task_of
from tprune.core.labels import IGNORED
from tprune.core.task import Examples, HasStates, KeepsOutputs, Task
from tprune.support.errors import DivergedError, InputError
from tprune.support.machine import training_precision
from tprune.tasks.batches import TokenBatches
from tprune.tasks.padding import pad_of
from tprune.train.checkpoints import Manifests, last_checkpoint
from tprune.train.losses import (
    MixedTargets,
    MixedTargetSampler,
    Width,
    check_hidden,
    distillation_loss,
    hidden_distillation,
)
from tprune.train.one_process import one_process
from tprune.train.schedule import TrainingConfig, rewound


class TaskTrainer(Trainer):
    """`Trainer` over token batches, with label smoothing and distillation while training, plain NLL in evaluation."""

    def __init__(
        self,
        *args: Any,
        how: TrainingConfig,
        task: Task,
        pad: int,
        teacher: nn.Module | None = None,
        width: Width | None = None,
        **kwargs: Any,
    ) -> None:
        self.how, self.task, self.pad, self.width = how, task, pad, width
        self.teacher = teacher if how.needs_teacher else None
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False  # the loss below is a mean over its own batch

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of `how.batch_tokens` tokens, exactly as many as the stage has steps."""
        data: Any = self.train_dataset
        micro = self.how.steps * self.args.gradient_accumulation_steps
        batches = TokenBatches(data.lengths, self.how.batch_tokens, batches=micro, seed=self.how.seed)
        sampler = (
            MixedTargetSampler(batches, self.how.sequence_distillation, self.how.seed)
            if self.how.sequence_distillation
            else batches
        )
        return self._prepared(
            DataLoader(data, batch_sampler=sampler, collate_fn=partial(self.task.collate, pad=self.pad))
        )

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """Linear warm-up, then a cosine to 0; with `how.rewind` the end of a longer one."""
        if not self.how.rewind:
            return super().create_scheduler(num_training_steps, optimizer)
        if self.lr_scheduler is None:  # type: ignore[has-type]  # set by the Trainer
            self.lr_scheduler = LambdaLR(optimizer or self.optimizer, partial(rewound, self.how))
            self._created_lr_scheduler = True  # as the Trainer's own, which a second `train` makes again
        return self.lr_scheduler

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Every validation pair once."""
        data: Any = eval_dataset if eval_dataset is not None else self.eval_dataset
        sampler = TokenBatches(data.lengths, 4 * self.how.batch_tokens)
        return self._prepared(
            DataLoader(data, batch_sampler=sampler, collate_fn=partial(self.task.collate, pad=self.pad))
        )

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean negative log-likelihood per target token over the whole set (`Trainer` has the mean over batches)."""
        model: Any = self.model
        training, totals = model.training, torch.zeros(2, dtype=torch.float64, device=self.args.device)
        model.eval()
        for batch in self.get_eval_dataloader(eval_dataset):
            inputs: Any = self._prepare_inputs(batch)
            tokens = (self.task.labels(inputs) != IGNORED).sum()
            with self.compute_loss_context_manager():
                loss = self.compute_loss(model, inputs)
            totals += torch.stack([loss.double() * tokens, tokens.double()])
        model.train(training)
        loss, tokens = self.accelerator.reduce(totals, "sum")
        metrics = {f"{metric_key_prefix}_loss": float(loss / tokens)}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _prepared(self, loader: DataLoader[Any]) -> DataLoader[Any]:
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """Mean negative log-likelihood per target token; smoothed and distilled while training."""
        training, expected = model.training, None
        hidden = bool(training and self.teacher is not None and self.how.hidden_distillation)
        outputs, smoothing = self.task.run(model, inputs, hidden=hidden), self.how.label_smoothing if training else 0.0
        if training and self.teacher is not None:
            with torch.no_grad():
                expected = self.task.run(self.teacher, inputs, hidden=hidden)
        if expected is not None and self.how.distill and not isinstance(self.task, KeepsOutputs):
            labels = self.task.labels(inputs)
            loss = distillation_loss(outputs.logits, expected.logits, labels, self.how.distill, smoothing)
        else:
            loss = self.task.loss(outputs.logits, inputs, smoothing)
        if expected is not None and hidden:
            assert isinstance(self.task, HasStates)  # `check_hidden` refused others
            mine, theirs = (self.task.states(each, inputs) for each in (outputs, expected))
            loss = loss + self.how.hidden_distillation * hidden_distillation(mine, theirs, self.width)
        if training and not torch.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1} of {self.how.steps} (lr "
                f"{self.how.lr:g}); try a lower lr. Earlier checkpoints and stages are untouched"
            )
        return (loss, outputs) if return_outputs else loss


@one_process()
def train(
    model: nn.Module,
    data: Examples,
    valid: Examples,
    how: TrainingConfig,
    out: Path,
    *,
    teacher: nn.Module | None = None,
    width: Width | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    save_every: int = 0,
    task: Task | None = None,
) -> list[dict[str, float]]:
    """Trains `model` in place for `how.steps` steps and returns the log; resumes from the last checkpoint in `out`.

    With `how.eval_every` the weights with the lowest validation loss (nats per token) are the ones kept at the end.

    Args:
        model: the student.
        data: what it trains on; `MixedTargets` where some targets are the teacher's translations.
        valid: sentences with references.
        how: steps, rates and weights.
        out: where checkpoints go.
        teacher: the dense model; left as it is.
        width: the residual dimensions that the student has kept of the teacher's, where it has fewer.
        callbacks: see transformers.
        save_every: steps between checkpoints.
        task: what the model is for; its own if not given.

    Raises:
        InputError: `how` asks for hidden states that cannot be compared, for a teacher or for translations that are
            missing.
        DivergedError: the loss is not finite any more; `model` is then of no use, checkpoints are.
    """
    task = task or task_of(model)
    _check(model, data, how, teacher, width, task)
    config: Any = getattr(model, "config", None)
    use_cache = getattr(config, "use_cache", None)
    trainer = TaskTrainer(
        model,
        _arguments(how, out, save_every),
        train_dataset=data,
        eval_dataset=valid,
        callbacks=[*callbacks, Manifests(), *_stopping(how)],
        how=how,
        task=task,
        pad=pad_of(model),
        teacher=teacher.eval() if teacher is not None else None,
        width=width,
    )
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train(resume_from_checkpoint=last_checkpoint(out, logging.getLogger("tprune").warning))
    finally:  # the Trainer leaves its autocast around `forward`, and the cache switched off
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        if use_cache is not None:
            config.use_cache = use_cache
    log: list[dict[str, float]] = trainer.state.log_history
    return log


def _arguments(how: TrainingConfig, out: Path, save_every: int) -> TrainingArguments:
    """The settings of a stage in the words of `Trainer`, which saves where it evaluates."""
    every = how.eval_every
    return TrainingArguments(
        output_dir=str(out),
        max_steps=how.steps,
        learning_rate=how.lr,
        warmup_steps=how.warm_up,
        lr_scheduler_type=how.schedule,
        weight_decay=how.weight_decay,
        max_grad_norm=how.clip,
        adam_beta2=0.98,
        bf16=training_precision(how.precision) == "bf16",
        seed=how.seed,
        data_seed=how.seed,
        use_cpu=not torch.cuda.is_available(),
        report_to=[],
        disable_tqdm=True,
        logging_steps=max(1, min(100, how.steps // 20)),
        eval_strategy="steps" if every else "no",
        eval_steps=every or None,
        save_strategy="steps" if (every or save_every) else "no",
        save_steps=every or save_every or 500,
        save_total_limit=2,
        load_best_model_at_end=bool(every),
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        prediction_loss_only=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )


def _stopping(how: TrainingConfig) -> list[TrainerCallback]:
    """What ends a stage whose validation loss falls no more, where it is to end so."""
    return [EarlyStoppingCallback(early_stopping_patience=how.patience)] if how.eval_every and how.patience else []


def _check(
    model: nn.Module, data: Examples, how: TrainingConfig, teacher: nn.Module | None, width: Width | None, task: Task
) -> None:
    if how.sequence_distillation and not isinstance(data, MixedTargets):
        raise InputError(
            f"sequence_distillation: a share of {how.sequence_distillation:g} needs the teacher's translations beside "
            "the references"
        )
    if isinstance(data, MixedTargets) and not how.sequence_distillation:
        raise InputError(
            "sequence_distillation: 0, but the training set holds the teacher's translations; give the references alone"
        )
    if how.needs_teacher and teacher is None:
        raise InputError(
            f"distill {how.distill:g}, hidden_distillation {how.hidden_distillation:g}: a teacher is needed"
        )
    if how.hidden_distillation:
        check_hidden(model, teacher, width, task)


@contextmanager
def dropout_at(model: nn.Module, rate: float | None) -> Iterator[None]:
    """Sets the dropout of a model, wherever it has any, for a while; None leaves it as it is."""
    named = [(m, "p" if isinstance(m, nn.Dropout) else "dropout") for m in model.modules()]
    before = [(m, name, getattr(m, name)) for m, name in named if isinstance(getattr(m, name, None), float)]
    try:
        if rate is not None:
            for module, name, old in before:
                setattr(module, name, rate if old else old)
        yield
    finally:
        for module, name, old in before:
            setattr(module, name, old)
