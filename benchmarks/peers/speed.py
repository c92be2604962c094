"""Predicted whole-sentence speedup: of plans from the latency table, of other shapes from their measured encoder and
step.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tprune.core.plan import Plan
from tprune.costs.latency.table import LatencyTable, TimingConfig
from tprune.costs.latency.timer import Timer
from tprune.support.store import Store
from tprune.vocabulary.output_vocabulary import Resegmentation
from tprune.vocabulary.trim import restricted_to


@dataclass(frozen=True)
class Faster:
    """Dense over another model's time of an encoder pass and of a sentence, both writing as many tokens."""

    encoder: float
    sentence: float


Stop = Callable[[Any], Faster]


@dataclass(frozen=True)
class Speed:
    """Dense over predicted milliseconds of a sentence, both with as many tokens as the dense model writes.

    The table is of the dense model that writes only tokens of translations, which is `faster` times as fast as the
    dense model.
    """

    table: LatencyTable
    timer: Stop
    faster: float = 1.0

    @property
    def dense(self) -> float:
        """Milliseconds of a sentence of the dense model."""
        return self.table.predict({}).total * self.faster

    def milliseconds(self, plan: Plan) -> float:
        """Predicted for a plan after selection."""
        return self.table.predict_plan(plan).total

    def of_plan(self, plan: Plan) -> float:
        """Predicted speedup of a plan after selection."""
        return self.dense / self.milliseconds(plan)

    def of_model(self, model: Any, longer: float = 1.0) -> float:
        """Speedup of any model, trained or not, by timing it; of one that writes `longer` times as many tokens."""
        encoder = self.table.dense.of("encoder") / self.timer(model).encoder
        sentence = self.dense / self.timer(model).sentence
        return self.dense / (encoder + longer * (sentence - encoder))

    def with_output_vocabulary(self, model: Any, spelling: Resegmentation) -> Speed:
        """Predictions for models that write the tokens of a spelling.

        What that saves is timed with `model`, not cut yet.
        """
        faster = self.faster * self.timer(restricted_to(model, spelling.kept)).sentence / self.timer(model).sentence
        saved = self.dense * (1 / self.faster - 1 / faster) / self.table.tokens
        table = self.table.with_output_vocabulary(saved, spelling.longer)
        return Speed(table, self.timer, self.dense / table.dense.total)


@dataclass(frozen=True)
class Stopwatch:
    """Times models against the dense one in turns, all writing as many tokens; remembers shapes in files.

    Attributes:
        dense: the dense model.
        tokenizer: its own.
        sentences: to translate.
        setting: as the latency table's.
        notes: where times are kept, one JSON file for each shape.
    """

    dense: Any
    tokenizer: Any
    sentences: tuple[str, ...]
    setting: TimingConfig
    notes: Path

    def __call__(self, model: Any) -> Faster:
        """Times faster than dense."""
        config = {k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "dtype")}
        never = len(model.generation_config.suppress_tokens or ())
        setting = {name: value for name, value in asdict(self.setting).items() if value is not None}
        text = json.dumps([config, never, setting], sort_keys=True, default=str)
        notes, shape = Store[dict[str, Any]](self.notes), sha256(text.encode()).hexdigest()[:16]
        if not notes.done(shape):
            with tempfile.TemporaryDirectory() as folder:
                timer = Timer(self.dense, self.tokenizer, self.sentences, self.setting, Path(folder))
                notes.put(shape, {"config": config, **timer.compare(model, "a shape")})
        found = notes.get(shape)
        return Faster(float(found["encoder"]), float(found["sentence"]))
