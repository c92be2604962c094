"""Models that run in one pass, as they are: inputs as the task gives them, one output, the logits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from tprune.core.graph import BATCH, TOKENS, Dialect, Signature, TensorSpec
from tprune.core.positions import most_samples, most_tokens
from tprune.core.task import Batch, Task
from tprune.families.graphs.graph import Graph, weights
from tprune.support.errors import InputError

# how transformers' own code is to write attention
WRITTEN: Mapping[Dialect, str] = {"onnx23": "sdpa", "plain": "sdpa", "masked": "eager"}
ROWS = 3  # of the example: more than 1, which torch.export takes for a constant


class Pass(nn.Module):
    """A model's inputs, in the order of `names`, to its logits."""

    def __init__(self, model: nn.Module, task: Task, names: Sequence[str], dialect: Dialect = "onnx23") -> None:
        super().__init__()
        self.model, self.task, self.names, self.attention = model, task, tuple(names), WRITTEN[dialect]

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """See the class."""
        with _attention(self.model, self.attention):
            return self.task.run(self.model, dict(zip(self.names, inputs, strict=True))).logits


@contextmanager
def _attention(model: Any, name: str) -> Iterator[None]:
    """Inside the block, transformers' code writes attention in this way; other models are left alone."""
    before = getattr(getattr(model, "config", None), "_attn_implementation", None)
    if before in (None, name):
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@dataclass(frozen=True)
class SinglePass:
    """One graph, `model`: the inputs of the task's prompt to logits. The batch is free, and the length of sequences."""

    name: ClassVar[str] = "single-pass"
    searched: ClassVar[bool] = False
    phases: ClassVar[tuple[str, ...]] = ("pass",)

    def matches(self, model: nn.Module) -> bool:
        """Every model runs in one pass."""
        return True

    def check(self, model: nn.Module) -> None:
        """Raises `InputError` for a model that generates step by step from an encoder."""
        if getattr(getattr(model, "config", None), "is_encoder_decoder", False):
            from tprune.families.graphs.encoder_decoder import CLASSES

            known = ", ".join(sorted(one.__name__ for one in CLASSES))
            raise InputError(f"no graphs are known of this encoder-decoder; expected one of {known}")

    def limits(self, model: Any) -> Mapping[str, int]:
        """The positions of a model of transformers; of one that reads signals, samples."""
        most = most_tokens(model) or most_samples(model)
        return {} if most is None else {TOKENS: most}

    def graphs(
        self, model: nn.Module, task: Task, inputs: Batch, dialect: Dialect, rows: Sequence[int] = ()
    ) -> tuple[Graph, ...]:
        """See `Skeleton.graphs`."""
        example = {name: _rows(x) for name, x in inputs.items()}
        typical = task.prompt(task.example(model))
        lengths = {x.shape[1] for x in example.values() if x.ndim == 2 and not x.is_floating_point()}
        specs = tuple(_spec(name, x, typical.get(name), lengths) for name, x in example.items())
        module = Pass(model, task, list(example), dialect).eval()
        signature = Signature("model", specs, ("logits",))
        return (Graph(module, (tuple(example.values()),), signature, weights(model), self.limits(model)),)


def _rows(x: Tensor) -> Tensor:
    return x.repeat(ROWS, *[1] * (x.ndim - 1))[:ROWS] if len(x) < ROWS else x


def _spec(name: str, x: Tensor, typical: Tensor | None, lengths: Collection[int]) -> TensorSpec:
    """Tokens come in sequences of any length, and signals that have a mask of their length; an image has its size."""
    signal = x.ndim == 2 and x.shape[1] in lengths
    free = [BATCH, *[TOKENS] * (not x.is_floating_point() or signal)]
    dims = (*free[: x.ndim], *x.shape[len(free) :])
    whole = typical is not None and not typical.is_floating_point() and typical.numel() > 0
    fill = int(typical.flatten()[0]) if typical is not None and whole else 0
    return TensorSpec(name, str(x.dtype).removeprefix("torch."), dims, fill)


SINGLE_PASS = SinglePass()
