"""Where a killed training goes on: its newest checkpoint that is whole.

Each gets a manifest once all of its files are on disk.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from tprune.support.files import read_json, write_json
from tprune.support.manifest import Manifest
from tprune.support.reporting import Report
from tprune.train.one_process import processes

MANIFEST = "sealed.json"


class Manifests(TrainerCallback):
    """Writes a manifest beside every checkpoint that the Trainer writes.

    To be the last of the callbacks that write into it.
    """

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Once all of a checkpoint's files are written."""
        if processes() > 1:
            torch.distributed.barrier()  # each process writes a file of its random numbers
        if state.is_world_process_zero:
            write_manifest(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def write_manifest(checkpoint: Path) -> None:
    """Notes the sums of a checkpoint's files beside them, after they have reached the disk."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MANIFEST)
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    write_json(checkpoint / MANIFEST, Manifest.of(checkpoint, files).sums())


def manifest_error(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint; None where nothing is."""
    if not (checkpoint / MANIFEST).is_file():
        return "was not written to its end"
    try:
        if wrong := Manifest.from_dict(read_json(checkpoint / MANIFEST)).error(checkpoint):
            return wrong
        best = json.loads((checkpoint / "trainer_state.json").read_text("utf-8")).get("best_model_checkpoint")
    except (OSError, ValueError, AttributeError) as error:
        return f"a file is gone or cannot be read ({error})"
    if best and Path(best).name != checkpoint.name and (wrong := manifest_error(checkpoint.parent / Path(best).name)):
        return f"its best weights are in {Path(best).name}, and there {wrong}"
    return None


def last_checkpoint(out: Path, report: Report = lambda text: None) -> str | None:
    """The newest whole checkpoint in a folder or None; `report` gets a line for each that is passed over."""
    found = [path for path in out.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdecimal()]
    for path in sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True):
        wrong = manifest_error(path)
        if wrong is None:
            return str(path)
        report(f"warning: {path} is passed over: {wrong}")
    return None
