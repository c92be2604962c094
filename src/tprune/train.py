"""Training and fine-tuning through transformers' Trainer: token batches, smoothing or distillation, resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from tprune.errors import DivergedError
from tprune.tasks.translation import IGNORED, Collate, EncodedPairs, TokenBatches


@dataclass(frozen=True)
class Training:
    """How one stage trains. `distill` is the weight of the teacher's word distributions in the loss (0: labels only)."""

    steps: int
    lr: float = 3e-3
    warmup: int = 400
    tokens: int = 2048
    smoothing: float = 0.1
    distill: float = 0.0
    weight_decay: float = 0.0
    clip: float = 1.0
    precision: str = "auto"
    seed: int = 0
    eval_every: int = 0
    patience: int = 0
    schedule: str = "cosine"  # of the learning rate, by transformers' name for it


class TranslationTrainer(Trainer):
    """`Trainer` over token batches, with label smoothing and word-level distillation while training, plain NLL in evaluation."""

    def __init__(self, *args: Any, how: Training, pad: int, teacher: nn.Module | None = None, **kwargs: Any) -> None:
        self.how, self.pad, self.teacher = how, pad, teacher
        super().__init__(*args, **kwargs)
        self.model_accepts_loss_kwargs = False  # the loss below is a mean over its own batch

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Batches of `how.tokens` tokens, exactly as many as the stage has steps."""
        data: Any = self.train_dataset
        micro = self.how.steps * self.args.gradient_accumulation_steps
        sampler = TokenBatches(data.lengths, self.how.tokens, batches=micro, seed=self.how.seed)
        return self._prepared(DataLoader(data, batch_sampler=sampler, collate_fn=Collate(self.pad)))

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """Every validation pair once."""
        data: Any = eval_dataset if eval_dataset is not None else self.eval_dataset
        sampler = TokenBatches(data.lengths, 4 * self.how.tokens)
        return self._prepared(DataLoader(data, batch_sampler=sampler, collate_fn=Collate(self.pad)))

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
            tokens = (inputs["labels"] != IGNORED).sum()
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
        outputs = model(**inputs)
        training = model.training
        loss = token_loss(outputs.logits, inputs["labels"], self.how.smoothing if training else 0.0)
        if training and self.teacher is not None and self.how.distill:
            with torch.no_grad():
                taught = self.teacher(**inputs).logits
            loss = (1 - self.how.distill) * loss + self.how.distill * word_distillation(
                outputs.logits, taught, inputs["labels"]
            )
        if training and not torch.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1} of {self.how.steps} (lr {self.how.lr:g}); "
                "try a lower lr. Earlier checkpoints and stages are untouched"
            )
        return (loss, outputs) if return_outputs else loss


def token_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy per target token (nats), labels `-100` ignored."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
    )


def word_distillation(student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Word-level distillation, mean over target tokens of CE(teacher ‖ student) (Kim & Rush, 2016)."""
    kept = labels.flatten() != IGNORED
    target = teacher.flatten(0, 1)[kept].float().softmax(-1)
    return F.cross_entropy(student.flatten(0, 1)[kept].float(), target)


def faster_in_bf16(model: nn.Module, data: EncodedPairs, pad: int, tokens: int, tries: int = 3) -> bool:
    """Times forward and backward of the same batch in fp32 and under bf16 autocast; true where bf16 is ≥ 5 % faster."""
    sampler = TokenBatches(data.lengths, tokens)
    rows = list(sampler)[len(sampler) // 2]
    batch = {k: v.to(next(model.parameters()).device) for k, v in Collate(pad)([data[i] for i in rows]).items()}
    device = next(model.parameters()).device.type
    best = {False: math.inf, True: math.inf}
    for _ in range(tries):
        for bf16 in (False, True):
            start = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=bf16):
                torch.autograd.backward(token_loss(model(**batch).logits, batch["labels"]))
            best[bf16] = min(best[bf16], time.perf_counter() - start)
    model.zero_grad(set_to_none=True)
    return best[True] < 0.95 * best[False]


def train(
    model: nn.Module,
    data: EncodedPairs,
    valid: EncodedPairs,
    how: Training,
    out: Path,
    *,
    teacher: nn.Module | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    save_every: int = 0,
) -> list[dict[str, float]]:
    """Trains `model` in place for `how.steps` steps and returns the log; resumes from the last checkpoint in `out`.

    With `how.eval_every` the weights with the lowest validation loss (nats per token) are the ones kept at the end.

    Raises:
        DivergedError: the loss is not finite any more; `model` is then of no use, checkpoints are.
    """
    pad = int(model.config.pad_token_id)  # type: ignore[union-attr,arg-type]
    use_cache = model.config.use_cache  # type: ignore[union-attr]
    bf16 = use_bf16(model, data, how, out)
    every = how.eval_every
    arguments = TrainingArguments(
        output_dir=str(out), max_steps=how.steps, learning_rate=how.lr, warmup_steps=how.warmup, lr_scheduler_type=how.schedule,
        weight_decay=how.weight_decay, max_grad_norm=how.clip, adam_beta2=0.98, bf16=bf16, seed=how.seed, data_seed=how.seed,
        use_cpu=not torch.cuda.is_available(), report_to=[], disable_tqdm=True, logging_steps=max(1, min(100, how.steps // 20)),
        eval_strategy="steps" if every else "no", eval_steps=every or None,
        save_strategy="steps" if (every or save_every) else "no", save_steps=every or save_every or 500, save_total_limit=2,
        load_best_model_at_end=bool(every), metric_for_best_model="eval_loss", greater_is_better=False,
        prediction_loss_only=True, remove_unused_columns=False, dataloader_pin_memory=False,
    )  # fmt: skip
    extra = [EarlyStoppingCallback(early_stopping_patience=how.patience)] if every and how.patience else []
    trainer = TranslationTrainer(
        model, arguments, train_dataset=data, eval_dataset=valid, callbacks=[*callbacks, *extra],
        how=how, pad=pad, teacher=teacher.eval() if teacher is not None else None,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    try:
        trainer.train(resume_from_checkpoint=last_checkpoint(out))
    finally:  # the Trainer leaves its autocast around `forward`, and the cache switched off
        trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        model.config.use_cache = use_cache  # type: ignore[union-attr]
    log: list[dict[str, float]] = trainer.state.log_history
    return log


def use_bf16(model: nn.Module, data: EncodedPairs, how: Training, out: Path) -> bool:
    """Whether to train under bf16 autocast; what `auto` finds is noted in `out`, so that a resumed run goes on alike."""
    if how.precision != "auto":
        return how.precision == "bf16"
    note = out / "precision.txt"
    if not note.is_file():
        pad = int(model.config.pad_token_id)  # type: ignore[union-attr,arg-type]
        found = "bf16" if faster_in_bf16(model, data, pad, how.tokens) else "fp32"
        out.mkdir(parents=True, exist_ok=True)
        note.write_text(found, encoding="utf-8")
    return note.read_text(encoding="utf-8") == "bf16"


def last_checkpoint(out: Path) -> str | None:
    """The newest complete checkpoint in a folder; one that was being written when the process died is passed over."""
    written = [path.parent for path in out.glob("checkpoint-*/trainer_state.json")]  # the Trainer writes this file last
    complete = [path for path in written if path.name.removeprefix("checkpoint-").isdecimal()]
    return str(max(complete, key=lambda path: int(path.name.removeprefix("checkpoint-")))) if complete else None
