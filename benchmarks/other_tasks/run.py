"""Three models of other tasks go the whole road: pruned by the same verb, with seeds and intervals.

    python -m benchmarks.other_tasks.dense --data DATA --models MODELS --out runs/other-tasks
    python -m benchmarks.other_tasks.run runs/other-tasks && python -m benchmarks.readme_table

Every row of `results.json` is one finished run of `tprune prune`; its command stands with it. A run that is finished is
not made again, one that was killed goes on; with `--collect` nothing is run. What a budget cannot reach is a row too,
with the message.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.shared.prune_runs import Series, Subject, run

OTHERS = (
    Subject("bert", dict.fromkeys(("train", "valid", "test"), ".tsv"), 1000, ("ffn", "heads", "qk", "vo", "sublayer")),
    Subject("llama", dict.fromkeys(("train", "valid", "test"), ".jsonl"), 1000, ("ffn", "heads", "sublayer")),
    Subject("resnet", {"train": ".tar", "valid": ".tar", "test": ".tar.xz"}, 600, (), ("cifar_resnet",)),
)
ASKED = {
    "half": ("--macs", "0.5", "--one-shot"),
    "half, recovered": ("--macs", "0.5"),
    "speed": ("--speedup", "1.5"),
}
SERIES = Series(Path(__file__).parent, ASKED, OTHERS, "runs/other-tasks")

if __name__ == "__main__":
    run(SERIES, __doc__)
