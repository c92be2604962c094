"""How well latency tables predict: whole sentences of random plans, predicted and measured against the dense model.

    python -m benchmarks.latency.run --model DIR --sentences FILE --out runs/latency [--plans 24]
        [--threads 1] [--batch 1] [--precision int8]

The table is the one `--speedup` uses. Every plan cuts heads, dimensions inside heads and FFN units at random, removes
some sublayers, and every third one narrows the residual. All models write as many tokens as the dense one does on
average, so that sentences differ in nothing else, and are timed side by side, all in the same precision, the dense one
too. Rounds are kept; a killed run goes on.
Times need a quiet machine.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.shared.kept import Kept
from tprune.bench.statistics import median_interval
from tprune.core.plan import Plan, make_plan
from tprune.core.precision import Precision
from tprune.core.selection import keep_best, lines_of
from tprune.core.sublayers import sublayers_of
from tprune.costs.latency.cache import measured
from tprune.costs.latency.table import LatencyTable, Ratios, TimingConfig
from tprune.costs.latency.timer import Timer
from tprune.data.parallel import read_lines
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.support.files import read_json, write_json
from tprune.support.machine import cache_folder, provenance

KINDS = ("ffn", "heads", "qk", "vo", "width")
MISS = 0.05


def random_plan(model: Any, seed: int) -> Plan:
    """Half of the plans' sublayers keep from an eighth to all of their lines, the others more.

    One in eight loses all.
    """
    rng = random.Random(seed)
    plan = make_plan(model, "any", couplings(model, KINDS))
    lines = {groups.coupling.name: lines_of(groups.norms) for groups in plan.bind(model)}
    shapes = {entry.coupling.name: entry.groups for entry in plan.entries}
    left = dict(lines)
    for sublayer in sublayers_of(plan):
        reads = sublayer.site.reads_source and sublayer.site.layer == 0
        gone = rng.random() < 0.125 and not reads
        for kind, name in sublayer.couplings.items():
            share = rng.uniform(0.125, 1.0)
            left[name] = (
                lines[name] if gone and kind in ("qk", "vo") else 0 if gone else max(1, round(share * lines[name]))
            )
    left["width"] = round(rng.choice((0.5, 0.625, 0.75, 0.875)) * lines["width"]) if seed % 3 == 0 else lines["width"]
    return plan.with_kept({name: keep_best(torch.ones(shapes[name]), k) for name, k in left.items()}, {}, {})


def row(table: LatencyTable, seed: int, plan: Plan, ratios: Ratios) -> dict[str, Any]:
    """A plan's prediction beside what was measured."""
    times = table.predict_plan(plan)
    predicted, measured = table.dense.total / times.total, median(ratios["sentence"])
    error = predicted / measured - 1
    return {
        "seed": seed,
        "predicted": predicted,
        "measured": measured,
        "interval": median_interval(ratios["sentence"]),
        "rounds": len(ratios["sentence"]),
        "ratios": list(ratios["sentence"]),
        "error": error,
        "missed": abs(error) > MISS,
        "encoder": {
            "predicted": table.dense.of("encoder") / times.of("encoder"),
            "measured": median(ratios["encoder"]),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a trained dense model")
    parser.add_argument("--sentences", type=Path, required=True, help="source sentences, one a line")
    parser.add_argument("--out", type=Path, default=Path("runs/latency"))
    parser.add_argument("--plans", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", default="fp32", help="of the exported models (default: fp32)")
    parser.add_argument("--json", type=Path, help="results (default: results.json, or results-PRECISION.json)")
    asked = parser.parse_args()
    model, tokenizer = load(asked.model, dtype=torch.float32).eval(), load_tokenizer(asked.model)
    sentences = read_lines(asked.sentences)
    precision = Precision(asked.precision)
    setting = TimingConfig(threads=asked.threads, batch=asked.batch, precision=precision)
    results = asked.json or Path(__file__).with_name(f"results{precision.suffix}.json")
    begin = time.monotonic()
    table = measured(model, tokenizer, sentences, setting, cache_folder() / "latency", print, KINDS)
    print(f"the table took {time.monotonic() - begin:.0f} s")
    write_json(asked.out / "latency.json", table.to_dict())
    # as long as the table's sentences: it may be an older one, of others
    timer = Timer(model, tokenizer, sentences, setting, asked.out / "onnx", round(table.tokens))
    plans, marker = {f"plan {seed}": random_plan(model, seed) for seed in range(asked.plans)}, asked.out / "ratios.json"
    found = read_json(marker) if marker.exists() else []
    for start in range(0, len(plans), timer.together):
        some = dict(list(plans.items())[start : start + timer.together])
        known = found[start : start + len(some)]
        for ratios in timer.side_by_side(some, known if len(known) == len(some) else ()):
            found[start : start + len(some)] = ratios
            write_json(marker, found)
            print(f"{len(ratios[0]['sentence'])} rounds", flush=True)
    rows = [
        row(table, seed, plan, ratios) for seed, (plan, ratios) in enumerate(zip(plans.values(), found, strict=True))
    ]
    for each in rows:
        print(f"plan {each['seed']}: predicted {each['predicted']:.2f}x, measured {each['measured']:.2f}x")
    errors = [abs(row["error"]) for row in rows]
    result = {
        "rows": rows,
        "median_error": median(errors),
        "largest_error": max(errors),
        "missed": sum(row["missed"] for row in rows),
        "table": table.to_dict(),
        **provenance(
            f"python -m benchmarks.latency.run --plans {asked.plans} --threads {asked.threads} --batch {asked.batch} "
            f"--precision {asked.precision} --model DIR --sentences FILE"
        ),
    }
    kept = Kept.beside(results)
    for name, plan in plans.items():
        kept.plan(name, plan)
    write_json(results, {**result, "kept": kept.folder.name})
    print(f"median error {result['median_error']:.1%}, largest {result['largest_error']:.1%}: {results}")


if __name__ == "__main__":
    main()
