"""What cutting costs without any training: the loss of a Multi30k model at several sizes, by how groups are chosen and
repaired.

    python -m benchmarks.one_shot.run --model DIR --data DIR [--json FILE]

DIR of --data holds train and val, `.en.gz` and `.de.gz`. The first 256 training pairs are what matrices are fitted on,
the next 256 say what each coupling's cut costs; the losses reported are those of the whole validation set.
"""

from __future__ import annotations

import argparse
import copy
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.shared.kept import Kept
from tprune.analysis.loss_curves import sensitivities, token_loss_on
from tprune.budget.knapsack import Options, cheapest
from tprune.budget.search import refine
from tprune.budget.size import Budget, select_to
from tprune.core.curves import Curve
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import Limits, Uniform
from tprune.costs.size import norm_scores, size_after
from tprune.counting.size import size
from tprune.data.parallel import Parallel, read_pair
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.realise.mask import masked
from tprune.scores.calibration import grams
from tprune.scores.reconstruction import DAMP, repair_, repaired
from tprune.scores.second_order import keep_counts, removal_scores, second_order_curves
from tprune.support.files import write_json
from tprune.support.machine import provenance
from tprune.tasks.translation.encoding import Collate, encode, max_length

SHARES = (0.75, 0.6, 0.5, 0.38)
LIMITS = Limits({"ffn": 8}, floor=0.1)
PAIRS, SENTENCES, TRIES = 256, 64, 50


@dataclass(frozen=True)
class Way:
    """One row of the table: from a share of the dense model's MACs to a masked model and the plan it follows."""

    name: str
    make: Callable[[float], tuple[Any, Plan]]


def batches_of(model: Any, tokenizer: Any, pairs: Parallel) -> list[dict[str, Tensor]]:
    """Padded batches, sentences of like length together."""
    encoded = encode(pairs, tokenizer, max_length(model))
    rows = sorted((encoded[i] for i in range(len(encoded))), key=lambda row: len(row["input_ids"]))
    collate = Collate(int(model.config.pad_token_id))
    return [collate(rows[i : i + SENTENCES]) for i in range(0, len(rows), SENTENCES)]


def mac_options(model: Any, plan: Plan, curves: Sequence[Curve]) -> list[Options]:
    """What each size of each coupling costs in MACs above the model without it.

    Heads and FFN units cost the same each.
    """
    whole = size(model).macs
    full = {e.coupling.name: torch.ones(e.groups, dtype=torch.bool) for e in plan.entries}
    options = []
    for curve in curves:
        one = full[curve.name].clone()
        one[0] = False
        each = whole - size_after(model, plan.with_kept({**full, curve.name: one}, {}, {})).macs
        costs = tuple(float(each * (k - full[curve.name].numel())) for k in curve.kept)
        options.append(Options(curve.name, curve.kept, costs, curve.losses))
    return options


