"""A checkpoint's model without its weights: names, shapes and configuration, in a moment and in no memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from tprune.families.positions import POSITIONS
from tprune.families.registry import family_of
from tprune.realise.architectures import class_of, our_class
from tprune.realise.model_files import content
from tprune.realise.shards import Shards
from tprune.support.errors import InputError

WHOLE = "expected a checkpoint whose names are those of its class; load it whole (tprune.load) and prune that"


def on_paper(folder: Path, shards: Shards) -> nn.Module:
    """The model of a checkpoint on the meta device; vectors alone, which families compute from, have their values.

    Args:
        folder: of the checkpoint.
        shards: its weights.

    Raises:
        InputError: no known family, or tensors in the files that the class has not, or the reverse.
    """
    if (folder / POSITIONS).exists():
        raise InputError(f"{folder}: has positions of its own ({POSITIONS}), which are not streamed; {WHOLE}")
    described = content(folder / "config.json")
    kind: Any = our_class(described) or class_of(str(folder), described, False)
    with torch.device("meta"):
        model: nn.Module = _made(kind, folder)
    family_of(model)
    state = model.state_dict(keep_vars=True)
    held = {id(state[name]) for name in shards.all_names() if name in state}
    if odd := sorted(set(shards.all_names()) - set(state)):
        raise InputError(f"{folder}: {odd[0]} is no tensor of {type(model).__name__}; {WHOLE}")
    if lost := sorted(name for name, tensor in state.items() if id(tensor) not in held):
        raise InputError(f"{folder}: no file has {lost[0]}; {WHOLE}")
    dtypes = set()
    for file in shards.names:
        for name, shape, dtype in shards.headers(file):
            if shape != tuple(state[name].shape):
                raise InputError(
                    f"{folder / file}: {name} has shape {shape}, its configuration says {tuple(state[name].shape)}"
                )
            if dtype.is_floating_point:
                dtypes.add(dtype)
            if len(shape) < 2:
                _give(model, name, shards.tensor(file, name).clone())
    if len(dtypes) > 1:
        raise InputError(f"{folder}: weights in {', '.join(sorted(map(str, dtypes)))}; expected one precision")
    return model.to(dtype=dtypes.pop()).eval()


def _made(kind: Any, folder: Path) -> nn.Module:
    if kind is AutoModelForSeq2SeqLM:
        made: nn.Module = kind.from_config(AutoConfig.from_pretrained(folder))
        return made
    found: nn.Module = kind(kind.config_class.from_pretrained(folder))
    return found


def _give(model: nn.Module, name: str, value: torch.Tensor) -> None:
    """Puts a value in the place of a tensor that has none."""
    where, _, what = name.rpartition(".")
    module = model.get_submodule(where)
    setattr(
        module,
        what,
        nn.Parameter(value, requires_grad=value.is_floating_point()) if what in module._parameters else value,
    )
