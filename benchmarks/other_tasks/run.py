"""Three models of other tasks go the whole road: pruned by the same verb, with seeds and intervals.

    python -m benchmarks.other_tasks.dense --data DATA --models MODELS --out runs/other-tasks
    python -m benchmarks.other_tasks.run runs/other-tasks && python -m benchmarks.readme_table

Every row of `results.json` is one finished run of `tprune prune`; its command stands with it. A run that is finished is
not made again, one that was killed goes on; with `--collect` nothing is run. What a budget cannot reach is a row too,
with the message.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tprune.report.results import RunResults, finished
from tprune.report.sides import PrecisionRow
from tprune.support.files import read_json, write_json

HERE = Path(__file__).parent
NUMBERS = HERE / "results.json"
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Subject:
    """A model with its data.

    Attributes:
        name: of its folder.
        suffixes: of its files of data, by split.
        steps: of recovery, where there is any.
        kinds: of couplings that may be cut for a speed; the recipe's if none are named.
        plugins: modules beside this file that the verbs import.
    """

    name: str
    suffixes: dict[str, str]
    steps: int
    kinds: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()


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


def command(subject: Subject, asked: str, seed: int, folder: Path) -> tuple[list[str], Path]:
    """The command line of one run, and its directory."""
    model, out = folder / subject.name, folder / f"{subject.name}-{asked.replace(', ', '-')}-{seed}"
    data = [part for split, end in subject.suffixes.items() for part in (f"--{split}", str(model / f"{split}{end}"))]
    kinds = [part for kind in subject.kinds if asked == "speed" for part in ("--kind", kind)]
    steps = [] if "--one-shot" in ASKED[asked] else ["--steps", str(subject.steps)]
    plugins = [part for name in subject.plugins for part in ("--plugin", name)]
    line = ["prune", str(model), *data, *ASKED[asked], *kinds, *steps, "--seed", str(seed), *plugins, "--out", str(out)]
    return line, out


def row(subject: Subject, asked: str, seed: int, line: list[str], folder: Path, results: RunResults) -> dict[str, Any]:
    """What is kept of a finished run."""
    found = results.to_dict()
    keys = (
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
    sides = {
        side: {k: found[side][k] for k in ("scores", "parameters", "macs", "latency_ms")}
        for side in ("dense", "pruned")
    }
    said = {
        "model": subject.name,
        "asked": asked,
        "seed": seed,
        "command": " ".join(["tprune", *line]).replace(str(folder), "runs/other-tasks"),
    }
    return (
        said | {key: found[key] for key in keys} | sides | {"rows": [_precision(one, results) for one in results.rows]}
    )


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


def rows(
    folder: Path, only: tuple[str, ...], asked_for: tuple[str, ...], seeds: tuple[int, ...], collect: bool
) -> Iterator[dict[str, Any]]:
    """One row after the other."""
    for asked in asked_for:
        for seed in seeds:
            for subject in (one for one in OTHERS if one.name in only):
                line, out = command(subject, asked, seed, folder)
                if collect and not (out / "results.json").exists():
                    continue
                if not (out / "results.json").exists():
                    done = subprocess.run(
                        [sys.executable, "-m", "tprune", *line], cwd=HERE, capture_output=True, text=True
                    )
                    if done.returncode:
                        said = done.stderr.strip().splitlines()[-1].replace(str(folder), "runs/other-tasks")
                        print(f"{out.name}: {said}", flush=True)
                        yield {"model": subject.name, "asked": asked, "seed": seed, "refused": said}
                        continue
                print(f"{out.name}: done", flush=True)
                yield row(subject, asked, seed, line, folder, finished(out))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", default=[one.name for one in OTHERS], help="Names of models.")
    parser.add_argument("--asked", nargs="+", choices=ASKED, default=list(ASKED), help="What is asked for.")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, help="Seeds.")
    parser.add_argument("--collect", action="store_true", help="Take finished runs alone, and run nothing.")
    given = parser.parse_args()
    known = read_json(NUMBERS)["rows"] if NUMBERS.exists() else []
    for found in rows(given.folder.resolve(), tuple(given.only), tuple(given.asked), tuple(given.seeds), given.collect):
        key = [found[name] for name in ("model", "asked", "seed")]
        known = [old for old in known if [old[name] for name in ("model", "asked", "seed")] != key] + [found]
        write_json(NUMBERS, {"rows": known})
