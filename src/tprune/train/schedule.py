"""How one stage trains: steps, learning rates and the weights of its losses."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tprune.support.errors import InputError
from tprune.support.papers import cites

REWINDING = """@inproceedings{renda2020comparing,
  title = {Comparing Rewinding and Fine-tuning in Neural Network Pruning},
  author = {Renda, Alex and Frankle, Jonathan and Carbin, Michael},
  booktitle = {International Conference on Learning Representations}, year = {2020}
}"""


@dataclass(frozen=True)
class TrainingConfig:
    """How one stage trains.

    With the teacher's word distributions weighted d (`distill`) and its hidden states h (`hidden_distillation`) the
    loss is `(1 − d) · NLL + d · CE(teacher ‖ student) + h · unexplained variance`; see `tprune.train.losses`.

    Attributes:
        warmup: steps of rising rates; half of all steps at most, lest a short training end at its peak.
        batch_tokens: positions in a batch, padding included.
        sequence_distillation: the share of sentences whose target is the teacher's translation.
        rewind: replay the last `steps` of a schedule of so many steps, with `lr` and `warmup` as its; 0: a schedule of
            its own.

    Raises:
        InputError: the schedule to replay is shorter than `steps`.
    """

    steps: int
    lr: float = 3e-3
    warmup: int = 400
    batch_tokens: int = 2048
    label_smoothing: float = 0.1
    distill: float = 0.0
    hidden_distillation: float = 0.0
    sequence_distillation: float = 0.0
    rewind: int = 0
    weight_decay: float = 0.0
    clip: float = 1.0
    precision: str = "auto"
    seed: int = 0
    eval_every: int = 0
    patience: int = 0
    dropout: float | None = None  # of the model while it trains; as it is if not given
    schedule: str = "cosine"  # of the learning rate, by transformers' name for it

    def __post_init__(self) -> None:
        if self.rewind and self.rewind < self.steps:
            raise InputError(
                f"rewind: a schedule of {self.rewind} steps has no last {self.steps}; expected at least that"
            )

    @property
    def warm_up(self) -> int:
        """Steps of warm-up in a schedule of its own.

        Example:
            >>> TrainingConfig(steps=20, warmup=400).warm_up
            10
        """
        return min(self.warmup, self.steps // 2)

    @property
    def needs_teacher(self) -> bool:
        """Whether the loss needs the outputs of the teacher (pseudo-targets are made before training)."""
        return bool(self.distill or self.hidden_distillation)


@cites(REWINDING)
def rewound(how: TrainingConfig, step: int) -> float:
    """The share of the peak learning rate at a step of the replayed end of a schedule (Renda, Frankle & Carbin, 2020).

    With T = `rewind`, w = `warmup` and s = T − `steps` + t it is s/w in the warm-up and ½ (1 + cos π (s − w)/(T − w))
    after it.

    Example:
        >>> how = TrainingConfig(steps=50, warmup=0, rewind=100)
        >>> [round(rewound(how, t), 6) for t in (0, 50)]
        [0.5, 0.0]
    """
    at = how.rewind - how.steps + step
    if at < how.warmup:
        return at / how.warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (at - how.warmup) / max(1, how.rewind - how.warmup))))
