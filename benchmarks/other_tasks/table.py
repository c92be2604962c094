"""The table of models of other tasks, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from tprune.bench.known_phases import reported

MODELS = {
    "bert": "BERT, 128 wide, 4 layers, SST-2",
    "llama": "stories260K (Llama, grouped queries), its own sequences",
    "resnet": "ResNet-20, CIFAR-10 as JPEG",
}
WHAT = {
    "half": "half of the multiplications, one shot",
    "half, recovered": "half of the multiplications, recovered",
    "speed": "1.5 times as fast, recovered",
}
CHANGES = (("change", "+.2f"), ("speedup", ".2f"))
HEAD = "| model | asked | seeds | metric | dense | pruned | difference | speed | dense, ms | multiplications |"


def other_tasks_table(data: Mapping[str, Any]) -> str:
    """A line for each model and budget: means over the seeds, and intervals from the lowest to the highest end of the
    seeds' own.

    Args:
        data: the content of `results.json`.
    """
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in data["rows"]:
        groups.setdefault((row["model"], row["asked"]), []).append(row)
    lines = [line for name in sorted(groups, key=_order) for line in _lines(*name, groups[name])]
    made = [row for row in data["rows"] if "refused" not in row]
    machines = sorted({row["machine"]["cpu"] for row in made})
    commits = sorted({str(row["commit"]) for row in made})
    bench = made[0]["bench"]
    how = (
        f"Speeds are dense over pruned in onnxruntime, fp32 where nothing else is said, {bench['threads']} thread, "
        f"batch {bench['batch']}, in turns, of one run each; {', '.join(machines)}; source at {', '.join(commits)}; "
        "commands in `benchmarks/other_tasks/results.json`."
    )
    return "\n".join([HEAD, "|---" * 10 + "|", *lines, "", how])


def _order(name: tuple[str, str]) -> tuple[int, int]:
    return list(MODELS).index(name[0]), list(WHAT).index(name[1])


def _lines(model: str, asked: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The line of a model and budget, and below it those of both models in int8, against the dense model in fp32."""
    yield _line(model, asked, rows)
    for side in ("dense", "pruned"):
        found = [
            one for row in rows for one in row.get("rows", ()) if (one["model"], one["precision"]) == (side, "int8")
        ]
        if found:
            scores = [one["score"] for one in found]
            score = f"{fmean(scores):.2f} ({min(scores):.2f} to {max(scores):.2f})"
            change, speed = (_hull([one[key] for one in found], form) for key, form in CHANGES)
            yield f"| {side} in int8 | | {len(found)} | | | {score} | {change} | {speed} | | |"


def _line(model: str, asked: str, rows: Sequence[Mapping[str, Any]]) -> str:
    refused = [row["refused"] for row in rows if "refused" in row]
    made = [row for row in rows if "refused" not in row]
    start = f"| {MODELS[model]} | {WHAT[asked]} | {len(rows)} |"
    if not made:
        return f"{start} refused: {refused[0].removeprefix('tprune: ')} |" + " |" * 6
    metric = made[0]["metric"]
    values = {side: [row[side]["scores"][metric]["value"] for row in made] for side in ("dense", "pruned")}
    delta = _hull(
        [(row["difference"]["delta"], row["difference"]["low"], row["difference"]["high"]) for row in made], "+.2f"
    )
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
        f"{fmean(values['dense']):.2f}",
        f"{fmean(values['pruned']):.2f} ({min(values['pruned']):.2f} to {max(values['pruned']):.2f})",
        delta,
        f"{_hull(speeds, '.2f')}{noisy}",
        f"{min(dense):.2f} to {max(dense):.2f}",
        f"{share:.0%}",
    )
    return f"{start} {' | '.join(cells)} |"


def _hull(found: Sequence[tuple[float, float, float]], form: str) -> str:
    middle = fmean(value for value, _, _ in found)
    return f"{middle:{form}} [{min(low for _, low, _ in found):{form}}, {max(high for _, _, high in found):{form}}]"
