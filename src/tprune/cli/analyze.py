"""`tprune analyze`: BSSL on a trained model, what to prune and what to leave alone, as a table, JSON and a page."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, set_seed

from tprune.analysis import Advice, Analysis, advise
from tprune.core.data import Data
from tprune.core.kinds import PARTS
from tprune.core.known_tasks import task_of
from tprune.data.parallel import Corpus, Parallel
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load
from tprune.recipe.schema import Analyze
from tprune.recipe.schema import Data as DataSection
from tprune.report.analysis_page import write_page
from tprune.report.names import data_name
from tprune.run.steps import analyse_step
from tprune.support.errors import InputError
from tprune.support.files import atomic_directory, write_json
from tprune.support.machine import provenance, use_threads
from tprune.support.reporting import Report
from tprune.tasks.translation.long_lines import LongLines
from tprune.train.training_data import TrainingData
from tprune.vocabulary.coverage import guesses, unfamiliar

WRITTEN = frozenset({"analysis.json", "analysis.html"})


@dataclass(frozen=True)
class Found:
    """What the verb found: the analysis, the advice drawn from it, what looked odd, and how it was made."""

    analysis: Analysis
    advice: tuple[Advice, ...]
    warnings: tuple[str, ...]
    made: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """As it goes to JSON; `Analysis.load` reads it too."""
        advice = [asdict(line) for line in self.advice]
        return {
            **asdict(self.analysis),
            "telling": self.analysis.telling,
            "advice": advice,
            "warnings": list(self.warnings),
            "made": self.made,
        }


def analyze(
    task: str,
    model: str,
    train: Data,
    valid: Data,
    how: Analyze,
    *,
    out: Path | None = None,
    seed: int = 0,
    command: str = "",
    callbacks: Sequence[TrainerCallback] = (),
    report: Report = lambda text: None,
    long_lines: LongLines | None = None,
) -> Found:
    """Analyses a model and, with `out`, writes `analysis.json` and `analysis.html` into it.

    Args:
        task: what the model is for, by its name.
        model: a hub id, a model's directory, or a run (its pruned model).
        train: data to press the model on; `valid` that on which its loss is read.
        valid: see `train`.
        how: steps, strengths, blocks.
        out: a new or empty folder, or one that holds an earlier analysis and nothing else.
        seed: of batches and dropout.
        command: what was typed, for the record.
        callbacks: of the training, for its progress.
        report: is told what looks odd, and how far it is.
        long_lines: what becomes of sentences that are too long for the model; left out if not given.

    Raises:
        InputError: a model or data that cannot be used, or an `out` that holds something else; said before the work.
    """
    if out is not None:
        check_free(out)
    use_threads()
    loaded, material, odd = _prepared(task, model, train, valid, long_lines or LongLines(), seed, tuple(callbacks))
    set_seed(seed)  # loading may draw numbers
    for line in odd:
        report(f"warning: {line}")
    known = {coupling.kind for coupling in couplings(loaded)}
    with tempfile.TemporaryDirectory() as work:
        found = analyse_step(loaded, material, how, [kind for kind in PARTS if kind in known], Path(work), report)
    for line in guesses(found.loss, loaded.config.vocab_size) if isinstance(train, Parallel) else ():
        odd.append(line)
        report(f"warning: {line}")
    if not any(component.zero for component in found.components):
        odd.append(
            f"nothing vanished in {how.steps} steps, so the advice is drawn from how much shrank and from what cutting "
            "costs; more --steps say more"
        )
        report(f"warning: {odd[-1]}")
    made = {
        "model": model,
        "task": task,
        "data": data_name(train, DataSection()),
        "settings": how.model_dump(mode="json"),
        "seed": seed,
        **provenance(command),
    }
    result = Found(found, advise(loaded, found), tuple(odd), made)
    if out is not None:
        with atomic_directory(out) as fresh:
            write_json(fresh / "analysis.json", result.as_dict())
            write_page(fresh / "analysis.html", result.as_dict())
    return result


def _prepared(
    task: str,
    model: str,
    train: Data,
    valid: Data,
    long_lines: LongLines,
    seed: int,
    callbacks: tuple[TrainerCallback, ...],
) -> tuple[Any, TrainingData, list[str]]:
    """The model, its data as it takes them, and what looks odd about them."""
    loaded: Any = load(model, dtype=torch.float32)
    known = task_of(loaded, task)
    processor, odd = known.processor(model), list[str]()
    if isinstance(train, Parallel) and isinstance(valid, Parallel):
        text, long = long_lines.fit_corpus(Corpus(train, valid, {}), loaded, processor)
        train, valid = text.train, text.valid
        odd += [*long, *unfamiliar(text.train, processor), *unfamiliar(text.valid, processor)]
    material = TrainingData.of(known, loaded, processor, train, valid, seed=seed, callbacks=callbacks)
    return loaded, material, list(dict.fromkeys([*odd, *material.notes]))


def check_free(out: Path) -> None:
    """Raises `InputError` where `out` is a file, or a folder that holds more than an earlier analysis."""
    held = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if (out.exists() and not out.is_dir()) or held - WRITTEN:
        what = f"holds {sorted(held - WRITTEN)[0]!r}" if held else "is a file"
        raise InputError(f"{out} {what}; choose another --out, or the folder of an earlier analysis")
    if "analysis.json" in held:
        Analysis.load(out / "analysis.json")
