"""A run directory: what it was made for, and which of its stages are done."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from tprune.core.data import Data
from tprune.core.known_tasks import TASKS
from tprune.core.objectives import DEFAULT
from tprune.core.task import Task, WritesSentences
from tprune.core.words import words_of
from tprune.data.splits import Splits
from tprune.realise import checkpoint
from tprune.recipe.renamed import OLD_STAGES, current
from tprune.recipe.schema import Recipe
from tprune.report.names import names_of
from tprune.run.curves import FOLDER, Curves
from tprune.run.out_folder import HOLDER, LOCK, check_folder
from tprune.run.outputs import manifest_error, markers, quarantine, write_manifest
from tprune.run.refused import given_back
from tprune.run.stage import Asked, cheap, dependents, outputs, stage_named
from tprune.run.translation import TRAINED
from tprune.support.errors import InputError
from tprune.support.files import landing, read_json, write_json
from tprune.support.machine import default_threads, training_precision
from tprune.support.reporting import Progress
from tprune.train.team import leading


class Stopped(Exception):  # noqa: N818, it is no error
    """The stage that a run was to go to is done."""


@dataclass(frozen=True)
class Run:
    """One run directory and what it works on."""

    out: Path
    recipe: Recipe
    corpus: Splits[Any]
    model: str | None
    command: str
    progress: Progress
    plan: Path | None = None  # what to keep, where that was decided before
    vocabulary: Data | None = None  # sentences whose tokens are the only ones to keep
    dry: bool = False  # stop before the pruning is trained
    speeds: tuple[float, ...] = ()  # of a dry run that compares several
    until: str | None = None  # the last stage to do
    force: bool = False  # whatever the directory holds of another run goes
    architecture: Callable[..., nn.Module] | None = None  # the class of a model that is no part of transformers
    tunable: bool = False  # multiples that were tuned take the place of the recipe's, which nobody asked for
    tuned: Mapping[str, int] = field(default_factory=dict)  # multiples of the recipe that the runtime likes, by kind
    tracked: bool = False  # its curves are written for TensorBoard
    curves: Curves | None = None  # as long as it goes on, where it is tracked

    @property
    def task(self) -> Task:
        """What the model is for, with the recipe's settings of its search and of its metric."""
        found, recipe = TASKS.named(self.recipe.task or TRAINED), self.recipe
        return found.searching(recipe.num_beams, recipe.bleu_tokenize) if isinstance(found, WritesSentences) else found

    @property
    def asked(self) -> Asked:
        """What the table of stages asks of a run."""
        tests = words_of(self.task).count(sum(map(len, self.corpus.tests.values())))
        return Asked(self.recipe, self.vocabulary is not None, self.plan is not None, self.model, tests)

    def load(self, name: str | Path, dtype: torch.dtype | None = None) -> Any:
        """A model of this run, or the one that it is given."""
        return checkpoint.load(name, dtype=dtype, architecture=self.architecture)

    def processor(self, name: str | Path) -> Any:
        """What encodes the inputs of a model of this run."""
        return self.task.processor(name)

    def stage(self, name: str, work: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
        """Does a stage unless it is done; its marker is written last, so a broken stage is done again."""
        stages = markers(self.out)
        if self.has(name):
            self.progress.skip([name])
            return self._left(name, stages.get(name))
        if stages.done(name):
            wrong = manifest_error(self.out, name) or f"stages/{name}.json cannot be read"
            moved = quarantine(self.out, name)
            kept = f", set aside as {', '.join(moved)}" if moved else ""
            self.progress.note(
                f"warning: {self.out}: what stage {name} left is damaged ({wrong}{kept}); it is done again"
            )
        self.progress.stage(name, stage_named(name).message(self.asked))
        if self.curves is not None:
            self.curves.stage = name
        result = work() or {}
        write_manifest(self.out, name)
        stages.put(name, result)
        self.progress.finished()
        shutil.rmtree(self.work(name), ignore_errors=True)  # checkpoints within a stage that is over
        return self._left(name, result)

    def _left(self, name: str, result: dict[str, Any]) -> dict[str, Any]:
        if name == self.until:
            raise Stopped(name)
        return result

    def has(self, name: str) -> bool:
        """Whether a stage is done; one whose marker, or anything it left, is damaged or gone is not any more."""
        try:
            marked = isinstance(markers(self.out).get(name), dict)
        except InputError:
            return False
        return marked and manifest_error(self.out, name) is None

    def work(self, name: str) -> Path:
        """Where a stage keeps its checkpoints."""
        return self.out / "work" / name

    @property
    def base(self) -> Path:
        """The model that is pruned and that teaches: the dense one, with a smaller vocabulary where it was trimmed."""
        return self.out / ("dense" if self.vocabulary is None else "trimmed")


OWN = (
    "stages",
    "work",
    "run.json",
    "run.log",
    "forecast.json",
    "promise.json",  # of an earlier version
    "norms.json",
    "results.json",
    "report.html",
    FOLDER,
)  # of no stage
HALF_WRITTEN = re.compile(r"^\..+\.(\d+\.(new|old)|part)$")  # see `tprune.support.files`


@contextmanager
def run_lock(run: Run) -> Iterator[None]:
    """The directory belongs to this process inside the block; the lock goes with the process, however it ends.

    A block that is refused before any stage is finished leaves the directory as it was: see `tprune.run.refused`.

    Raises:
        InputError: another process works on it; says which.
    """
    check_folder(run.out)
    with given_back(run.out, cheap(copied=run.model is not None)), _locked(run):
        yield


@contextmanager
def _locked(run: Run) -> Iterator[None]:
    lock = FileLock(run.out / LOCK)
    try:
        landing(run.out).mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        note = run.out / HOLDER
        holder = read_json(note) if note.exists() else {"process": "?", "command": "?"}
        raise InputError(
            f"{run.out}: process {holder['process']} works on this run ({holder['command']}); wait for it, or "
            "choose another --out"
        ) from None
    except OSError as error:
        raise InputError(f"--out {run.out}: cannot be written ({error.strerror or error})") from None
    try:
        if run.force:
            _spare_inputs(run)
            clear(run.out)
        for left in [
            path for path in run.out.rglob(".*") if HALF_WRITTEN.match(path.name)
        ]:  # by a process that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        write_json(run.out / HOLDER, {"process": os.getpid(), "command": run.command})
        _rename_stages(run.out)
        yield
    finally:
        (run.out / HOLDER).unlink(missing_ok=True)
        lock.release()


def _rename_stages(out: Path) -> None:
    """What a run of an earlier version left of its stages gets the names that they have now."""
    for old, new in OLD_STAGES.items():
        places = ((out / "stages", ".json"), (out / "stages" / "sums", ".json"), (out / "work", ""))
        for folder, end in places:
            before, now = folder / f"{old}{end}", folder / f"{new}{end}"
            if before.exists() and not now.exists():
                before.rename(now)


def _spare_inputs(run: Run) -> None:
    """Raises `InputError` where what is to be emptied holds what is to be read."""
    for what, path in (("the model", run.model), ("--plan", run.plan)):
        if path is not None and Path(path).exists() and Path(path).resolve().is_relative_to(run.out.resolve()):
            raise InputError(
                f"--force would delete {what}, {path}, which lies in --out {run.out}; choose another --out"
            )


def clear(out: Path) -> None:
    """Empties a run directory; its marker goes last, so that what is left of a broken attempt is still known as a run.

    Raises:
        InputError: it holds what no run writes.
    """
    written = {*OWN, *(Path(name).parts[0] for name in outputs())}
    inside = [path for path in out.iterdir() if path.name not in (LOCK, HOLDER)]
    if foreign := sorted(p.name for p in inside if p.name not in written and not HALF_WRITTEN.match(p.name)):
        raise InputError(
            f"--force {out}: holds {foreign[0]!r}, which no run wrote; move it elsewhere, or choose another --out"
        )
    for path in sorted(inside, key=lambda path: path.name == "run.json"):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


TRAINS = {  # what decides the last bits of a result; by its key what it is, and how to have it as before
    "training.precision": ("the training precision", ""),
    "training.processes": ("processes that train together:", " (torchrun --nproc_per_node {0})"),
    "training.threads": ("threads:", " (OMP_NUM_THREADS={0} gives as many where there are cores enough)"),
}


def check_identity(run: Run) -> None:
    """Takes the directory for this recipe, corpus and model, and for how this process trains.

    Raises:
        InputError: finished work was done for others, or in another precision or with another number of threads, which
            changes what training gives.
    """
    digests = run.corpus.digests()
    if run.vocabulary is not None:
        digests["vocabulary"] = run.vocabulary.digest()
    mine = {
        "plan": None if run.plan is None else sha256(run.plan.read_bytes()).hexdigest()[:12],
        "recipe": run.recipe.model_dump(mode="json"),
        "model": run.model,
        "training": _training(run),
        "corpus": digests,
    }
    marker = run.out / "run.json"
    if marker.exists():
        before = read_json(marker)
        before["recipe"] = current(before.get("recipe", {}))
        if isinstance(prune := before["recipe"].get("prune"), dict):
            prune.setdefault("objective", DEFAULT)  # a run of before there was another
        if _trained(run):  # what is left to do computes nothing that hangs on it
            mine["training"] = before.get("training", mine["training"])
        before.setdefault("training", mine["training"])  # a run of before this was noted
        now, then = _flat(mine), _flat(before)
        for key in dict.fromkeys((*now, *then)):
            if now.get(key) != then.get(key) and _used(run, key):
                raise _another(run, key, then.get(key), now.get(key))
    names = names_of(run.recipe, run.corpus, run.model)  # for titles: a name may change
    write_json(marker, {**mine, "names": names, "tuned": dict(run.tuned)})


def _training(run: Run) -> dict[str, Any]:
    """How this process trains, as far as it decides the last bits of a result."""
    team = leading()
    together = {} if team is None else {"processes": team.seat.size}
    return {"precision": training_precision(run.recipe.train_precision), "threads": default_threads(), **together}


def _another(run: Run, key: str, then: object, now: object) -> InputError:
    """The error for a directory whose finished work was done for something else."""
    if key in TRAINS:
        (what, remedy), one = TRAINS[key], 1 if key == "training.processes" else None
        then, now = one if then is None else then, one if now is None else now
        return InputError(
            f"{run.out} holds a run that computes with {what} {then}; here it would be {now}, which gives another "
            f"result. Go on where it was begun{remedy.format(then)}, choose another --out, or replace it with --force"
        )
    other = f"other {key.removeprefix('corpus.')} {words_of(run.task).many}"
    what = other if key.startswith("corpus.") else f"another {key} ({then!r}, now {now!r})"
    return InputError(f"{run.out} holds a run with {what}; choose another --out, or replace it with --force")


def _used(run: Run, key: str) -> bool:
    """Whether a stage that needs this part of the description has begun."""
    stages = dependents(key, copied=run.model is not None)
    return any(run.has(stage) or run.work(stage).exists() for stage in stages)


def _trained(run: Run) -> bool:
    """Whether nothing is left to compute but times."""
    return run.has("recover") and run.has("evaluate")


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix: data}
    return {
        k: v for key, value in data.items() for k, v in _flat(value, f"{prefix}.{key}" if prefix else str(key)).items()
    }
