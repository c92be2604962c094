"""transformers' Trainer over token batches, on one process or several, with smoothing and distillation."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import Trainer

from tprune.core.labels import IGNORED
from tprune.core.task import Batch, HasStates, KeepsOutputs, Task
from tprune.support.errors import DivergedError
from tprune.tasks.batches import TokenBatches
from tprune.train.losses import MixedTargetSampler, Width, distillation_loss, hidden_distillation
from tprune.train.schedule import TrainingConfig, rewound
from tprune.train.sharding import drive_on_cpus
from tprune.train.shares import OWN, shares


class TaskTrainer(Trainer):
    """`Trainer` over token batches, with label smoothing and distillation while training, plain NLL in evaluation.

    On several processes each has some rows of every batch. Losses and gradients are those of the whole batch, so that
    a model is trained as by one process, up to rounding and dropout.
    """

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
        if self.teacher is not None:
            self.teacher.to(self.args.device)
        self.shares = shares(self.args.device)
        self.model_accepts_loss_kwargs = False  # the loss below is a mean over its own batch

    def create_accelerator_and_postprocess(self) -> None:
        """The accelerator of `Trainer`, which drives FSDP2 on CPUs too."""
        super().create_accelerator_and_postprocess()
        drive_on_cpus(self)

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
        return self._loader(data, sampler)

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
        return self._loader(data, TokenBatches(data.lengths, 4 * self.how.batch_tokens))

    @torch.no_grad()
    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean negative log-likelihood per target token over the whole set (`Trainer` has the mean over batches)."""
        model: Any = self.model
        training, totals = model.training, torch.zeros(2, dtype=torch.float64)  # on the CPU: MPS has no such numbers
        model.eval()
        for batch in self.get_eval_dataloader(eval_dataset):
            inputs, own = _own(self._prepare_inputs(batch))
            tokens = self._counted(inputs, own)
            with self.compute_loss_context_manager():
                loss = self.compute_loss(model, inputs)
            said, count = loss.cpu().double(), tokens.cpu().double()
            totals += torch.stack([said * count, count])
        model.train(training)
        loss, tokens = totals if self.shares is None else self.shares.sum(totals.to(self.args.device)).cpu()
        metrics = {f"{metric_key_prefix}_loss": float(loss / tokens)}
        self.log(metrics)
        self.control: Any = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def compute_loss(self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, **_: Any) -> Any:
        """Mean negative log-likelihood per target token; smoothed and distilled while training."""
        training = model.training
        inputs, own = _own(inputs)
        hidden = bool(training and self.teacher is not None and self.how.hidden_distillation)
        model = _like(model, self.model)
        outputs, smoothing = self.task.run(model, inputs, hidden=hidden), self.how.label_smoothing if training else 0.0
        expected = None
        if training and self.teacher is not None:
            with torch.no_grad():
                expected = self.task.run(self.teacher, inputs, hidden=hidden)
        if expected is not None and self.how.distill and not isinstance(self.task, KeepsOutputs):
            labels = self.task.labels(inputs)
            loss = distillation_loss(outputs.logits, expected.logits, labels, self.how.distill, smoothing)
        else:
            loss = self.task.loss(outputs.logits, inputs, smoothing)
        if training:
            loss = self._of_all(loss, self._counted(inputs, own))
        if expected is not None and hidden:
            loss = loss + self.how.hidden_distillation * self._hidden(outputs, expected, inputs, own)
        if training:
            self._check_finite(loss)
        return (loss, outputs) if return_outputs else loss

    def _loader(self, data: Any, batches: Any) -> DataLoader[Any]:
        collate = partial(self.task.collate, pad=self.pad)
        if self.shares is not None:
            return self.shares.loader(data, batches, collate)
        prepared: DataLoader[Any] = self.accelerator.prepare(
            DataLoader(data, batch_sampler=batches, collate_fn=collate)
        )
        return prepared

    def _counted(self, inputs: Batch, own: bool) -> Tensor:
        """How many outputs of a batch count: none of rows that stand in for a process without any."""
        return (self.task.labels(inputs) != IGNORED).sum() * own

    def _of_all(self, loss: Tensor, count: Tensor) -> Tensor:
        """The loss, weighted such that its mean over the processes is the mean over all outputs of the batch."""
        return loss if self.shares is None else loss * self.shares.weight(count).to(loss)

    def _hidden(self, outputs: Any, expected: Any, inputs: Any, own: bool) -> Tensor:
        assert isinstance(self.task, HasStates)  # `check_hidden` refused others
        mine, theirs = (self.task.states(each, inputs) for each in (outputs, expected))
        if self.shares is None:
            return hidden_distillation(mine, theirs, self.width)
        mine = [states._replace(kept=states.kept & own) for states in mine]
        return self.shares.size * hidden_distillation(mine, theirs, self.width, self.shares.sum)

    def _check_finite(self, loss: Tensor) -> None:
        """Raises `DivergedError`, in all processes where it is so in one."""
        odd = ~torch.isfinite(loss.detach())
        if self.shares is not None:
            odd = self.shares.sum(odd.float()) > 0
        if odd:
            raise DivergedError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1} of {self.how.steps} (lr "
                f"{self.how.lr:g}); try a lower lr. Earlier checkpoints and stages are untouched"
            )


def _own(batch: Any) -> tuple[dict[str, Any], bool]:
    """A batch, and whether its rows are this process's own."""
    rows = {key: value for key, value in batch.items() if key != OWN}
    return rows, bool(batch.get(OWN, True))


def _like(wrapped: nn.Module, model: Any) -> nn.Module:
    """A model that was wrapped for several processes, with what tasks ask of the model itself."""
    if wrapped is not model:
        for name in ("config", "prepare_decoder_input_ids_from_labels"):
            if hasattr(model, name) and not hasattr(wrapped, name):
                setattr(wrapped, name, getattr(model, name))
    return wrapped
