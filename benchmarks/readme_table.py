"""Writes the tables of the README and the docs from the JSON files in benchmarks; a test checks that they agree.

python -m benchmarks.readme_table
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.families.table import families_table
from benchmarks.other_tasks.table import other_tasks_table
from benchmarks.peers.means import table
from benchmarks.peers.rows import markdown
from benchmarks.peers.words import gap
from benchmarks.recipes.run import Shown
from benchmarks.runtimes.table import one_pass_table, runtimes_table
from benchmarks.runtimes.why import why_table
from benchmarks.shared.commands import arguments_of
from tprune.bench.statistics import QUIET, half_width

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "benchmarks" / "peers" / "peers.json"
AGAIN, SCREENING = (NUMBERS.with_name(name) for name in ("again.json", "screening.json"))
RECOVERY = ROOT / "benchmarks" / "recovery" / "results.json"
RECIPES = ROOT / "benchmarks" / "recipes" / "results.json"
ONE_SHOT = ROOT / "benchmarks" / "one_shot" / "results.json"
OTHERS = ROOT / "benchmarks" / "other_tasks" / "results.json"
FAMILIES = ROOT / "benchmarks" / "families" / "results.json"
RUNTIMES = ROOT / "benchmarks" / "runtimes" / "results.json"
ONE_PASS = RUNTIMES.with_name("one-pass.json")
LATENCY = ROOT / "benchmarks" / "latency" / "results.json"
KEPT = LATENCY.with_name("kept-table.json")
IN_INT8 = LATENCY.with_name("results-int8.json")
PARTS = {
    "dense": "the dense model",
    "cut": "cut, untrained",
    "labels": "references",
    "sequence": "the teacher's translations",
    "word": "references, and words",
    "word+sequence": "translations, and words",
    "hidden": "references, and hidden states",
    "all": "translations, words, hidden states",
    "all+rewound": "the same, rates rewound",
    "at once": "cut by norms at once, references",
    "in rounds": "cut by norms in 3 rounds, references",
}
FIRST, SECOND = (
    (1, 2, 2.7),
    (1, 3),
)  # sizes, by the speed in models' names; others, and other methods, are in docs/peers.md


def recovery_table(data: Mapping[str, Any]) -> str:
    """What the parts of recovery give, in Markdown."""
    lines = ["| trained on, towards | steps | NLL | BLEU, beam 4 | against references alone |", "|---|---|---|---|---|"]
    for row in sorted(data["rows"], key=lambda r: list(PARTS).index(r["name"])):
        steps = row["training"]["steps"] if "training" in row else ""
        delta = gap(row["against_labels"]["beam4"]) if row["name"] not in ("labels", "dense", "cut") else ""
        lines.append(f"| {PARTS[row['name']]} | {steps} | {row['nll']:.2f} | {row['beam4']['bleu']:.2f} | {delta} |")
    how = (
        f"{data['sentences']:,} validation sentences, one seed, {data['machine']['cpu']}, source at {data['commit']}. "
        "95 % intervals over sentences."
    )
    return "\n".join([*lines, "", f"{how}{not_stored(data)}"])


def recipes_table(data: Mapping[str, Any]) -> str:
    """What the recipes gave, in Markdown, a line for each run."""
    lines = [
        "| recipe | asked | BLEU (beam): dense | pruned | difference | speed of a sentence, greedy | dense, "
        "ms | parameters | the machine |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    runs = {name: Shown.from_dict(each) for name, each in data.items()}
    for name, run in runs.items():
        ((runtime, speed),) = run.speedup.items()
        low, high = run.speedup_interval[runtime]["sentence"]
        sizes = " → ".join(f"{side.parameters / 1e6:.2f}" for side in (run.dense, run.pruned))
        state = "noisy" if half_width((low, high)) > QUIET else "quiet"
        lines.append(
            f"| `{name}` | {run.target.unit} {run.target.value:g} | {run.dense.bleu:.2f} ({run.beams}) | "
            f"{run.pruned.bleu:.2f} | {gap(asdict(run.bleu_difference))} | {speed['sentence']:.2f}x [{low:.2f}, "
            f"{high:.2f}] | {run.dense.latency_ms[runtime]['sentence']:.2f} | {sizes} M | {run.machine.cpu}, {state}; "
            f"source at {run.commit or 'a commit not stored'} |"
        )
    missing = [f"`{name}`" for name, run in runs.items() if not run.kept]
    stored = f" Plans and translations were not stored of {', '.join(missing)}." if missing else ""
    return "\n".join(
        [
            *lines,
            "",
            f"*Noisy*: the 95 % interval of the speed reaches farther than ±{QUIET:.0%}. Each run was timed on another "
            "occasion, so speeds compare with the run's own dense model only; differences in BLEU have 95 % intervals "
            f"over sentences, of one seed.{stored}",
        ]
    )


def one_shot_table(data: Mapping[str, Any]) -> str:
    """Losses without training, in Markdown, a line for each way."""
    shares = sorted({row["share"] for row in data["rows"]}, reverse=True)
    lines = [
        f"| sizes: order, repair | {' | '.join(f'{share:.0%}' for share in shares)} | seconds |",
        "|---" * (len(shares) + 2) + "|",
    ]
    for way in dict.fromkeys(row["way"] for row in data["rows"]):
        rows = {row["share"]: row for row in data["rows"] if row["way"] == way}
        cells = " | ".join(f"{rows[s]['loss']:.4f} ({rows[s]['macs'] / data['dense_macs']:.1%})" for s in shares)
        lines.append(f"| {way} | {cells} | {sum(row['seconds'] for row in rows.values()):.0f} |")
    lines += [
        "",
        f"Dense: {data['dense_loss']:.4f}, {data['dense_macs'] / 1e6:.0f} M MACs. Arguments: "
        f"`{arguments_of(data['command'])}`; source at {data['commit']}, "
        f"{data['machine']['cpu']}.{not_stored(data, 'plans')}",
    ]
    return "\n".join(lines)


def latency_text(data: Mapping[str, Any], source: Path) -> str:
    """How well latency tables predict, in a paragraph."""
    rows, setting = data["rows"], data["table"]["setting"]
    measured = [row["measured"] for row in rows]
    precision, dense = setting.get("precision", {"name": "fp32"})["name"], data["table"]["dense"]
    ms = dense["total"] if "total" in dense else dense["sentence"]
    return (
        f"Over {len(rows)} random plans (heads, dimensions inside heads, FFN units, whole sublayers, and in every "
        "third the width) of a Marian (256 wide, 3+3 layers), predicted and measured speedup of whole sentences differ "
        f"by {data['median_error']:.1%} in the median; {data['missed']} of {len(rows)} miss by more than 5 %, the "
        f"worst by {data['largest_error']:.0%} ({min(measured):.2f}x to {max(measured):.2f}x measured; "
        f"{setting['runtime']} in {precision}, {setting['threads']} thread, batch {setting['batch']}, greedy, "
        f"{ms:.2f} ms a sentence of the dense model, {data['machine']['cpu']}, source "
        f"at {data['commit']}; `{source.relative_to(ROOT).as_posix()}`).{not_stored(data, 'plans and rounds')}"
    )


def not_stored(data: Mapping[str, Any], what: str = "plans and translations") -> str:
    """A sentence where a benchmark did not keep what its numbers come from."""
    return "" if data.get("kept") else f" The {what} of this run were not stored."


def written(page: str, name: str, content: str) -> str:
    """The page with a table between the markers of that name."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


