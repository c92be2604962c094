"""Predicted whole-sentence speedup: of plans from the latency table, of other shapes from their measured encoder and step."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tprune.bench import Work, bench
from tprune.files import read_json, write_json
from tprune.latency import LatencyTable, Setting
from tprune.plan import Plan
from tprune.runtimes.onnx_export import export

Timer = Callable[[Any], tuple[float, float]]  # a model → times faster than dense: its encoder, its decoder step


@dataclass(frozen=True)
class Speed:
    """Dense over predicted milliseconds of a sentence, both with the dense model's tokens and overhead per token.

    Untrained models write sentences of any length, so whole sentences of theirs say nothing; hence the same sum for all:
    `encoder + tokens · (decoder step + overhead)`.
    """

    table: LatencyTable
    timer: Timer

    @property
    def dense(self) -> float:
        """Milliseconds of a sentence of the dense model."""
        return self.table.predict({}).sentence

    def milliseconds(self, plan: Plan) -> float:
        """Predicted for a plan after selection."""
        return self.table.predict_plan(plan).sentence

    def of_plan(self, plan: Plan) -> float:
        """Predicted speedup of a plan after selection."""
        return self.dense / self.milliseconds(plan)

    def of_model(self, model: Any) -> float:
        """Speedup of any model, trained or not, by timing it."""
        encoder, step = self.timer(model)
        times = self.table.dense
        found = times.encoder / encoder + self.table.tokens * (times.decoder_step / step + self.table.overhead)
        return self.dense / found


@dataclass(frozen=True)
class Stopwatch:
    """Exports models and times them against the dense export in turns; remembers shapes in a file.

    Attributes:
        dense: the exported dense model.
        tokenizer: its own.
        sentences: one is enough, for the check of the export.
        setting: as the latency table's.
        notes: where times are kept, one JSON file for each shape.
    """

    dense: Path
    tokenizer: Any
    sentences: tuple[str, ...]
    setting: Setting
    notes: Path

    def __call__(self, model: Any) -> tuple[float, float]:
        """Times faster than dense: the encoder, the decoder step."""
        config = {k: v for k, v in model.config.to_dict().items() if k not in ("_name_or_path", "dtype")}
        text = json.dumps([config, asdict(self.setting)], sort_keys=True, default=str)
        note = self.notes / f"{sha256(text.encode()).hexdigest()[:16]}.json"
        if not note.exists():
            write_json(note, {"config": config, **self._measure(model)})
        found = read_json(note)
        return found["encoder"], found["decoder_step"]

    def _measure(self, model: Any) -> dict[str, float]:
        how = self.setting
        work = Work(how.source, how.past, 1, 1, ("encoder", "decoder_step"))
        with tempfile.TemporaryDirectory() as folder:
            other = Path(folder) / "other"
            export(model.eval(), self.tokenizer, other, self.sentences)
            result = bench(self.dense, other, self.sentences, how.threads, how.batch, how.rounds, work)
        return {name: float(value) for name, value in result.speedup.items()}
