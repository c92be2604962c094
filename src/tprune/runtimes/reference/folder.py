"""A folder that stands for a checkpoint, so that it is timed as an exported one is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from tprune.core.known_tasks import task_of
from tprune.families.graphs.graph import Listening, skeleton_of
from tprune.realise.checkpoint import load
from tprune.runtimes.export import graphs_of, kind_of, layout_of
from tprune.runtimes.reference.engine import TorchReference, check_compiler
from tprune.runtimes.runtime import REFERENCE
from tprune.support.errors import InputError
from tprune.support.files import write_json
from tprune.support.manifest import Manifest

WEIGHTS = (".safetensors", ".bin")


def stand_in(model: str, folder: Path, runtime: TorchReference) -> Path:
    """Makes the folder of a checkpoint: its layout and its tokeniser, with links to its weights.

    Args:
        model: a model's folder, or a hub id.
        folder: a new one.
        runtime: that opens it.

    Returns:
        the folder.

    Raises:
        InputError: no such model, one without graphs, decoding settings without a counterpart, or no compiler.
    """
    if runtime.compiled:
        check_compiler()
    loaded = load(model, dtype=torch.float32).eval()
    try:
        skeleton, task = skeleton_of(loaded), task_of(loaded)
    except InputError as error:
        raise InputError(f"{model}: {error}") from None
    searched = skeleton.searched and not isinstance(skeleton, Listening)
    tokenizer = task.processor(model) if searched else None  # others are timed by sizes
    kind = kind_of(skeleton, task, loaded, tokenizer, (), ())
    folder.mkdir(parents=True)
    kind.write_tokens(folder)
    layout = layout_of(skeleton, task, kind, loaded, graphs_of(skeleton, task, kind, loaded, runtime), runtime)
    where = Path(model).resolve()
    write_json(folder / REFERENCE, {"model": str(where) if where.is_dir() else model})
    for file in where.iterdir() if where.is_dir() else ():
        if file.suffix in WEIGHTS:
            (folder / file.name).symlink_to(file)
    replace(layout, files=Manifest.of(folder)).write(folder)
    return folder
