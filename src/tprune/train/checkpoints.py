"""Where a killed training goes on: its newest checkpoint that is whole. Each is sealed with sums of its files once all are on disk."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from tprune.support.files import read_json, write_json
from tprune.support.reporting import Report

SEAL = "sealed.json"


class Seals(TrainerCallback):
    """Seals every checkpoint that the Trainer writes; to be the first of its callbacks."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Once all of a checkpoint's files are written."""
        if state.is_world_process_zero:
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def seal(checkpoint: Path) -> None:
    """Writes the sums of a checkpoint's files beside them, after they have reached the disk."""
    sums = {}
    for path in _files(checkpoint):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            sums[path.relative_to(checkpoint).as_posix()] = sha256(file.read()).hexdigest()
    write_json(checkpoint / SEAL, sums)


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint; None where nothing is."""
    if not (checkpoint / SEAL).is_file():
        return "was not written to its end"
    try:
        sums = read_json(checkpoint / SEAL)
        for name, expected in sums.items():
            if sha256((checkpoint / name).read_bytes()).hexdigest() != expected:
                return f"{name} has changed since it was written"
        best = json.loads((checkpoint / "trainer_state.json").read_text("utf-8")).get("best_model_checkpoint")
    except (OSError, ValueError, AttributeError) as error:
        return f"a file is gone or cannot be read ({error})"
    if best and Path(best).name != checkpoint.name and (wrong := damage(checkpoint.parent / Path(best).name)):
        return f"its best weights are in {Path(best).name}, and there {wrong}"
    return None


def last_checkpoint(out: Path, report: Report = lambda text: None) -> str | None:
    """The newest whole checkpoint in a folder, None where there is none; `report` is told about those passed over."""
    found = [path for path in out.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    for path in sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True):
        wrong = damage(path)
        if wrong is None:
            return str(path)
        report(f"warning: {path} is passed over: {wrong}")
    return None


def _files(checkpoint: Path) -> list[Path]:
    return sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL)
