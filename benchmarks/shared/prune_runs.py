"""Runs of `tprune prune` as rows: a model with its data, what is asked for, and a seed; each in a folder of its own.

A run that is finished is not made again, and one that was killed goes on. What cannot be reached is a row too, with the
message.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tprune.report.results import RunResults, finished
from tprune.report.sides import PrecisionRow
from tprune.support.files import read_json, write_json

SEEDS = (0, 1, 2)
WALL = "wall.json"  # how long a run took, beside its results
KEPT = (
    "metric",
    "difference",
    "speedup",
    "speedup_interval",
    "target",
    "baselines",
    "bench",
    "noise",
    "commit",
    "machine",
)


@dataclass(frozen=True)
class Subject:
    """A model with its data.

    Attributes:
        name: of its folder.
        suffixes: of its files of data, by split.
        steps: of recovery, where there is any.
        kinds: of couplings that may be cut for a speed; the recipe's if none are named.
        plugins: modules that the verbs import, beside the benchmark.
        options: of the verb, whatever is asked for.
    """

    name: str
    suffixes: Mapping[str, str]
    steps: int
    kinds: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """What a benchmark asks of its models.

    Attributes:
        home: its folder, where plugins lie.
        asked: options of the verb by what is asked for.
        subjects: the models.
        shown: stands for the folder of the runs in stored commands.
    """

    home: Path
    asked: Mapping[str, tuple[str, ...]]
    subjects: tuple[Subject, ...]
    shown: str

    @property
    def numbers(self) -> Path:
        """The file of the rows."""
        return self.home / "results.json"


def command(series: Series, subject: Subject, asked: str, seed: int, folder: Path) -> tuple[list[str], Path]:
    """The command line of one run, and its directory."""
    model, out = folder / subject.name, folder / f"{subject.name}-{asked.replace(', ', '-').replace(' ', '-')}-{seed}"
    options = series.asked[asked]
    data = [part for split, end in subject.suffixes.items() for part in (f"--{split}", str(model / f"{split}{end}"))]
    kinds = [part for kind in subject.kinds if "--speedup" in options for part in ("--kind", kind)]
    steps = [] if "--one-shot" in options else ["--steps", str(subject.steps)]
    plugins = [part for name in subject.plugins for part in ("--plugin", name)]
    line = ["prune", str(model), *data, *options, *kinds, *steps, *subject.options, "--seed", str(seed), *plugins]
    return [*line, "--out", str(out)], out


def row(
    series: Series, subject: Subject, asked: str, seed: int, line: list[str], folder: Path, out: Path
) -> dict[str, Any]:
    """What is kept of a finished run."""
    results = finished(out)
    found = results.to_dict()
    sides = {
        side: {k: found[side][k] for k in ("scores", "parameters", "macs", "latency_ms")}
        for side in ("dense", "pruned")
    }
    said: dict[str, Any] = {
        "model": subject.name,
        "asked": asked,
        "seed": seed,
        "command": " ".join(["tprune", *line]).replace(str(folder), series.shown),
    }
    wall = read_json(out / WALL) if (out / WALL).exists() else {}
    rows = {"rows": [_precision(one, results) for one in results.rows]}
    return said | wall | {key: found[key] for key in KEPT} | sides | rows


def _precision(one: PrecisionRow, results: RunResults) -> dict[str, Any]:
    """What is kept of a model in one precision."""
    speed, change = one.speedup.get(results.phase), one.change
    return {
        "model": one.model,
        "precision": one.precision,
        "score": one.result.scores[results.metric].value,
        "bytes": one.result.bytes,
        "change": None if change is None else [change.delta, change.low, change.high],
        "speedup": None if speed is None else [speed.median, speed.low, speed.high],
    }


def made(series: Series, line: Sequence[str], out: Path) -> str | None:
    """Makes a run, and says how long it took beside it; the last line of its errors where it ends with one."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "tprune", *line], cwd=series.home, capture_output=True, text=True)
    if out.is_dir():
        before = read_json(out / WALL)["seconds"] if (out / WALL).exists() else 0.0
        write_json(out / WALL, {"seconds": before + time.perf_counter() - started})
    return (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else None


def rows(series: Series, folder: Path, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One row after the other, as the command line asks."""
    for asked in given.asked:
        for seed in given.seeds:
            for subject in (one for one in series.subjects if one.name in given.only):
                line, out = command(series, subject, asked, seed, folder)
                if given.collect and not (out / "results.json").exists():
                    continue
                said = None if (out / "results.json").exists() else made(series, line, out)
                print(f"{out.name}: {said or 'done'}", flush=True)
                if said is None:
                    yield row(series, subject, asked, seed, line, folder, out)
                else:
                    said = said.replace(str(folder), series.shown)
                    yield {"model": subject.name, "asked": asked, "seed": seed, "refused": said}


def run(series: Series, about: str | None) -> None:
    """The command line of a series: makes what it names, and keeps the rows."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[one.name for one in series.subjects], help="Names of models.")
    parser.add_argument(
        "--asked", nargs="+", choices=series.asked, default=list(series.asked), help="What is asked for."
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="Seeds.")
    parser.add_argument("--collect", action="store_true", help="Take finished runs alone, and run nothing.")
    given = parser.parse_args()
    known = read_json(series.numbers)["rows"] if series.numbers.exists() else []
    for found in rows(series, given.folder.resolve(), given):
        key = [found[name] for name in ("model", "asked", "seed")]
        known = [old for old in known if [old[name] for name in ("model", "asked", "seed")] != key] + [found]
        write_json(series.numbers, {"rows": known})
