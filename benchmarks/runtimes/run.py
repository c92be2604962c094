"""Dense and pruned models in every precision of every runtime: encoder, step and sentence, timed in the same rounds.

    python -m benchmarks.runtimes.run --data DIR --out runs/runtimes [--trained NAME=DENSE --pruned ASKED=RUN ...]
    python -m benchmarks.readme_table

Without `--trained` the models have random weights (512 dimensions, 6 + 6 layers): speed alone. A trained model is
scored too. Runtimes that are not installed, and precisions that one does not run, are rows with the reason. What was
exported is not exported again; times need a quiet machine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.runtimes.models import Case, large
from benchmarks.runtimes.profile import operators
from tprune.bench.harness import BenchResult, bench_all
from tprune.bench.statistics import median_interval
from tprune.bench.work import Workload
from tprune.cli.evaluate import evaluate
from tprune.core.precision import FP32, Precision
from tprune.data.parallel import Parallel, read_pair
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.runtimes.export import export
from tprune.runtimes.runtime import RUNTIMES, runtime_named
from tprune.support.errors import InputError, TpruneError
from tprune.support.files import read_json, write_json
from tprune.support.machine import provenance

NUMBERS = Path(__file__).with_name("results.json")
PRECISIONS = ("fp32", "int8", "int8-greedy", "int8-weights", "bf16")
COMPARED = ("fp32", "int8")  # against whose dense rows a ratio is taken
CHECKED = 4  # sentences of the check
SENTENCES = 4  # as long as each other where weights are random
SEARCHED = Workload(sentences=SENTENCES)  # greedily
BEAMS = 4


def exported(case: Case, folder: Path, runtime: str, chosen: Iterable[str]) -> Iterator[tuple[str, str, Path | str]]:
    """Side, precision, and the folder of the export or the reason why there is none."""
    for side, model in {"dense": case.dense, **case.pruned}.items():
        for precision in chosen:
            out = folder / f"{side}-{runtime}-{precision}"
            try:
                if not (out / "layout.json").exists():
                    fp32 = folder / f"{side}-{runtime}-{FP32.name}"
                    export(
                        load(str(model)).eval(),
                        load_tokenizer(str(model)),
                        out,
                        case.sentences[:CHECKED],
                        runtime_named(runtime),
                        precision=Precision(precision),
                        fp32=fp32 if precision != FP32.name and fp32.is_dir() else None,
                    )
                yield side, precision, out
            except TpruneError as error:
                yield side, precision, str(error)


def timed(
    made: Mapping[tuple[str, str], Path],
    threads: int,
    rounds: int,
    sentences: Sequence[str] | None = None,
    work: Workload | None = None,
) -> dict[str, Any]:
    """The rows of a runtime that was timed: every export in the rounds of the dense model in single precision."""
    dense = made["dense", FP32.name]
    others = {" ".join(key): folder for key, folder in made.items()}  # the dense model too, against itself
    found = bench_all(dense, others, sentences, threads, rounds=rounds, work=work)
    return {name: _timed_row(name, found) for name in others}


def with_beams(
    rows: Mapping[str, dict[str, Any]],
    made: Mapping[tuple[str, str], Path],
    threads: int,
    rounds: int,
    sentences: Sequence[str],
) -> dict[str, dict[str, Any]]:
    """The rows, those of fp32 and int8 with the time of a sentence that is searched with four beams."""
    few = {key: folder for key, folder in made.items() if key[1] in COMPARED}
    found = timed(few, threads, rounds, sentences, replace(SEARCHED, beams=BEAMS, measures=("sentence",)))
    more = {
        name: {
            "beam_4_ms": one["ms"]["sentence"],
            "beam_4_against": {k: v["sentence"] for k, v in one["against"].items()},
        }
        for name, one in found.items()
    }
    return {name: row | more.get(name, {}) for name, row in rows.items()}


def _timed_row(name: str, found: Mapping[str, BenchResult]) -> dict[str, Any]:
    this = found[name]
    against = {
        one: {phase: _ratio(found[f"dense {one}"], this, phase) for phase in this.speedup}
        for one in COMPARED
        if f"dense {one}" in found
    }
    weight = this.footprint["pruned"]
    return {
        "ms": dict(this.latency_ms["pruned"]),
        "against": against,
        "bytes": weight.bytes,
        "parameters": weight.parameters,
        "macs": weight.macs,
        "tokens": weight.tokens_per_sentence,
        "peak_memory": weight.peak_memory,
        "rounds_ms": {phase: list(each) for phase, each in this.rounds_ms["pruned"].items()},
    }


def _ratio(dense: BenchResult, this: BenchResult, phase: str) -> list[float]:
    """Median and 95 % interval of the ratio of two models that were timed in the same rounds."""
    pairs = zip(dense.rounds_ms["pruned"][phase], this.rounds_ms["pruned"][phase], strict=True)
    ratios = [one / other for one, other in pairs]
    return [median(ratios), *median_interval(ratios)]


def scored(folder: Path, test: Parallel | None) -> dict[str, Any]:
    """BLEU, greedy and with beams, where there is a test set; kept beside the export."""
    if test is None:
        return {}
    known = folder.with_name(f"{folder.name}.scores.json")
    if not known.exists():
        found = {f"beam {beams}": evaluate(str(folder), test, beams=beams) for beams in (1, 4)}
        write_json(known, {name: next(iter(each["scores"].values())) for name, each in found.items()})
    return {"scores": read_json(known)}


def rows(case: Case, test: Parallel | None, out: Path, names: Iterable[str], asked: argparse.Namespace) -> None:
    """Exports, scores and times one case, and stores what is found after each runtime and number of threads."""
    for runtime in names:
        folder = out / case.name
        made, refused = dict[tuple[str, str], Path](), dict[str, str]()
        for side, precision, what in exported(case, folder, runtime, asked.precision):
            print(f"{case.name} {runtime} {side} {precision}: {what}", flush=True)
            if isinstance(what, Path):
                made[side, precision] = what
            else:
                refused[f"{side} {precision}"] = what
        scores = {" ".join(key): scored(path, test) for key, path in made.items()}
        profiles = operators(made) if runtime == "onnxruntime" else {}
        for threads in asked.threads if made else ():
            given = (made, threads, asked.rounds, case.sentences)
            found = with_beams(timed(*given, SEARCHED), *given)
            store(
                {
                    "case": case.name,
                    "runtime": runtime,
                    "threads": threads,
                    "batch": 1,
                    "rounds": asked.rounds,
                    "sentences": SENTENCES,
                    "trained": test is not None,
                    "models": {name: row | scores[name] for name, row in found.items()},
                    "refused": refused,
                    "operators": profiles if threads == 1 else {},
                    "toolchain": dict(runtime_named(runtime).toolchain()),
                    **provenance("python -m benchmarks.runtimes.run --data DIR --out DIR"),
                }
            )


def store(row: dict[str, Any], numbers: Path = NUMBERS) -> None:
    """Puts a row in the place of an older one of the same case, runtime, threads and machine."""
    known = read_json(numbers)["rows"] if numbers.exists() else []
    write_json(numbers, {"rows": [old for old in known if _key(old) != _key(row)] + [row]})


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["case"], row["runtime"], row["threads"], row["machine"]["cpu"]


def main() -> None:
    """Times what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of Multi30k")
    parser.add_argument("--out", type=Path, default=Path("runs/runtimes"))
    parser.add_argument("--trained", help="NAME=FOLDER of a trained dense model")
    parser.add_argument("--pruned", nargs="*", default=[], help="ASKED=FOLDER of models pruned from it")
    parser.add_argument("--precision", nargs="*", default=list(PRECISIONS), help="precisions of the exports")
    parser.add_argument("--runtime", nargs="*", default=list(RUNTIMES), help="names of runtimes")
    parser.add_argument(
        "--threads", type=int, nargs="*", default=[1, 2], help="of the timings; none exports and scores alone"
    )
    parser.add_argument("--rounds", type=int, default=16)
    asked = parser.parse_args()
    test = None
    case = large(asked.data, asked.out / "d512") if asked.trained is None else None
    if case is None:
        name, _, dense = asked.trained.partition("=")
        pruned = {what: Path(folder) for what, _, folder in (each.partition("=") for each in asked.pruned)}
        if not dense or not pruned:
            raise InputError(f"--trained {asked.trained!r}; expected NAME=FOLDER, and --pruned ASKED=FOLDER")
        test = read_pair(asked.data / "test_2016_flickr.en.gz", asked.data / "test_2016_flickr.de.gz")
        case = Case(name, Path(dense), pruned, test.source)
    rows(case, test, asked.out, asked.runtime, asked)


if __name__ == "__main__":
    main()
