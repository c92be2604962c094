"""The README's table: dense, dense trained on, and at two speeds ours beside one-shot magnitude, on Multi30k En-De.

    python benchmarks/multi30k.py --data DIR [--model DENSE] --out runs/bench-multi30k

Every unit of work (a training, an export, a score) leaves a marker, so a killed queue goes on where it was. Quality is BLEU of
onnxruntime's beam 4 on the four test sets pooled; speed is measured against the dense model, in turns, one process each.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tprune.analysis import Analysis
from tprune.compression import analyse_step, cut_step, plan_step, recover_step, regularise_step
from tprune.costs import select_step
from tprune.evaluate import paired_bootstrap
from tprune.files import read_json, write_json
from tprune.machine import provenance
from tprune.plan import Plan, make_plan
from tprune.recipe import read_recipe
from units import Queue, deploy, timing

RECIPE = Path(__file__).parents[1] / "recipes" / "tprune-multi30k.yaml"
POINTS = {"60": 0.6, "38": 0.38}  # per cent of the dense model's multiplications that are kept


def more_training(queue: Queue) -> dict[str, Any]:
    """Dense, with the extra training that every pruned model gets: the reference."""
    model, how = queue.dense(), queue.recipe.recover
    steps = queue.recipe.prune.steps + how.steps
    recover_step(
        model,
        queue.dense().eval(),
        queue.material,
        how.model_copy(update={"steps": steps}),
        queue.out / "work" / "dense-more",
    )
    queue.save(model, "dense-more")
    return {"steps": steps}


def ours(queue: Queue, point: str, fraction: float) -> dict[str, Any]:
    """Regularise until the size asked for is reached, cut, recover."""
    how, name, dense = queue.recipe.prune.model_copy(update={"macs": fraction}), f"tprune-{point}", queue.dense()
    goal = select_step(dense, plan_step(dense, how), how, Analysis.load(queue.out / "analysis.json"))
    trained, plan = regularise_step(dense, goal, queue.material, how, queue.out / "work" / name / "regularise")
    return _cut_and_train(queue, name, trained, plan, queue.recipe.recover.steps)


def magnitude(queue: Queue, point: str, fraction: float) -> dict[str, Any]:
    """One-shot magnitude: the same couplings, the same size, norms of the dense weights, the same number of steps in all."""
    how = queue.recipe.prune.model_copy(update={"macs": fraction, "budget": "uniform"})
    dense = queue.dense().eval()
    plan = select_step(dense, make_plan(dense, "marian", plan_step(dense, how).couplings), how, None)
    return _cut_and_train(
        queue, f"magnitude-{point}", dense, plan, queue.recipe.prune.steps + queue.recipe.recover.steps
    )


def _cut_and_train(queue: Queue, name: str, model: Any, plan: Plan, steps: int) -> dict[str, Any]:
    small, certificate = cut_step(model, plan, queue.material, stock=False)
    how = queue.recipe.recover.model_copy(update={"steps": steps})
    recover_step(small, queue.dense().eval(), queue.material, how, queue.out / "work" / name / "recover")
    queue.save(small, name, plan, certificate)
    return {
        "certificate": certificate.to_dict(),
        "asked": dict(plan.asked),
        "reached": dict(plan.reached),
        "steps": steps,
    }


def table(queue: Queue, names: list[str], command: str) -> dict[str, Any]:
    said = {name: read_json(queue.out / "said" / f"{name}.json") for name in names}
    references = queue.corpus.pooled_test().target
    done = {path.stem: read_json(path) for path in (queue.out / "done").glob("*.json")}
    rows = []
    for name in names:
        rival = name.replace("tprune-", "magnitude-")
        score, time = done[f"deploy-{name}"], done[f"time-{name}"]
        rows.append({
            "name": name, **score, "against_dense": paired_bootstrap(said["dense"], said[name], references).to_dict(),
            "against_dense_more": paired_bootstrap(said["dense-more"], said[name], references).to_dict(),
            "latency_ms": time["latency_ms"]["pruned"], "dense_latency_ms": time["latency_ms"]["dense"],
            "speedup": time["speedup"], "speedup_interval": time["speedup_interval"], "noise": time["noise"],
            "tokens_per_sentence": time["tokens_per_sentence"]["pruned"], "peak_memory": time["peak_memory"]["pruned"],
            **({} if rival == name else {"against_magnitude": paired_bootstrap(said[rival], said[name], references).to_dict()}),
            **{k: done[name][k] for k in ("certificate", "asked", "reached", "steps") if k in done.get(name, {})},
        })  # fmt: skip
    return {
        "rows": rows, "sentences": len(references), "beams": queue.recipe.beams, "seed": queue.recipe.seed,
        "bench": queue.recipe.bench.model_dump(), "recipe": queue.recipe.model_dump(mode="json"), **provenance(command),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the recipe's files")
    parser.add_argument("--model", help="a trained dense model; trained here by the recipe where none is given")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-multi30k"))
    parser.add_argument(
        "--json", type=Path, default=Path(__file__).with_suffix(".json"), help="where the table's numbers go"
    )
    parser.add_argument("--only", nargs="*", help="only these units of training (another process does the others)")
    asked = parser.parse_args()
    recipe = read_recipe(RECIPE)
    queue = Queue.open(asked.out, recipe, asked.data, asked.model)
    trainings: dict[str, Callable[[], dict[str, Any] | None]] = {
        "analysis": lambda: _analysis(queue),
        "dense-more": lambda: more_training(queue),
        **{f"tprune-{p}": partial(ours, queue, p, f) for p, f in POINTS.items()},
        **{f"magnitude-{p}": partial(magnitude, queue, p, f) for p, f in POINTS.items()},
    }  # fmt: skip
    for name, work in trainings.items():
        if not asked.only or name in asked.only:
            queue.unit(name, work)
    if asked.only:
        return
    names = ["dense", "dense-more", *(f"{kind}-{p}" for p in POINTS for kind in ("tprune", "magnitude"))]
    for name in names:
        queue.unit(f"deploy-{name}", partial(deploy, queue, name))
    for name in names:
        queue.unit(f"time-{name}", partial(timing, queue, name))
    command = "make bench-multi30k DATA=DIR" + (" MODEL=DIR" if asked.model else "")
    write_json(asked.json, table(queue, names, command))
    print(f"{asked.json}")


def _analysis(queue: Queue) -> None:
    recipe = queue.recipe
    found = analyse_step(
        queue.dense(), queue.material, recipe.analyze, recipe.prune.kinds, queue.out / "work" / "analysis"
    )
    (queue.out / "analysis.json").write_text(found.to_json(), encoding="utf-8")


if __name__ == "__main__":
    main()
