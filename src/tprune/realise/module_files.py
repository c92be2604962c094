"""Files of models that are no part of transformers.

They are those of `huggingface_hub.PyTorchModelHubMixin`, and our code if the models are pruned.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from torch import nn

from tprune.families.modeling import modeling_multihead, modeling_pruned
from tprune.families.modeling.modeling_pruned import load_pruned
from tprune.families.registry import family_of
from tprune.realise.model_files import content
from tprune.support.errors import InputError


def save_module(model: nn.Module, folder: Path) -> None:
    """Writes `config.json` and `model.safetensors`, and our code beside a pruned model.

    `config.json` holds what the class of the model is called with, where the model knows it (PyTorchModelHubMixin), the
    name of that class, and what pruning has changed.
    """
    pruned = getattr(model, "pruned", None)
    config = {
        **_arguments(model),
        "architectures": [type(model).__name__],
        **({"pruned": pruned} if pruned else {}),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    save_model(model, str(folder / "model.safetensors"))
    replaced = (pruned or {}).get("replaced", {}).values()
    codes = [modeling_pruned] if pruned else []
    codes += [modeling_multihead] if any(how["kind"] == "multihead" for how in replaced) else []
    for code in (Path(str(module.__file__)) for module in codes):
        shutil.copyfile(code, folder / code.name)


def read_module(path: str, architecture: Callable[..., nn.Module], dtype: torch.dtype | None) -> nn.Module:
    """The model of a directory that `save_module` wrote.

    Raises:
        InputError: the directory holds a model of another class, or one of no supported family.
    """
    saved = content(Path(path, "config.json")).get("architectures")
    name = getattr(architecture, "__name__", "")
    if isinstance(architecture, type) and saved != [name]:
        raise InputError(f"{path}: holds a model of class {saved!r:.80}; got the class {name}")
    model = load_pruned(architecture, path)
    family_of(model)
    return model if dtype is None else model.to(dtype=dtype)


def _arguments(model: nn.Module) -> dict[str, Any]:
    """What a model's class was called with, where the model knows it."""
    found: Any = getattr(model, "_hub_mixin_config", None)
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return dataclasses.asdict(found)
    return dict(found or {})
