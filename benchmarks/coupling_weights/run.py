"""How `allocation: analysis` should share a size: the loss at half the multiplications, cut in one shot, by what a
coupling's worth is taken from.

    python -m benchmarks.coupling_weights.run --model DIR --data DIR --analysis analysis.json [--out FILE.json]

The analysis is that of the same model (`tprune analyze`). DIR of --data holds train and val, `.en.gz` and `.de.gz`.
Losses are those of 256 validation sentences, in nats per token; which groups go, and what the rest is fitted to, is
`tprune.analysis.one_shot` in all rows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.shared.kept import Kept
from tprune.analysis import Analysis
from tprune.analysis.advice import in_kind
from tprune.analysis.loss_curves import token_loss_on
from tprune.analysis.one_shot import one_shot
from tprune.budget.samples import CALIBRATION, FITTED
from tprune.budget.size import Budget, select_to
from tprune.core.kinds import Kind
from tprune.core.plan import Plan
from tprune.core.selection import Limits, Select, Shared, Uniform
from tprune.data.parallel import read_pair
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.recipe.schema import Prune
from tprune.run.steps import plan_step
from tprune.support.files import write_json
from tprune.support.machine import provenance
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData

SHARE, LEAST = 0.5, 1e-4
LIMITS = Limits({"ffn": 16}, floor=0.1)
KINDS: dict[str, list[Kind]] = {"units, heads": ["ffn", "heads"], "and dimensions": ["ffn", "heads", "qk", "vo"]}


def ways(analysis: Analysis, plan: Plan) -> dict[str, Select]:
    """The rows of the table."""
    harm = {c.name: max(LEAST, analysis[c.name].ablation_loss or 0.0) for c in plan.couplings}
    left = {c.name: max(0.05, 1 - analysis[c.name].area) for c in plan.couplings}
    worths = {"1 - shrunk (BSSL)": left} | {
        f"harm^{p:g}": {n: h**p for n, h in harm.items()} for p in (1, 0.5, 0.25, 0.125)
    }
    return {"all alike": Uniform(LIMITS), **{k: Shared(in_kind(w, plan), limits=LIMITS) for k, w in worths.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "data", "analysis"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    asked = parser.parse_args()
    model, tokenizer = load(asked.model, dtype=torch.float32).eval(), load_tokenizer(asked.model)
    train, valid = (read_pair(asked.data / f"{s}.en.gz", asked.data / f"{s}.de.gz") for s in ("train", "val"))
    material = TrainingData.of(TRANSLATION, model, tokenizer, train, valid, precision="fp32")
    loss, fitted = (
        token_loss_on(material.batches(material.valid, CALIBRATION)),
        material.batches(material.train, FITTED),
    )
    analysis, rows = Analysis.load(asked.analysis), []
    kept = Kept.beside(asked.out) if asked.out else None
    print(f"dense: {loss(model):.3f} nats per token", flush=True)
    for which, kinds in KINDS.items():
        plan = plan_step(model, Prune(steps=0, kinds=kinds, macs=SHARE))
        for name, select in ways(analysis, plan).items():
            pruned, chosen = one_shot(model, select_to(model, plan, Budget("macs", SHARE), select), fitted)
            if kept is not None:
                kept.plan(f"{which} {name}", chosen)
            rows.append({"kinds": which, "worth": name, "loss": round(loss(pruned), 4)})
            print(f"{which:16} {name:20} {rows[-1]['loss']:.3f}", flush=True)
    if asked.out:
        command = "python -m benchmarks.coupling_weights.run --model DIR --data DIR --analysis FILE"
        found = {"dense": loss(model), "rows": rows, **provenance(command)}
        write_json(asked.out, {**found, **({"kept": kept.folder.name} if kept else {})})


if __name__ == "__main__":
    main()
