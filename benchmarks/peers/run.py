"""Every pruning method on the same work: Multi30k English to German, one dense model, one budget of training, one
runtime.

    python -m benchmarks.peers.run --data DIR [--model DENSE] [--taught FILE] [--table latency.json] --out runs/peers
        [--methods magnitude fisher] [--speed 2 3] [--seed 0 1 2] [--units 2400] [--only 'train-*']

What is not given is made first: the dense model by the recipe, its translations of the training sources, the latency
    table.

Units of work: `shape-METHOD-SPEEDx` (timing of shapes that the latency table does not know), `aim-METHOD-SPEEDx` (the
plan is timed, and made again for a little more or less, until it is as fast as asked; both best on a quiet machine),
`train-METHOD-SPEEDx-sSEED`, then for each model `deploy-...` (export, translate the pooled tests, BLEU), and at last
`time`: all models asked for and the dense one, in turns in the same rounds. Each leaves a marker in OUT/done, and
training goes on from its last checkpoint, so a killed queue goes on where it was; several processes may share one OUT
with different `--only`. Compute is counted as in `compute.py`. What cannot reach a speed is recorded with the reason.
Times are worth something on a quiet machine only: run `--only 'shape-*'` and `--only time` then. Where a model was not
timed yet, all are timed again: only what ran in the same rounds compares. Then the table goes to `--json`, with all
models that OUT has, and their plans and translations to a folder beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import asdict, astuple, dataclass
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

from transformers import set_seed

from benchmarks.peers.compute import metered, share_of_macs
from benchmarks.peers.job import Job, Made, Method, Recovery, finish, kept_shares
from benchmarks.peers.methods import METHODS
from benchmarks.peers.speed import Speed, Stopwatch
from benchmarks.peers.table import keep, table
from benchmarks.shared.kept import Kept
from benchmarks.shared.units import Queue, deploy, timings
from tprune.core.plan import Plan
from tprune.costs.latency.cache import measured
from tprune.costs.latency.table import LatencyTable, TimingConfig
from tprune.data.parallel import Parallel, read_lines
from tprune.realise.certificate import Certificate
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.recipe.reader import read_recipe
from tprune.recipe.schema import Recover
from tprune.support.errors import CertificateError, DivergedError, UnreachableError
from tprune.support.files import read_json, write_json
from tprune.support.machine import cache_folder, default_threads
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.pseudo_targets import make_pseudo_targets
from tprune.train.training_data import TrainingData
from tprune.vocabulary.output_vocabulary import Resegmentation
from tprune.vocabulary.trim import writable, write_only_

HERE = Path(__file__).parent
RECIPE = HERE.parents[1] / "recipes" / "tprune" / "multi30k.yaml"
KINDS = ("ffn", "heads", "qk", "vo")
TARGETS = ("references", "taught", "both")
AIMS, CLOSE = 4, 0.03  # how often a plan is timed, and how near to the asked speed is near enough


@dataclass(frozen=True)
class Spec:
    """One model of the comparison."""

    method: str
    speed: float
    seed: int

    def __str__(self) -> str:
        return f"{self.method}-{self.speed:g}x-s{self.seed}"


def specs(methods: list[str], speeds: list[float], seeds: list[int]) -> Iterator[Spec]:
    """All of them; methods that are not made to a speed come once a seed."""
    for seed in seeds:
        for method in methods:
            timed = METHODS[method].timed
            yield from (Spec(method, speed, seed) for speed in (speeds if timed else [1.0]))


def train_unit(queue: Queue, job: Job, method: Method, name: str, asked: float) -> dict[str, Any]:
    """Makes the smaller model (or takes it from where the unit was killed), and recovers it with what is left of the
    budget.

    `asked` is noted, so that the table has it whatever the model is called later.
    """
    set_seed(job.seed)
    how = method.recovery(job)
    try:
        made, cost = _made(job, method, load_tokenizer(queue.out / "dense"))
        set_seed(job.seed)
        with metered() as meter:
            model, steps, spent = finish(job, made, how)
    except (UnreachableError, DivergedError, CertificateError) as error:
        return {"failed": str(error)}
    queue.save(model, name, made.plan, made.certificate)
    return {
        "asked": asked,
        "aim": job.target,
        "predicted": made.speedup,
        "units": job.units + how.extra,
        "spent": spent,
        "pruning_units": made.spent,
        "recovery_steps": steps,
        "macs_share": share_of_macs(model, job.dense),
        "pruning": cost,
        "recovery": asdict(meter),
        "kept": dict(kept_shares(made.plan)) if made.plan else None,
        "notes": list(made.notes),
        "seed": job.seed,
        "certificate": made.certificate.to_dict() if made.certificate else None,
    }


def shape_unit(job: Job, method: Method) -> dict[str, Any]:
    """Times the shapes that a method may take, so that its training finds them timed."""
    try:
        made = method.make(job)
        return {"predicted": made.speedup, "notes": list(made.notes)}
    except UnreachableError as error:
        return {"failed": str(error)}


def aim_unit(job: Job, method: Method) -> dict[str, Any]:
    """What to ask the latency table for, so that a plan is measured to be as fast as the job asks.

    Over at most `AIMS` plans.
    """
    tried: list[tuple[float, float]] = []
    aim = job.target
    for _ in range(AIMS):
        try:
            made = method.make(dataclasses.replace(job, target=aim))
        except UnreachableError as error:
            return {
                "aim": min(tried, key=lambda t: abs(t[1] / job.target - 1))[0] if tried else aim,
                "tried": tried,
                "failed": str(error),
            }
        tried.append((aim, job.speed.of_model(made.model, made.spelling.longer if made.spelling else 1.0)))
        if abs(tried[-1][1] / job.target - 1) < CLOSE:
            break
        aim *= job.target / tried[-1][1]
    return {"aim": min(tried, key=lambda t: abs(t[1] / job.target - 1))[0], "tried": tried}


def _made(job: Job, method: Method, tokenizer: Any) -> tuple[Made, dict[str, Any]]:
    note, folder = job.work / "made.json", job.work / "made"
    if not note.exists():
        goes_on = any(job.work.glob("*/checkpoint-*"))
        with metered() as meter:
            made = method.make(job)
        save(made.model, folder, tokenizer, made.plan)
        cost = {**asdict(meter), "resumed": goes_on}  # seconds are then those of the last run only
        proof = made.certificate.to_dict() if made.certificate else None
        write_json(
            note,
            {
                "speedup": made.speedup,
                "spent": made.spent,
                "notes": made.notes,
                "certificate": proof,
                "cost": cost,
                "spelling": made.spelling.to_dict() if made.spelling else None,
            },
        )
        return made, cost
    found = read_json(note)
    plan = Plan.load(folder / "plan.json") if (folder / "plan.json").exists() else None
    proof = Certificate(**found["certificate"]) if found["certificate"] else None
    spelling = Resegmentation.from_dict(found["spelling"]) if found["spelling"] else None
    made = Made(load(folder), found["speedup"], found["spent"], plan, proof, tuple(found["notes"]), spelling)
    return made, found["cost"]


def speed_of(queue: Queue, table_file: Path | None) -> Speed:
    """Predictions from a table that is given, or measured now (a quarter of an hour on a quiet machine)."""
    dense, tokenizer, sentences = queue.dense().eval(), load_tokenizer(queue.out / "dense"), queue.corpus.valid.source
    base = start_of(queue)
    if table_file is None:
        found = measured(base, tokenizer, sentences, TimingConfig(), cache_folder() / "latency", print, KINDS)
    else:
        found = LatencyTable.load(table_file)
    watch = Stopwatch(dense, tokenizer, sentences, found.setting, queue.out / "speed")
    return Speed(found, watch, watch(base).sentence)


def start_of(queue: Queue) -> Any:
    """The dense model that writes only tokens of the training translations: what all methods start from."""
    model = queue.dense().eval()
    write_only_(model, writable(model, load_tokenizer(queue.out / "dense"), queue.corpus.train.target))
    return model


def taught_material(queue: Queue, file: Path | None) -> TrainingData:
    """The training sources with the dense model's translations as targets, given in a file or made here."""
    train, dense, tokenizer = queue.corpus.train, queue.dense(), load_tokenizer(queue.out / "dense")
    if file is None:
        pairs = make_pseudo_targets(
            dense, tokenizer, train, queue.out / "taught", threads=default_threads(), report=print
        )
    else:
        pairs = Parallel(train.source, read_lines(file), file.name, (train.name, str(file)))
    return dataclasses.replace(
        queue.material, train=TrainingData.of(TRANSLATION, dense, tokenizer, pairs, queue.corpus.valid).train
    )