README, DOCS = ROOT / "README.md", ROOT / "docs"
PAGES = (
    (README, "results", NUMBERS, partial(table, speeds=FIRST)),
    (DOCS / "peers.md", "peers", NUMBERS, markdown),
    (DOCS / "peers-again.md", "again-means", AGAIN, partial(table, speeds=SECOND)),
    (DOCS / "peers-again.md", "again", AGAIN, markdown),
    (DOCS / "peers-screening.md", "screening", SCREENING, markdown),
    (DOCS / "recovery.md", "recovery", RECOVERY, recovery_table),
    (DOCS / "recipes.md", "recipes", RECIPES, recipes_table),
    (DOCS / "one-shot.md", "one-shot", ONE_SHOT, one_shot_table),
    (DOCS / "milliseconds.md", "latency", LATENCY, partial(latency_text, source=LATENCY)),
    (DOCS / "milliseconds.md", "latency-int8", IN_INT8, partial(latency_text, source=IN_INT8)),
    (DOCS / "milliseconds.md", "latency-kept", KEPT, partial(latency_text, source=KEPT)),
    (DOCS / "runtimes.md", "runtimes", RUNTIMES, runtimes_table),
    (DOCS / "runtimes.md", "why", RUNTIMES, why_table),
    (DOCS / "runtimes.md", "one-pass", ONE_PASS, one_pass_table),
    (DOCS / "tasks.md", "other-tasks", OTHERS, other_tasks_table),
    (DOCS / "tasks.md", "families", FAMILIES, families_table),
)

if __name__ == "__main__":
    for page, name, numbers, made in PAGES:
        content = made(json.loads(numbers.read_text(encoding="utf-8")))
        page.write_text(written(page.read_text(encoding="utf-8"), name, content), encoding="utf-8")
