"""Trained from scratch at the same speed and compute: a narrower model, and a student with a shallow decoder.

The student learns the dense model's own translations (sequence-level distillation), the narrower one what the pruned
models learn. What pruned models have from the dense one, a model from scratch has to learn: so there also is a student
with the compute of the dense model's training on top.

Weights are Xavier-uniform and embeddings have unit variance after scaling. From Marian's N(0, 0.02) at learning rate
2e-3 (the dense model's) all positions of a post-norm encoder above a single decoder layer became alike within 50 steps,
and stayed so: the mean cosine between them was above 0.999 with 3 layers and with 6. From Xavier's at 1e-3 it is 0.60
after 400 steps with 3; with 6 it collapsed again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import MarianConfig, MarianMTModel

from benchmarks.peers.job import Job, Made, Recovery, if_off
from tprune.families.registry import family_of
from tprune.support.errors import InputError, UnreachableError

RATES = {"lr": 1e-3, "warmup": 400}
DROPOUT = 0.1  # small models on a short schedule underfit rather than overfit
DENSE = 3 * 4000.0  # units of the recipe that trains the dense model
STEP = 16  # of the width, and of the FFN size


def narrower(job: Job) -> Made:
    """The dense model's depth, a smaller residual width, and four times that as FFN."""
    config = job.dense.config
    return _of_speed(job, (config.encoder_layers, config.decoder_layers))


def student(job: Job) -> Made:
    """Kasai et al., Deep encoder, shallow decoder, 2021; Kim and Rush, Sequence-level knowledge distillation, 2016."""
    return _of_speed(job, (job.dense.config.encoder_layers, 1))


def from_references(job: Job) -> Recovery:
    """The pruned models' recipe at the rates of training from scratch."""
    return Recovery(job.recovery.stage.model_copy(update=RATES), job.recovery.material)


def from_translations(job: Job) -> Recovery:
    """The teacher's translations instead of its word distributions, which cost no passes of it.

    Raises:
        InputError: the job has no translations.
    """
    if job.taught is None:
        raise InputError("the student learns the dense model's translations: give them with --taught FILE")
    how = from_references(job)
    return dataclasses.replace(how, stage=how.stage.model_copy(update={"distill": 0.0}), material=job.taught)


def as_long_as_dense(job: Job) -> Recovery:
    """The student's, with the units of the dense model's training on top; so long it may overfit."""
    how = from_translations(job)
    return dataclasses.replace(how, stage=how.stage.model_copy(update={"dropout": 2 * DROPOUT}), extra=DENSE)


def untrained(dense: Any, layers: tuple[int, int], width: int, ffn: int) -> Any:
    """A stock Marian of another shape, everything else as in the dense model."""
    given = {k: v for k, v in dense.config.to_dict().items() if k not in ("pruned", "model_type", "architectures")}
    shape = {
        "d_model": width,
        "encoder_layers": layers[0],
        "decoder_layers": layers[1],
        "encoder_ffn_dim": ffn,
        "decoder_ffn_dim": ffn,
        "dropout": DROPOUT,
        "num_hidden_layers": layers[0],
    }
    model = MarianMTModel(MarianConfig(**{**given, **shape}))
    embedding = model.get_input_embeddings()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "embed" not in name and weight is not embedding.weight:
                torch.nn.init.xavier_uniform_(weight)
        embedding.weight.normal_(0.0, width**-0.5)
        embedding.weight[embedding.padding_idx] = 0.0
    family_of(dense).inherit(dense, model)
    return model


def largest(values: Sequence[int], fits: Callable[[int], bool]) -> int | None:
    """The largest of ascending values that fits, by bisection; None where the first does not.

    Example:
        >>> largest([1, 2, 3, 4], lambda v: v * v < 10)
        3
    """
    low, high = -1, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(values[middle]) else (low, middle)
    return values[low] if low >= 0 else None


def _of_speed(job: Job, layers: tuple[int, int]) -> Made:
    def speedup(width: int, ffn: int) -> float:
        return job.speed.of_model(untrained(job.dense, layers, width, ffn))

    dense = job.dense.config
    step = min(STEP, dense.encoder_attention_heads)
    # a shallow model may be wider than the dense one; two steps of 16 are the least
    widths = range(2 * step, 2 * dense.d_model + 1, step)
    width = largest(widths, lambda w: speedup(w, 4 * w) >= job.target)
    if width is None:
        raise UnreachableError(f"{layers[0]}+{layers[1]} layers of width {widths[0]} are slower than {job.target:g}x")
    sizes = range(4 * width, 16 * width + 1, step)
    ffn = largest(sizes, lambda f: speedup(width, f) >= job.target) or 4 * width  # fills what the width leaves
    torch.manual_seed(job.seed)
    model = untrained(job.dense, layers, width, ffn)
    found, shape = job.speed.of_model(model), f"{layers[0]}+{layers[1]} layers, width {width}, FFN {ffn}"
    return Made(model, found, notes=(shape, *if_off(job, found, "no larger FFN was tried")))