def ways(model: Any, calibration: Sequence[Any], judged: Callable[[Any], float], damp: float) -> list[Way]:
    """All rows of the table."""
    plan = make_plan(model, "marian", couplings(model, ["ffn", "heads"]))
    found, dense = grams(model, plan, calibration), float(size(model).macs)
    norms, order = norm_scores(model, plan), removal_scores(model, plan, found, damp)

    @cache
    def plain() -> list[Options]:
        return mac_options(model, plan, sensitivities(model, plan, judged, LIMITS))

    @cache
    def second() -> list[Options]:
        return mac_options(model, plan, second_order_curves(model, plan, calibration, judged, LIMITS, damp=damp)[0])

    def uniform(share: float, scores: Any) -> Plan:
        return select_to(model, plan, Budget("macs", share), Uniform(LIMITS), scores)

    def counted(kept: Mapping[str, int], scores: Any) -> Plan:
        first = {e.coupling.name: torch.arange(e.groups[0]) < kept[e.coupling.name] for e in plan.entries}
        return keep_counts(plan.with_kept(first, {}, {}), scores)

    def knapsack(share: float, options: Sequence[Options], scores: Any) -> Plan:
        return counted(cheapest(options, (share - 1) * dense, "MACs"), scores)

    def mask(chosen: Plan) -> tuple[Any, Plan]:
        return masked(model, chosen), chosen

    def repair(chosen: Plan) -> tuple[Any, Plan]:
        twin = copy.deepcopy(model)
        repair_(twin, chosen, found, damp)
        return twin, chosen

    def in_turn(chosen: Plan) -> tuple[Any, Plan]:
        return repaired(model, chosen, calibration, damp), chosen

    @cache
    def refined(share: float) -> Plan:
        best = refine(
            second(), lambda kept: judged(repair(counted(kept, order))[0]), (share - 1) * dense, "MACs", TRIES
        )
        return counted(best.selection, order)

    return [
        Way("uniform: magnitude", lambda share: mask(uniform(share, norms))),
        Way("uniform: magnitude, repaired", lambda share: repair(uniform(share, norms))),
        Way("uniform: order of removal, repaired", lambda share: repair(uniform(share, order))),
        Way("uniform: order of removal, repaired in turn", lambda share: in_turn(uniform(share, order))),
        Way("knapsack: magnitude", lambda share: mask(knapsack(share, plain(), norms))),
        Way("knapsack: order of removal, repaired", lambda share: repair(knapsack(share, second(), order))),
        Way("knapsack: order of removal, repaired in turn", lambda share: in_turn(knapsack(share, second(), order))),
        Way("refined: order of removal, repaired", lambda share: repair(refined(share))),
        Way("refined: order of removal, repaired in turn", lambda share: in_turn(refined(share))),
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description="The loss of pruned models that are not trained.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_name("results.json"), help="what it found")
    parser.add_argument("--damp", type=float, default=DAMP)
    parser.add_argument("--ways", nargs="+", help="only these rows, by name")
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    given = parser.parse_args(arguments)
    model, tokenizer = load(given.model).eval(), load_tokenizer(given.model)
    train, valid = (read_pair(given.data / f"{s}.en.gz", given.data / f"{s}.de.gz") for s in ("train", "val"))
    drawn = train.sample(2 * PAIRS)
    first, later = (Parallel(drawn.source[i::2], drawn.target[i::2]) for i in range(2))
    calibration, judging, testing = (batches_of(model, tokenizer, p) for p in (first, later, valid))
    reported = token_loss_on(testing)
    dense, macs, rows = reported(model), size(model).macs, []
    kept = Kept.beside(given.json)
    print(f"dense: {dense:.4f} nats per token, {macs:,} MACs", flush=True)
    for way in ways(model, calibration, token_loss_on(judging), given.damp):
        for share in given.shares if given.ways is None or way.name in given.ways else ():
            start = time.perf_counter()
            pruned, plan = way.make(share)
            seconds = time.perf_counter() - start
            row = {
                "way": way.name,
                "share": share,
                "macs": size_after(model, plan).macs,
                "loss": round(reported(pruned), 4),
                "seconds": round(seconds, 1),
                "kept": {e.coupling.name: len(e.kept or ()) for e in plan.entries},
            }
            rows.append(row)
            kept.plan(f"{way.name} {share:g}", plan)
            print(
                f"{way.name:46} {share:5.0%} {row['macs'] / macs:6.1%} {row['loss']:8.4f} {seconds:7.1f} s", flush=True
            )
    about = {
        "pairs": PAIRS,
        "tries": TRIES,
        "damp": given.damp,
        "valid": len(valid),
        "dense_loss": dense,
        "dense_macs": macs,
    }
    command = shlex.join(["python", "-m", "benchmarks.one_shot.run", "--model", "DIR", "--data", "DIR"])
    write_json(given.json, provenance(command) | about | {"rows": rows, "kept": kept.folder.name})
    return 0


if __name__ == "__main__":
    sys.exit(main())
