"""How long the stages of a run take, from what they work through and a model's pace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tprune.budget.samples import ALONE, CALIBRATION, FITTED

if TYPE_CHECKING:
    from tprune.recipe.schema import Distilled, Prune, Train

FORWARD = 1 / 3  # of a step is its forward pass, which is all that measuring a loss or a teacher takes
SIZES = 7  # of a coupling that are tried
BEAMS = 4  # of a teacher
PLANS = 18  # of a latency table, each exported and timed in 8 rounds
PLAN, BYTES = 12.0, 2e9  # seconds for each, and bytes of weights that all this goes through in a second
FLOAT = 4  # bytes of a weight
EXPORT = 10.0  # seconds of an export, whatever its size


@dataclass(frozen=True)
class Pace:
    """How fast a model trains: padded tokens a second, and seconds of the step that says so."""

    tokens: float
    step: float

    def seconds(self, tokens: float) -> float:
        """Of training on so many padded tokens."""
        return tokens / self.tokens


@dataclass(frozen=True)
class StageTimes:
    """How long the stages of a run take: what of a model and its data says so.

    Attributes:
        pace: at which the model trains.
        parameters: that are trained.
        couplings: that may be cut.
        train: tokens of the training sentences.
        valid: tokens of the validation sentences.
        pairs: number of training sentences.
        sentence: tokens of a validation sentence, on average.
        tables: latency tables that are measured where a time is asked for, one for each precision.
    """

    pace: Pace
    parameters: int
    couplings: int
    train: float
    valid: float
    pairs: int
    sentence: float
    tables: int = 1

    def steps(self, steps: int, tokens: int, every: int = 0, factor: float = 1.0) -> float:
        """Seconds of steps, each `factor` times as long as a plain one.

        The validation loss is looked at every so many.
        """
        looks = steps // every if every else 0
        return steps * self.pace.seconds(tokens) * factor + looks * self.pace.seconds(self.valid) * FORWARD

    def training(self, stage: Train) -> float:
        """Seconds of a training without a teacher."""
        return self.steps(stage.steps, stage.batch_tokens, stage.eval_every)

    def taught(self, stage: Distilled, factor: float = 1.0) -> float:
        """Seconds of a training with one, if it takes anything from it in every step."""
        teacher = FORWARD if stage.distill or stage.hidden_distillation else 0.0
        return self.steps(stage.steps, stage.batch_tokens, stage.eval_every, factor + teacher)

    @property
    def fitting(self) -> float:
        """Seconds of the inputs of all matrices, once."""
        return self.pace.seconds(FITTED * self.sentence)

    @property
    def export(self) -> float:
        """Seconds of an export and its check."""
        return EXPORT + FLOAT * self.parameters / BYTES * 10

    def timing(self, rounds: int) -> float:
        """Seconds of reading all weights in so many rounds."""
        return FLOAT * self.parameters / BYTES * rounds

    def translating(self) -> float:
        """Seconds of a teacher's translations of the training sentences."""
        return self.export + self.pace.seconds(self.train * BEAMS)

    def evidence(self, how: Prune, rounded: bool = False) -> float:
        """Seconds of measuring losses, and of latency tables where a time is asked for.

        Args:
            how: what is asked for.
            rounded: whether the loss of rounding is measured too, a part of the model at a time (about a coupling).
        """
        alone = ALONE if how.search else CALIBRATION
        looks = self.couplings * SIZES * alone + how.search * CALIBRATION + rounded * (self.couplings + 1) * alone
        losses = self.pace.seconds(looks * self.sentence) * FORWARD
        fitted = 2 * self.pace.seconds(min(FITTED, self.pairs) * self.sentence)
        table = PLANS * (PLAN + 8 * FLOAT * self.parameters / BYTES) if how.timed else 0.0
        return losses + fitted + self.tables * table
