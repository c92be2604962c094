"""Which class a model's directory is loaded with, by what its configuration says."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import transformers
from torch import nn
from transformers import AutoConfig, AutoModelForSeq2SeqLM, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from tprune.families.modeling import modeling_pruned
from tprune.families.registry import FAMILIES, NEXT
from tprune.support.errors import InputError
from tprune.support.registry import Registry

Architecture = Callable[..., nn.Module]


def fault(entered: object) -> str:
    """What keeps a thing from being an architecture.

    Nothing where it is a class or the place of one, `module:Class`.
    """
    module, colon, attribute = entered.partition(":") if isinstance(entered, str) else ("", "", "")
    if callable(entered) or (module and colon and attribute.isidentifier()):
        return ""
    return f"{entered!r:.80} is no class, and not where one is, such as my_module:ResNet"


ARCHITECTURES: Registry[Architecture | str] = Registry("architecture", "tprune.architectures", {}, fault)
"""Classes of models that are no part of transformers, by the name in `architectures` of their `config.json`.

`load` finds them here.

A plugin (`--plugin my_module`) enters its own: `ARCHITECTURES.enter("ResNet", "my_module:ResNet")`.
"""


def entered_class(config: Mapping[str, object]) -> Architecture | None:
    """The class that was entered for what a configuration names; None where there is none.

    Raises:
        InputError: it is entered as a place where it is not.
    """
    name = _architecture(config)
    if not name or name not in ARCHITECTURES:
        return None
    entered = ARCHITECTURES[name]
    if not isinstance(entered, str):
        return entered
    module, _, attribute = entered.partition(":")
    try:
        found: Architecture = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"architecture {name!r} was entered as {entered!r}, which cannot be imported ({error})"
        ) from None
    return found


def our_class(config: Mapping[str, object]) -> type[PreTrainedModel] | None:
    """The class of a model that we have pruned, None for other models.

    Auto classes know its configuration from then on.
    """
    model_type, name = str(config.get("model_type", "")), _architecture(config)
    if not (model_type.startswith("tprune_") and name.startswith("Pruned")):
        return None
    found: Any = getattr(modeling_pruned, name, None)
    if found is None or not hasattr(found, "config_class") or found.config_class.model_type != model_type:
        return None
    AutoConfig.register(model_type, found.config_class, exist_ok=True)
    pruned: type[PreTrainedModel] = found
    return pruned


def class_of(path: str, config: Mapping[str, Any], trust: bool) -> Any:
    """The class, or Auto class, of a model that others wrote.

    Args:
        path: where it lies, for messages.
        config: what its configuration says.
        trust: whether code that it brings may run; its Auto class is then what `auto_map` says.

    Raises:
        InputError: the type is not supported, or the configuration names no class of transformers; says what to do.
    """
    model_type, name = str(config.get("model_type", "")), _architecture(config)
    if trust:
        named = [
            key for key in config.get("auto_map") or {} if key.startswith("AutoModel") and hasattr(transformers, key)
        ]
        return (
            AutoModelForSeq2SeqLM
            if not named or AutoModelForSeq2SeqLM.__name__ in named
            else getattr(transformers, named[0])
        )
    if not model_type and name:
        raise InputError(
            f"{path}: a model of class {name!r:.80}, which is no part of transformers; name a module with --plugin "
            "that enters "
            f'its class, ARCHITECTURES.enter("{name:.80}", "my_module:{name:.80}") with ARCHITECTURES of '
            f"tprune.realise.architectures, or in Python give the class: load(path, architecture={name:.80})"
        )
    if model_type not in FAMILIES and model_type not in (names := [family.name for family in FAMILIES.values()]):
        raise InputError(f"{path}: a model of type {model_type!r}; supported families are: {', '.join(names)}; {NEXT}")
    found = getattr(transformers, name, None) if name else None
    writes = model_type in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    if writes and (not isinstance(found, type) or name == MODEL_MAPPING_NAMES.get(model_type)):
        return AutoModelForSeq2SeqLM  # of some models that write, checkpoints name the class without a head
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        said = (
            f"has the architecture {name!r:.80}, which transformers does not know" if name else "names no architecture"
        )
        raise InputError(
            f'{path}: config.json {said}; expected "architectures": [the name of the class that the model was '
            "saved from], as save_pretrained writes it"
        )
    return found


def _architecture(config: Mapping[str, object]) -> str:
    """The first architecture that a configuration names; empty where it names none."""
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