def recovery_of(queue: Queue, taught: TrainingData | None, asked: argparse.Namespace) -> Recovery:
    """The one recipe by which every pruned model is trained on."""
    stage = Recover(steps=0, lr=asked.lr, warmup=asked.warmup, distill=asked.distill, dropout=asked.dropout)
    if asked.targets == "references":
        return Recovery(stage, queue.material)
    assert taught is not None
    if asked.targets == "taught":
        return Recovery(stage, taught)
    both = queue.material.train
    joined = dataclasses.replace(
        both, source=both.source + taught.train.source, target=both.target + taught.train.target
    )
    return Recovery(stage, dataclasses.replace(queue.material, train=joined))


def job_of(queue: Queue, spec: Spec, speed: Speed, taught: TrainingData | None, how: Recovery, units: float) -> Job:
    seeded = partial(dataclasses.replace, seed=spec.seed)
    aimed = f"aim-{spec.method}-{spec.speed:g}x"
    target = float(queue.units.get(aimed)["aim"]) if queue.units.done(aimed) else spec.speed
    return Job(
        start_of(queue),
        seeded(queue.material),
        None if taught is None else seeded(taught),
        speed,
        target,
        units,
        dataclasses.replace(how, material=seeded(how.material)),
        spec.seed,
        load_tokenizer(queue.out / "dense"),
        queue.corpus.train.target,
        queue.out / "work" / f"train-{spec}",
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with the recipe's files")
    parser.add_argument("--model", help="a trained dense model; trained here by the recipe where none is given")
    parser.add_argument(
        "--taught",
        type=Path,
        help="the dense model's translations of the training sources; made here where none are given",
    )
    parser.add_argument(
        "--table", type=Path, help="a latency table of the dense model; measured here where none is given"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/peers"))
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS), metavar="METHOD")
    parser.add_argument("--speed", nargs="*", type=float, default=[2.0])
    parser.add_argument("--seed", nargs="*", type=int, default=[0])
    parser.add_argument("--units", type=float, default=2400.0, help="training compute of each model; see compute.py")
    parser.add_argument("--lr", type=float, default=1e-3, help="of recovery")
    parser.add_argument("--warmup", type=int, default=20, help="steps of recovery; from scratch see methods/scratch.py")
    parser.add_argument("--distill", type=float, default=0.0, help="weight of the dense model's word distributions")
    parser.add_argument("--dropout", type=float, default=0.1, help="in recovery")
    parser.add_argument("--targets", choices=TARGETS, default="both", help="what recovery learns to write")
    parser.add_argument("--only", nargs="*", default=["*"], help="only units whose names match one of these patterns")
    parser.add_argument("--json", type=Path, default=HERE / "peers.json", help="where the table's numbers go")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    recipe = read_recipe(RECIPE).model_copy(
        update={"train_precision": "fp32"}
    )  # `auto` might choose otherwise for some
    queue = Queue.open(asked.out, recipe, asked.data, asked.model)
    todo = list(specs(asked.methods, asked.speed, asked.seed))

    def wanted(name: str) -> bool:
        return not queue.units.done(name) and any(fnmatch(name, p) for p in asked.only)

    trainings = [spec for spec in todo if wanted(f"train-{spec}")]
    shapes = {f"shape-{spec.method}-{spec.speed:g}x": spec for spec in todo if METHODS[spec.method].shaped}
    shapes = {name: spec for name, spec in shapes.items() if wanted(name)}
    aims = {f"aim-{spec.method}-{spec.speed:g}x": spec for spec in todo if METHODS[spec.method].aimed}
    aims = {name: spec for name, spec in aims.items() if wanted(name)}
    if trainings or shapes or aims:
        teaches = asked.targets != "references" or any(spec.method.startswith("student") for spec in trainings)
        speed, taught = speed_of(queue, asked.table), taught_material(queue, asked.taught) if teaches else None
        how = recovery_of(queue, taught, asked)
        for name, spec in shapes.items():
            job = job_of(queue, spec, speed, taught, how, asked.units)
            queue.unit(name, partial(shape_unit, job, METHODS[spec.method]))
        for name, spec in aims.items():
            job = job_of(queue, spec, speed, taught, how, asked.units)
            queue.unit(name, partial(aim_unit, job, METHODS[spec.method]))
        for spec in trainings:
            job = job_of(queue, spec, speed, taught, how, asked.units)
            queue.unit(f"train-{spec}", partial(train_unit, queue, job, METHODS[spec.method], str(spec), spec.speed))
    todo = sorted({*todo, *made_before(queue.out)}, key=lambda spec: (list(METHODS).index(spec.method), *astuple(spec)))
    names = ["dense", *(str(spec) for spec in todo if (queue.out / str(spec) / "config.json").exists())]
    for name in names:
        if wanted(f"deploy-{name}"):
            queue.unit(f"deploy-{name}", partial(deploy, queue, name))

    def timed() -> bool:
        return queue.units.done("time") and set(queue.units.get("time")) >= set(names)

    if any(fnmatch("time", p) for p in asked.only) and not timed():
        print("time ...", flush=True)
        queue.units.put("time", timings(queue, names))
    if timed():
        how = (
            f"--units {asked.units:g} --targets {asked.targets} --distill {asked.distill:g} --dropout {asked.dropout:g}"
        )
        found, kept = table(queue, todo, f"python -m benchmarks.peers.run --data DIR {how}"), Kept.beside(asked.json)
        keep(queue, found["rows"], kept)
        write_json(asked.json, {**found, "kept": kept.folder.name})
        print(asked.json)


def made_before(out: Path) -> Iterator[Spec]:
    """The models that a folder has from earlier calls: they are in the table too."""
    for marker in (out / "done").glob("train-*.json"):
        found = re.fullmatch(r"train-(.+)-([\d.]+)x-s(\d+)", marker.stem)
        if found and found[1] in METHODS:
            yield Spec(found[1], float(found[2]), int(found[3]))


if __name__ == "__main__":
    main()
