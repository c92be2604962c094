"""Collects what the recipes gave, from finished runs of them, for docs/recipes.md.

    tprune demo --out runs/demo; tprune run recipes/tprune/multi30k.yaml --data DIR --out runs/m30k
    python -m benchmarks.recipes.run runs/demo runs/m30k && python -m benchmarks.readme_table

A run is known by its recipe: one that was changed on the command line is refused. What is in the JSON of other recipes
stays. Plans and translations go to `results.kept`, a folder for each recipe.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.shared.kept import Kept
from tprune.core.plan import Plan
from tprune.recipe.reader import check_recipe, read_recipe
from tprune.report.results import (
    Machine,
    Noise,
    Outcome,
    Protocol,
    RunResults,
    SideResults,
    finished,
)
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.records import decoded, encoded
from tprune.tasks.metrics.translation import Paired

ROOT = Path(__file__).parents[2]
RECIPES = {
    "demo": ROOT / "src" / "tprune" / "run" / "defaults" / "demo.yaml",
    **{f"{file.parent.name}-{file.stem}": file for file in sorted((ROOT / "recipes").glob("*/*.yaml"))},
}
NUMBERS = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Side:
    """What docs/recipes.md says of the dense or the pruned model of a run; see `tprune.report.results.SideResults`."""

    bleu: float
    chrf: float
    parameters: int
    macs: int
    latency_ms: Mapping[str, Mapping[str, float]]

    @staticmethod
    def of(side: SideResults) -> Side:
        scores = {"bleu": side.scores["BLEU"].value, "chrf": side.scores["chrF"].value}
        return Side(
            **scores, **{each.name: getattr(side, each.name) for each in fields(Side) if each.name not in scores}
        )


@dataclass(frozen=True)
class Signatures:
    """How the scores were computed, as sacreBLEU puts it."""

    bleu_signature: str
    chrf_signature: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What docs/recipes.md says of a run; see `tprune.report.results.RunResults`.

    `kept` names the folder of what is kept of it.
    """

    dense: Side
    pruned: Side
    bleu_difference: Paired
    speedup: Mapping[str, Mapping[str, float]]
    speedup_interval: Mapping[str, Mapping[str, tuple[float, float]]]
    noise: Noise
    target: Outcome
    signatures: Signatures
    beams: int
    bench: Protocol
    seed: int | None
    commit: str | None
    versions: Mapping[str, str]
    machine: Machine
    kept: str | None = None

    @staticmethod
    def of(results: RunResults, kept: str) -> Shown:
        same = {each.name: getattr(results, each.name) for each in fields(Shown) if hasattr(results, each.name)}
        found, scores = results.difference, results.dense.scores
        paired = Paired(found.delta, found.low, found.high, found.p_value, found.samples, found.seed)
        signatures = Signatures(scores["BLEU"].signature, scores["chrF"].signature)
        sides = {"dense": Side.of(results.dense), "pruned": Side.of(results.pruned)}
        return Shown(**{**same, **sides, "bleu_difference": paired, "signatures": signatures, "kept": kept})

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Shown:
        return decoded(Shown, {**data, "target": Outcome.fields_of(data["target"])})

    def to_dict(self) -> dict[str, Any]:
        return {**encoded(self), "target": self.target.to_dict()}


def name_of(run: Path) -> str:
    """The name of a run's recipe. Raises `InputError` for a run of no recipe here."""
    made_for = check_recipe(read_json(run / "run.json")["recipe"])
    names = [name for name, file in RECIPES.items() if read_recipe(file) == made_for]
    if not names:
        raise InputError(f"{run}: a run of none of {', '.join(RECIPES)} as they are")
    return names[0]


def keep(run: Path, kept: Kept) -> None:
    """Keeps a run's plan and both translations of the test sentences, so that the interval can be computed again."""
    said = read_json(run / "translations.json")
    for side in ("dense", "pruned"):
        kept.said(side, said[side], said["reference"])
    kept.plan("pruned", Plan.load(run / "pruned" / "plan.json"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    known = json.loads(NUMBERS.read_text(encoding="utf-8")) if NUMBERS.exists() else {}
    for folder in parser.parse_args().runs:
        results, name = finished(folder), name_of(folder)
        kept = Kept(Kept.beside(NUMBERS).folder / name)  # test sets differ by recipe
        keep(folder, kept)
        known[name] = Shown.of(results, kept.folder.name).to_dict()
    write_json(NUMBERS, known)
