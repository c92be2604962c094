"""Models that people bring go the whole road: one command each, from the dense model to a verified result.

    python -m benchmarks.families.dense --data DATA --out runs/families
    python -m benchmarks.families.run runs/families && python -m benchmarks.readme_table

Every row of `results.json` is one finished run of `tprune prune`, with its command and how long it took. A run that is
finished is not made again, one that was killed goes on; with `--collect` nothing is run. What cannot be reached is a
row too, with the message.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.shared.prune_runs import Series, Subject, run

TABLES = dict.fromkeys(("train", "valid", "test"), ".tsv")
SUBJECTS = (
    Subject("general", {"train": ".txt", "valid": ".txt", "test": ".tsv"}, 1000),
    Subject("banking77", TABLES, 1000),
    Subject("sst2", TABLES, 1000),
)
ASKED = {
    "1.5x": ("--speedup", "1.5"),
    "1.5x, one shot": ("--speedup", "1.5", "--one-shot"),
    "2x": ("--speedup", "2"),
}
SERIES = Series(Path(__file__).parent, ASKED, SUBJECTS, "runs/families")

if __name__ == "__main__":
    run(SERIES, __doc__)
