"""The dense model of a run trained on just as its smaller model was recovered: what the steps alone are worth.

    python -m benchmarks.runtimes.trained_on RUN --data DIR --out runs/trained-on

The steps, the rates, the sentences and the dense model's translations are those of the run. The model is scored beside
the pruned ones as `--pruned trained-on=runs/trained-on`. A killed training goes on.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from pathlib import Path

import torch
from transformers import set_seed

from tprune.data.parallel import read_pair
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.recipe.reader import check_recipe
from tprune.run.steps import recover_step
from tprune.run.translation.steps import distill_data_step
from tprune.support.files import read_json
from tprune.support.machine import training_precision
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData


def trained_on(run: Path, data: Path, out: Path, seed: int = 0) -> None:
    """Trains the dense model of a run on.

    Args:
        run: the folder of a run of Multi30k that was recovered.
        data: the folder of Multi30k.
        out: where the model goes.
        seed: of the order of sentences.
    """
    dense, tokenizer = load(run / "dense", dtype=torch.float32).eval(), load_tokenizer(run / "dense")
    train, valid = (read_pair(data / f"{split}.en.gz", data / f"{split}.de.gz") for split in ("train", "val"))
    how = check_recipe(read_json(run / "run.json")["recipe"]).recover
    material = TrainingData.of(TRANSLATION, dense, tokenizer, train, valid, seed=seed)
    material = replace(material, precision=training_precision("auto"))
    if how.sequence_distillation:
        material = distill_data_step(dense, tokenizer, train, material, run / "taught")
    set_seed(seed)
    model = recover_step(copy.deepcopy(dense), dense, material, how, out.with_name(f"{out.name}-work"))
    save(model, out, tokenizer)


def main() -> None:
    """Trains what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    for option in ("data", "out"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    asked = parser.parse_args()
    trained_on(asked.run, asked.data, asked.out)


if __name__ == "__main__":
    main()
