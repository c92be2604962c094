"""Collects what the recipes gave, from finished runs of them, for docs/recipes.md.

    tprune demo --out runs/demo; tprune run recipes/tprune-multi30k.yaml --data DIR --out runs/m30k
    python benchmarks/recipes.py runs/demo runs/m30k && python benchmarks/readme_table.py

A run is known by its recipe: one that was changed on the command line is refused. What is in the JSON of other recipes stays.
Plans and translations go to `recipes.kept`, a folder for each recipe.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from kept import Kept
from tprune.core.plan import Plan
from tprune.recipe.reader import check_recipe, read_recipe
from tprune.report.page import finished
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json

ROOT = Path(__file__).parents[1]
RECIPES = (ROOT / "src" / "tprune" / "demo.yaml", *sorted((ROOT / "recipes").glob("*.yaml")))
NUMBERS = Path(__file__).with_suffix(".json")
KEPT = ("bleu_difference", "speedup", "speedup_interval", "noise", "target", "signatures", "beams", "bench", "seed", "commit", "versions", "machine")  # fmt: skip


def result(run: Path) -> tuple[str, dict[str, Any]]:
    """The name of a run's recipe, and what of its results the page shows. Raises `InputError` for a run of no recipe here."""
    found, made_for = finished(run), check_recipe(read_json(run / "run.json")["recipe"])
    names = [file.stem for file in RECIPES if read_recipe(file) == made_for]
    if not names:
        raise InputError(f"{run}: a run of none of {', '.join(file.name for file in RECIPES)} as they are")
    sides = {side: {key: found[side][key] for key in ("bleu", "chrf", "parameters", "macs", "latency_ms")} for side in ("dense", "pruned")}  # fmt: skip
    return names[0], {**sides, **{key: found[key] for key in KEPT}}


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
        name, shown = result(folder)
        kept = Kept(Kept.beside(NUMBERS).folder / name)  # test sets differ by recipe
        keep(folder, kept)
        known[name] = {**shown, "kept": kept.folder.name}
    write_json(NUMBERS, known)
