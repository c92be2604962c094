"""The README's table: a line for each method and size, means over seeds, intervals over sentences and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.peers.words import aimed, asked, control, footnotes, gap, like_for_like, named, noisy, ruler, sentence
from benchmarks.shared.seeds import over_seeds

LABELS = {
    "dense": "dense",
    "dense-more": "dense, trained on",
    "fewer-tokens": "dense, trained on, fewer tokens",
    "student-more": "student from scratch",
    "ours": "**tprune**",
    "ours-regain": "**tprune**, `expected_recovery: {ffn: 0.75}`",
    "fisher": "Fisher masks",
    "second-order": "ZipLM-like",
    "fisher-repaired": "Fisher masks, repaired by tprune",
    "michel": "gradients (Michel)",
    "tprune-paper": "Hoyer-square, our settings",
}
HEAD = (
    "| model | asked | aimed at | speed, greedy | like for like | BLEU, beam 4 | against dense, trained "
    "on: over sentences | over seeds | parameters | updates |",
    "|---|---|---|---|---|---|---|---|---|---|",
)


def table(data: Mapping[str, Any], speeds: Sequence[float]) -> str:
    """The table in Markdown, and how it was made.

    Args:
        data: content of a JSON file that `run.py` wrote.
        speeds: which sizes, by the speed in their models' names.
    """
    done = [row for row in data["rows"] if "failed" not in row]
    groups = [group for group in data["together"] if group["method"] in LABELS and named(group) in speeds]
    groups.sort(key=lambda group: (named(group), -group["bleu"]))
    marks, notes = footnotes(data, (group["method"] for group in groups))
    dense_more = [row for row in done if row["method"] == "dense-more"]
    lines, shown = [*HEAD], []
    for group in groups:
        rows = [row for row in done if (row["method"], named(row)) == (group["method"], named(group))]
        shown += rows
        low, high = group["speedup_range"]
        updates = "" if "recovery_steps" not in rows[0] else f"{fmean(row['recovery_steps'] for row in rows):,.0f}"
        seeds = over_seeds(rows, dense_more) if group["method"] != "dense-more" else None
        lines.append(
            f"| {LABELS[group['method']]}{marks.get(group['method'], '')} | {asked(rows[0])} | {aimed(rows[0])} | "
            f"{sentence(group):.2f}x [{low:.2f}, {high:.2f}] | {like_for_like(group, control(done))} | "
            f"{group['bleu']:.2f}{_range(group)} | {gap(group.get('against_dense_more'))} | {gap(seeds)} | "
            f"{group['parameters'] / 1e6:.2f} M | {updates} |"
        )
    return "\n".join([*lines, "", *_made(data, shown), *notes])


def _range(group: Mapping[str, Any]) -> str:
    low, high = group["bleu_range"]
    return f" ({low:.2f} to {high:.2f}; {len(group['seeds'])})" if len(group["seeds"]) > 1 else ""


def _made(data: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How quality and speed were measured, and what does not follow from them."""
    signature = next(row["bleu_signature"] for row in rows)
    return [
        f"Multi30k English to German, {data['sentences']:,} test sentences (four sets pooled). BLEU: beam "
        f"{data['beams']}, `{signature}`; in brackets range and number of seeds, else one. Differences to *dense, "
        "trained on* (same seeds) with 95 % intervals: by paired bootstrap over sentences, and by Student's t over "
        f"three seeds. {_caution(data)}",
        "",
        f"{ruler(data)} In brackets from the lowest to the highest end of the seeds' 95 % intervals; {noisy(rows)}. "
        f"*asked*: what was asked for first; *aimed at*: what the latency table was asked for. {shortlist(data)}",
        "",
    ]


def _caution(data: Mapping[str, Any]) -> str:
    stored = "" if data.get("kept") else "; translations, plans and rounds of this table were not stored"
    pairs = sum("against_dense_more" in group for group in data["together"]) + sum(
        "against_ours" in group for group in data["together"]
    )
    return (
        f"Neither interval covers both; {pairs} differences were looked at in this comparison, "
        f"and nothing is corrected for their number{stored}."
    )


def shortlist(data: Mapping[str, Any]) -> str:
    """What the smaller models have from writing fewer tokens, and how the like-for-like speed is found."""
    found = control([row for row in data["rows"] if "failed" not in row])
    if data.get("tokens") == "all":
        return "All models write all tokens."
    if found is None:
        return (
            "All smaller models write fewer tokens than the dense one, which is a part of their speed; the dense model "
            "with as few tokens was not timed here, so there is no like-for-like speed."
        )
    exact = any("like_for_like" in row for row in data["rows"])
    how = (
        "in the same rounds, with its 95 % interval"
        if exact
        else "a point estimate, the ratio of both speeds, as rounds were not stored"
    )
    return (
        "All smaller models write 2,941 of 4,000 tokens; *like for like* is the speed against the dense model, trained "
        f"on, that writes as few, alone {sentence(found):.2f}x ({how})."
    )
