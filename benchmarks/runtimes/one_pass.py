"""A BERT classifier and a ResNet, dense and pruned, in every precision of every runtime: a pass and what it gets right.

    python -m benchmarks.other_tasks.dense --data DATA --models MODELS --out runs/other-tasks
    python -m benchmarks.runtimes.one_pass runs/other-tasks --out runs/runtimes && python -m benchmarks.readme_table

Pruned is half of the multiplications, recovered, as in `benchmarks/other_tasks`. What was pruned, exported or scored is
not done again; times need a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.other_tasks.run import OTHERS, SERIES
from benchmarks.runtimes.run import store, timed
from benchmarks.shared.prune_runs import Subject, command
from tprune.runtimes.runtime import RUNTIMES, runtime_named
from tprune.support.files import read_json, write_json
from tprune.support.machine import provenance

NUMBERS = Path(__file__).with_name("one-pass.json")
PRECISIONS = ("fp32", "int8", "int8-static", "int8-weights", "bf16")
ASKED = "half, recovered"
NAMES = ("bert", "resnet")  # of `benchmarks.other_tasks`; the Llama is timed by prefill and step


def verb(*words: str) -> tuple[int, str, str]:
    """Runs one verb beside the plug-ins of the models: its exit code, output and last line of errors."""
    given = [sys.executable, "-m", "tprune", *words]
    done = subprocess.run(given, cwd=SERIES.home, capture_output=True, text=True)
    return done.returncode, done.stdout, (done.stderr.strip().splitlines() or [""])[-1]


def models(subject: Subject, folder: Path) -> dict[str, Path]:
    """The dense model, and the pruned one, which is made where it is not there."""
    line, out = command(SERIES, subject, ASKED, 0, folder)
    if not (out / "results.json").exists():
        code, _, said = verb(*line)
        if code:
            raise SystemExit(f"{out}: {said}")
    return {"dense": folder / subject.name, "half": out / "pruned"}


def exported(
    subject: Subject, folder: Path, out: Path, runtime: str, chosen: Sequence[str]
) -> Iterator[tuple[str, str, Path | str]]:
    """Side, precision, and the folder of the export or the reason why there is none."""
    data = folder / subject.name
    plugins = [part for name in subject.plugins for part in ("--plugin", name)]
    for side, model in models(subject, folder).items():
        for precision in chosen:
            made = out / subject.name / f"{side}-{runtime}-{precision}"
            asked = ["--runtime", runtime, "--precision", precision, *plugins, "--out", str(made)]
            if precision == "int8-static":
                asked += ["--valid", str(data / f"valid{subject.suffixes['valid']}")]
            code, said = 0, ""
            if not (made / "layout.json").exists():
                code, _, said = verb("export", str(model), *asked)
            yield side, precision, said if code else made


def scored(subject: Subject, folder: Path, made: Path) -> dict[str, Any] | str:
    """The share of the test data that an export gets right, kept beside it; or why it does not run here."""
    known = made.with_name(f"{made.name}.scores.json")
    if not known.exists():
        test = folder / subject.name / f"test{subject.suffixes['test']}"
        plugins = [part for name in subject.plugins for part in ("--plugin", name)]
        code, out, said = verb("evaluate", str(made), "--test", str(test), *plugins, "--json")
        if code:
            return said
        write_json(known, json.loads(out)["scores"][str(made)][0])
    return {"score": read_json(known)}


def _replaced(text: str, shown: Sequence[tuple[str, str]]) -> str:
    """A message in which folders of this machine have the names that commands are stored with."""
    for mine, name in shown:
        text = text.replace(mine, name)
    return text


def main() -> None:
    """Times what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the models and their data")
    parser.add_argument("--out", type=Path, default=Path("runs/runtimes"))
    parser.add_argument("--only", nargs="*", default=list(NAMES), choices=NAMES, help="names of models")
    parser.add_argument("--runtime", nargs="*", default=list(RUNTIMES), help="names of runtimes")
    parser.add_argument(
        "--threads", type=int, nargs="*", default=[1, 2], help="of the timings; none exports and scores alone"
    )
    parser.add_argument("--rounds", type=int, default=16)
    asked = parser.parse_args()
    folder, out = asked.folder.resolve(), asked.out.resolve()
    for subject in (one for one in OTHERS if one.name in asked.only):
        for runtime in asked.runtime:
            found = list(exported(subject, folder, out, runtime, PRECISIONS))
            tried = {(side, precision): what for side, precision, what in found if isinstance(what, Path)}
            tests = {key: scored(subject, folder, path) for key, path in tried.items()}
            scores = {" ".join(key): test for key, test in tests.items() if not isinstance(test, str)}
            made = {key: path for key, path in tried.items() if " ".join(key) in scores}
            refused = {f"{side} {precision}": what for side, precision, what in found if isinstance(what, str)}
            refused |= {" ".join(key): test for key, test in tests.items() if isinstance(test, str)}
            shown = ((str(folder), SERIES.shown), (str(out), "runs/runtimes"))
            refused = {name: _replaced(said, shown) for name, said in refused.items()}
            print(f"{subject.name} {runtime}: {len(made)} exports, {refused}", flush=True)
            for threads in asked.threads if made else ():
                rows = timed(made, threads, asked.rounds)
                row = {"case": subject.name, "runtime": runtime, "threads": threads, "batch": 1, "refused": refused}
                row |= {"rounds": asked.rounds, "models": {name: one | scores[name] for name, one in rows.items()}}
                row |= {"toolchain": dict(runtime_named(runtime).toolchain())}
                store(row | provenance("python -m benchmarks.runtimes.one_pass DIR --out DIR"), NUMBERS)


if __name__ == "__main__":
    main()
