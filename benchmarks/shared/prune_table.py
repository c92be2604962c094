"""The table of a series of runs of `tprune prune`, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from tprune.bench.known_phases import reported

CHANGES = (("change", "+.2f"), ("speedup", ".2f"))
HEAD = "| model | asked | seeds | metric | dense | pruned | difference | speed | dense, ms | multiplications |"


@dataclass(frozen=True)
class Words:
    """What a table calls models and what is asked for, in its order, and where the commands lie."""

    models: Mapping[str, str]
    asked: Mapping[str, str]
    source: str


def runs_table(data: Mapping[str, Any], words: Words) -> str:
    """A line for each model and budget: means over the seeds, and intervals from the lowest to the highest end of the
    seeds' own.

    Args:
        data: the content of `results.json`.
        words: names for readers.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in data["rows"]:
        groups.setdefault((row["model"], row["asked"]), []).append(row)
    order = sorted(groups, key=lambda name: (list(words.models).index(name[0]), list(words.asked).index(name[1])))
    timed = any("seconds" in row for row in data["rows"])
    lines = [line for name in order for line in _lines(*name, groups[name], words, timed)]
    made = [row for row in data["rows"] if "refused" not in row]
    machines = sorted({row["machine"]["cpu"] for row in made})
    commits = sorted({str(row["commit"]) for row in made})
    bench = made[0]["bench"]
    wall = " Minutes are those of the whole command, up to the measured result." if timed else ""
    how = (
        f"Speeds are dense over pruned in onnxruntime, fp32 where nothing else is said, {bench['threads']} thread, "
        f"batch {bench['batch']}, in turns, of one run each; {', '.join(machines)}; source at {', '.join(commits)}; "
        f"commands in `{words.source}`.{wall}"
    )
    columns = HEAD.count("|") - 1 + timed
    return "\n".join([f"{HEAD} minutes |" if timed else HEAD, "|---" * columns + "|", *lines, "", how])


def _lines(model: str, asked: str, rows: Sequence[Mapping[str, Any]], words: Words, timed: bool) -> Iterator[str]:
    """The line of a model and budget, and below it those of both models in int8, against the dense model in fp32."""
    more = " |" if timed else ""
    minutes = [row["seconds"] / 60 for row in rows if "seconds" in row]
    wall = f" {_span(minutes, 0)} |" if minutes else more
    yield _line(f"| {words.models[model]} | {words.asked[asked]} | {len(rows)} |", rows) + wall
    for side in ("dense", "pruned"):
        found = [
            one for row in rows for one in row.get("rows", ()) if (one["model"], one["precision"]) == (side, "int8")
        ]
        if found:
            scores = [one["score"] for one in found]
            score = f"{fmean(scores):.2f} ({_span(scores)})"
            change, speed = (_hull([one[key] for one in found], form) for key, form in CHANGES)
            yield f"| {side} in int8 | | {len(found)} | | | {score} | {change} | {speed} | | |{more}"


def _line(start: str, rows: Sequence[Mapping[str, Any]]) -> str:
    refused = [row["refused"] for row in rows if "refused" in row]
    made = [row for row in rows if "refused" not in row]
    if not made:
        return f"{start} refused: {refused[0].removeprefix('tprune: ')} |" + " |" * 6
    metric = made[0]["metric"]
    values = {side: [row[side]["scores"][metric]["value"] for row in made] for side in ("dense", "pruned")}
    digits = made[0]["difference"]["metric"].get("digits", 2)
    changes = [(row["difference"]["delta"], row["difference"]["low"], row["difference"]["high"]) for row in made]
    phase = made[0]["target"].get("phase") or reported(next(iter(made[0]["speedup"].values())))
    speeds = [
        (row["speedup"][runtime][phase], *row["speedup_interval"][runtime][phase])
        for row in made
        for runtime in row["speedup"]
    ]
    dense = [times[phase] for row in made for times in row["dense"]["latency_ms"].values()]
    share = fmean(row["pruned"]["macs"] / row["dense"]["macs"] for row in made)
    noisy = " (noisy)" if any(row["noise"]["noisy"] for row in made) else ""
    cells = (
        metric,
        f"{fmean(values['dense']):.{digits}f}",
        f"{fmean(values['pruned']):.{digits}f} ({_span(values['pruned'], digits)})",
        _hull(changes, f"+.{digits}f"),
        f"{_hull(speeds, '.2f')}{noisy}",
        _span(dense),
        f"{share:.0%}",
    )
    return f"{start} {' | '.join(cells)} |"


def _span(values: Sequence[float], digits: int = 2) -> str:
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def _hull(found: Sequence[tuple[float, float, float]], form: str) -> str:
    middle = fmean(value for value, _, _ in found)
    return f"{middle:{form}} [{min(low for _, low, _ in found):{form}}, {max(high for _, _, high in found):{form}}]"
