"""The comparison's numbers, one row for each model, from what the units left behind.

Plans and translations are kept beside them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.peers.words import SHORTLIST, WITHOUT
from benchmarks.shared.kept import Kept
from benchmarks.shared.units import Queue
from tprune.bench.statistics import median_interval
from tprune.core.plan import Plan
from tprune.support.files import read_json
from tprune.support.machine import provenance
from tprune.tasks.metrics.translation import paired_bootstrap, paired_over_runs

REASONS = Path(__file__).with_name("reasons.json")
PARTS = ("sentence", "encoder", "decoder_step")
Row = Mapping[str, Any]


def table(queue: Queue, specs: Sequence[Any], command: str) -> dict[str, Any]:
    """Rows of all models that were asked for, failures with their reason.

    BLEU against dense and dense trained on (same seed).
    """
    reasons = read_json(REASONS) if REASONS.exists() else {}
    rows = [_row(queue, "dense", {"method": "dense", "named": 1.0, "asked": 1.0, "seed": None})]
    for spec in specs:
        # what was asked is what the training noted, whatever the model is called since
        facts = {
            "method": spec.method,
            "named": spec.speed,
            "asked": spec.speed,
            "seed": spec.seed,
            "reason": reasons.get(spec.method),
        }
        rows.append(_row(queue, str(spec), facts))
    rows = with_like_for_like(rows)
    protocol = read_json(queue.out / "done" / "time.json")["dense"].get("protocol")
    return {
        "rows": rows,
        "together": together(queue, rows),
        "sentences": len(queue.corpus.pooled_test()),
        "beams": queue.recipe.num_beams,
        "bench": {**queue.recipe.bench.model_dump(), "protocol": protocol},
        **provenance(command),
    }


def keep(queue: Queue, rows: Sequence[Row], kept: Kept) -> None:
    """Keeps the plans and translations of all models, so that intervals can be computed again."""
    references = queue.corpus.pooled_test().target
    for row in rows:
        said, plan = queue.out / "said" / f"{row['name']}.json", queue.out / row["name"] / "plan.json"
        if said.exists():
            kept.said(row["name"], read_json(said), references)
        if plan.exists():
            kept.plan(row["name"], Plan.load(plan))


def with_like_for_like(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their speed against the dense model that writes as few tokens, round by round.

    All were timed in the same ones.
    """
    (control,) = [row for row in rows if row["method"] == SHORTLIST and "ratios" in row][:1] or [None]
    found = []
    for row in rows:
        added = {}
        if control is not None and "ratios" in row and row["method"] not in (*WITHOUT, SHORTLIST):
            ratios = [mine / its for mine, its in zip(row["ratios"], control["ratios"], strict=True)]
            low, high = median_interval(ratios)
            added = {"like_for_like": {"sentence": median(ratios), "low": low, "high": high}}
        found.append({**row, **added})
    return found


def _row(queue: Queue, name: str, facts: dict[str, Any]) -> dict[str, Any]:
    done = {kind: queue.out / "done" / f"{kind}-{name}.json" for kind in ("train", "deploy")}
    found = {kind: read_json(path) if path.exists() else {} for kind, path in done.items()}
    found["time"] = read_json(queue.out / "done" / "time.json").get(name, {})
    row = {"name": name, **facts, **found["train"], **found["deploy"]}
    if not (found["deploy"] and found["time"]):
        return {**row, "failed": found["train"].get("failed", "not done")}
    time = found["time"]
    row |= {
        "latency_ms": time["latency_ms"]["pruned"],
        "dense_latency_ms": time["latency_ms"]["dense"],
        "speedup": time["speedup"],
        "speedup_interval": time["speedup_interval"],
        "noise": time["noise"],
        "ratios": time["ratios"]["onnxruntime"]["sentence"],
        "tokens_per_sentence": time["tokens_per_sentence"]["pruned"],
        "peak_memory": time["peak_memory"]["pruned"],
    }
    references = queue.corpus.pooled_test().target
    said = read_json(queue.out / "said" / f"{name}.json")
    for rival in ("dense", f"dense-more-1x-s{facts['seed']}"):
        path = queue.out / "said" / f"{rival}.json"
        if path.exists():
            key = "against_dense" if rival == "dense" else "against_dense_more"
            row[key] = paired_bootstrap(read_json(path), said, references).to_dict()
    return row


def together(queue: Queue, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One line for each method and size: means over its seeds, and the differences to dense trained on and to `ours`
    (`ours-regain`).
    """
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        if "failed" not in row:
            groups.setdefault((row["method"], row["named"]), []).append(row)
    return [_group(queue, groups, key) for key in groups]


def _group(queue: Queue, groups: Mapping[tuple[str, float], Sequence[Row]], key: tuple[str, float]) -> dict[str, Any]:
    mine = groups[key]
    speeds, edges = ([row[k]["onnxruntime"] for row in mine] for k in ("speedup", "speedup_interval"))
    alike = [row["like_for_like"] for row in mine if "like_for_like" in row]
    bleu = [row["bleu"] for row in mine]
    found = {
        "method": key[0],
        "named": key[1],
        "asked": mine[0]["asked"],
        "aim": mine[0].get("aim"),
        "seeds": [row["seed"] for row in mine],
        "bleu": round(fmean(bleu), 4),
        "bleu_range": [min(bleu), max(bleu)],
        "speedup": {part: round(fmean(s[part] for s in speeds), 4) for part in PARTS},
        "speedup_range": [min(e["sentence"][0] for e in edges), max(e["sentence"][1] for e in edges)],
        "parameters": round(fmean(row["parameters"] for row in mine)),
        "noisy": sum(row["noise"]["noisy"] for row in mine),
    }
    if alike:  # the mean, and the outermost ends of the seeds' intervals
        found["like_for_like"] = {
            "sentence": fmean(a["sentence"] for a in alike),
            "low": min(a["low"] for a in alike),
            "high": max(a["high"] for a in alike),
        }
    rivals = {
        "against_dense_more": groups.get(("dense-more", 1.0), ()),
        "against_ours": groups.get(("ours", key[1])) or groups.get(("ours-regain", key[1]), ()),
    }
    for name, rival in rivals.items():
        if gap := _difference(queue, mine, rival):
            found[name] = gap
    return found


def _difference(queue: Queue, mine: Sequence[Row], rival: Sequence[Row]) -> dict[str, Any] | None:
    """BLEU of `mine` minus that of the rival, over the seeds that both have."""
    theirs = {row["seed"]: row["name"] for row in rival}
    pairs = [(theirs[row["seed"]], row["name"]) for row in mine if row["seed"] in theirs]
    if not pairs or mine[0]["method"] == rival[0]["method"]:
        return None
    one, other = (
        [read_json(queue.out / "said" / f"{name}.json") for name in names] for names in zip(*pairs, strict=True)
    )
    return {**paired_over_runs(one, other, queue.corpus.pooled_test().target).to_dict(), "runs": len(pairs)}
