"""The comparison's numbers, one row for each model, from what the units left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tprune.evaluate import paired_bootstrap
from tprune.files import read_json
from tprune.machine import provenance
from units import Queue

REASONS = Path(__file__).with_name("reasons.json")


def table(queue: Queue, specs: Sequence[Any], command: str) -> dict[str, Any]:
    """Rows of all models that were asked for, failures with their reason; BLEU against dense and dense trained on (same seed)."""
    reasons = read_json(REASONS) if REASONS.exists() else {}
    rows = [_row(queue, "dense", {"method": "dense", "asked": 1.0, "seed": None})]
    for spec in specs:
        facts = {"method": spec.method, "asked": spec.speed, "seed": spec.seed, "reason": reasons.get(spec.method)}
        rows.append(_row(queue, str(spec), facts))
    return {
        "rows": rows, "sentences": len(queue.corpus.pooled_test()), "beams": queue.recipe.beams,
        "bench": queue.recipe.bench.model_dump(), **provenance(command),
    }  # fmt: skip


def _row(queue: Queue, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    done = {kind: queue.out / "done" / f"{kind}-{name}.json" for kind in ("train", "deploy", "time")}
    found = {kind: read_json(path) if path.exists() else {} for kind, path in done.items()}
    row = {"name": name, **facts, **found["train"], **found["deploy"]}
    if not (found["deploy"] and found["time"]):
        return {**row, "failed": found["train"].get("failed", "not done")}
    time = found["time"]
    row |= {
        "latency_ms": time["latency_ms"]["pruned"], "dense_latency_ms": time["latency_ms"]["dense"], "speedup": time["speedup"],
        "speedup_interval": time["speedup_interval"], "noise": time["noise"],
        "tokens_per_sentence": time["tokens_per_sentence"]["pruned"], "peak_memory": time["peak_memory"]["pruned"],
    }  # fmt: skip
    references = queue.corpus.pooled_test().target
    said = read_json(queue.out / "said" / f"{name}.json")
    for rival in ("dense", f"dense-more-1x-s{facts['seed']}"):
        path = queue.out / "said" / f"{rival}.json"
        if path.exists():
            key = "against_dense" if rival == "dense" else "against_dense_more"
            row[key] = paired_bootstrap(read_json(path), said, references).to_dict()
    return row
