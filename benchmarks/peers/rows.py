"""A line for every model of a comparison, in Markdown: the best first at each size, then what was not reached, with the
reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.peers.means import shortlist
from benchmarks.peers.words import aimed, asked, control, footnotes, gap, like_for_like, named, noisy, ruler, sentence
from benchmarks.shared.commands import arguments_of

HEAD = (
    "| method | asked | aimed at | seed | speed, greedy | like for like | BLEU, beam {beams} | against dense{trained} "
    "(95 %, over sentences) | MACs | updates | pruning: s, GiB | units: pruning, all | notes |"
)


def markdown(data: Mapping[str, Any]) -> str:
    """The table, what its numbers were measured with, and in what methods differ from what their names say."""
    done = [row for row in data["rows"] if "failed" not in row]
    trained_on = any("against_dense_more" in row for row in done)
    marks, notes = footnotes(data, dict.fromkeys(row["method"] for row in sorted(done, key=_order)))
    lines = [HEAD.format(beams=data["beams"], trained=", trained on" if trained_on else ""), "|---" * 13 + "|"]
    for row in sorted(done, key=_order):
        low, high = row["speedup_interval"]["onnxruntime"]["sentence"]
        cost, rival = row.get("pruning"), "against_dense_more" if trained_on else "against_dense"
        lines.append(
            f"| {row['method']}{marks.get(row['method'], '')} | {asked(row)} | {aimed(row)} | {_seed(row)} | "
            f"{sentence(row):.2f}x [{low:.2f}, {high:.2f}] | {like_for_like(row, control(done))} | {row['bleu']:.2f} | "
            f"{gap(row.get(rival)) if row['method'] != 'dense-more' else ''} | {row['macs'] / 1e6:.0f} M | "
            f"{row.get('recovery_steps', '')} | {'' if cost is None else _cost(cost)} | "
            f"{'' if cost is None else _units(row)} | {_notes(row)} |"
        )
    for row in data["rows"]:
        if "failed" in row:
            lines.append(
                f"| {row['method']} | {asked(row)} | {aimed(row)} | {_seed(row)} | not reached{' |' * 8} "
                f"{row['failed']} |"
            )
    stored = (
        ""
        if data.get("kept")
        else " Translations, plans and rounds of this table were not stored, so intervals cannot be computed again."
    )
    lines += [
        "",
        f"{data['sentences']:,} test sentences (four sets pooled). {ruler(data)} In brackets the 95 % interval of each "
        f"model's speed; {noisy(done)}. {shortlist(data)} Arguments: `{arguments_of(data['command'])}`.{stored}",
        "",
        *notes,
    ]
    return "\n".join(lines)


def _order(row: Mapping[str, Any]) -> tuple[float, float]:
    return named(row), -row["bleu"]


def _seed(row: Mapping[str, Any]) -> str:
    return "" if row["seed"] is None else str(row["seed"])


def _cost(cost: Mapping[str, float]) -> str:
    return f"{cost['seconds']:.0f}, {cost['peak'] / 2**30:.2f}"


def _units(row: Mapping[str, Any]) -> str:
    return f"{row['pruning_units']:.0f}, {row['spent']:.0f}"


def _notes(row: Mapping[str, Any]) -> str:
    off = row.get("predicted", math.nan) / sentence(row)
    told = [] if math.isnan(off) or abs(off - 1) < 0.1 else [f"predicted {row['predicted']:.2f}x"]
    return "; ".join([*([row["reason"]] if row.get("reason") else []), *row.get("notes", []), *told])
