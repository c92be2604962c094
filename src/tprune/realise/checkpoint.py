"""Saving and loading pruned models as ordinary Hugging Face directories (safetensors only)."""

from __future__ import annotations

import json
import re
import reprlib
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import (
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.pegasus.modeling_pegasus import PegasusSinusoidalPositionalEmbedding
from transformers.utils.hub import cached_file

from tprune.core.model import Model, Processor
from tprune.core.plan import Plan
from tprune.families.positions import POSITIONS, kept_on_save, read_positions_
from tprune.families.registry import family_of
from tprune.realise.architectures import class_of, entered_class, our_class
from tprune.realise.belonging import check_settings, check_tokenizer
from tprune.realise.certificate import Certificate
from tprune.realise.earlier import of_earlier_version, read_earlier
from tprune.realise.model_files import (
    MERGE,
    check_files,
    check_kinds,
    check_quantized,
    content,
    damage_of_weights,
    existing,
    first_line,
    model_folder,
)
from tprune.realise.module_files import read_module, save_module
from tprune.realise.sentence_files import KEY, read_sentence_files, write_sentence_files
from tprune.support.errors import ENDS, InputError, TpruneWarning
from tprune.support.files import atomic_directory, openable
from tprune.support.plugins import trusted
from tprune_runtime.panics import quiet_panics

# what older libraries saved beside the weights although it is computed
LEFTOVERS = re.compile(
    r"(^|\.)(embed_positions\._float_tensor|position_ids|inv_freq|(encoder|decoder)\.version|_float_tensor)$"
)


def save(
    model: nn.Module,
    out: str | Path,
    tokenizer: Processor | None = None,
    plan: Plan | None = None,
    certificate: Certificate | None = None,
) -> Path:
    """Writes a model as a Hugging Face directory, with `plan.json` and `certificate.json` beside it.

    The directory holds weights, configuration, generation settings and tokeniser, and our code where the model needs
    it; large plans have `plan.safetensors` too. An existing directory is replaced only when all is written. A model
    that is no part of transformers is written as the files of `huggingface_hub.PyTorchModelHubMixin`.

    Args:
        model: dense or realised.
        out: the directory.
        tokenizer: written beside the model; none if not given.
        plan: by which the model was made.
        certificate: of the model; see `certify`.

    Returns:
        The directory.

    Raises:
        InputError: `out` is a file, or a folder that holds no model, or the model has positions that no checkpoint can
            hold.
    """
    out = Path(out)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "config.json").exists()):
        raise InputError(f"{out} exists and holds no model; it will not be replaced")
    with atomic_directory(out) as work, kept_on_save(model):
        if isinstance(model, nn.Module) and not isinstance(model, PreTrainedModel):
            save_module(model, work)
        else:
            cast(Any, model).save_pretrained(work, safe_serialization=True)
        if tokenizer is not None:
            tokenizer.save_pretrained(work)
        write_sentence_files(getattr(model, "config", None), work)
        if plan is not None:
            plan.save(work / "plan.json")
        if certificate is not None:
            (work / "certificate.json").write_text(json.dumps(certificate.to_dict(), indent=1), encoding="utf-8")
    return out


def load(
    path: str | Path,
    *,
    dtype: torch.dtype | None = None,
    offline: bool = False,
    trust_remote_code: bool = False,
    architecture: Callable[..., nn.Module] | None = None,
) -> Model:
    """Loads a model from a directory or, by its id, from the hub: pruned by us or stock, with all its weights in place.

    Args:
        path: a directory, or a hub id.
        dtype: as saved if not given. Widening belongs here: Marian computes its positions in the precision it is loaded
            in.
        offline: never ask the hub.
        trust_remote_code: run code that comes with the model; code that we wrote beside a pruned model is never needed
            here.
        architecture: the class of a model that is no part of transformers, called with what its `config.json` says; the
            one in `tprune.realise.architectures.ARCHITECTURES` if not given.

    Raises:
        InputError: no such model, a damaged file, weights that do not fit the configuration, files beside them that
            change them (adapters, quantization), or a model with code of its own that is not trusted.

    Warns:
        TpruneWarning: the checkpoint holds leftovers of older libraries, or the settings of `generate` contradict each
            other.
    """
    path = model_folder(path)
    try:
        if architecture is None and Path(path, "config.json").exists():
            check_files(Path(path))
            architecture = entered_class(content(Path(path, "config.json")))
        if architecture is not None:
            if not Path(path).is_dir():
                raise InputError(f"{path}: no such directory; a model of a given class is read from one")
            check_files(Path(path))
            return cast(Model, read_module(path, architecture, dtype))
        model, report = _read(path, dtype, offline, trust_remote_code)
        beside = _beside(path, POSITIONS, offline)
        if (files := read_sentence_files(partial(_beside, path, offline=offline), path)) is not None:
            setattr(model.config, KEY, files)
    except (InputError, *ENDS):
        raise
    except BaseException as error:  # safetensors, json and the hub each raise their own kinds; libraries in Rust panic
        if "ignore_mismatched_sizes" in str(error):
            raise InputError(f"{path}: the weights do not fit the configuration, their sizes differ") from None
        known = damage_of_weights(Path(path))
        raise InputError(f"{path}: cannot be loaded ({first_line(error)}){known and f'; {known}'}") from None
    _check_keys(path, report)
    if beside is not None:
        read_positions_(model, beside)
    for module in model.modules():  # transformers loads these computed positions as if they were learned
        if isinstance(module, MarianSinusoidalPositionalEmbedding | PegasusSinusoidalPositionalEmbedding):
            module.weight.requires_grad_(False)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned: from where the file has them, products differ in the last bit
    found: Model = model
    return found


def _read(path: str, dtype: torch.dtype | None, offline: bool, trust_remote_code: bool) -> tuple[Any, dict[str, Any]]:
    """The model as transformers loads it, and its report on the keys of the weights."""
    if Path(path).is_dir():
        if (Path(path) / "encoder.onnx").exists() and not (Path(path) / "config.json").exists():
            raise InputError(
                f"{path}: an exported model; expected the checkpoint it was made from (a run's dense or pruned)"
            )
        check_files(Path(path))
        check_settings(Path(path))
    config = _described(path, offline)
    kind: Any = our_class(config)
    foreign = "" if kind is not None else _brought(path, config)
    trust = bool(foreign) and (trust_remote_code or trusted())
    if foreign and not trust:
        raise _refuse(path, foreign)
    if kind is None:
        kind = class_of(path, config, trust)
    earlier = {"config": read_earlier(kind, config)} if of_earlier_version(config.get("pruned")) else {}
    model, report = kind.from_pretrained(
        openable(path),
        **earlier,
        output_loading_info=True,
        local_files_only=offline,
        dtype=dtype or "auto",
        trust_remote_code=trust,
    )
    family_of(model)
    return model, report


def _check_keys(path: str, report: Mapping[str, Any]) -> None:
    """Raises `InputError` for weights without a place and places without weights.

    Leftovers without a place are only said.
    """
    leftovers = sorted(key for key in report["unexpected_keys"] if LEFTOVERS.search(key))
    odd = {*report["missing_keys"], *report["unexpected_keys"], *map(str, report["mismatched_keys"])}
    if lost := sorted(odd.difference(leftovers)):
        raise InputError(f"{path}: the weights do not fit the configuration, first {lost[0]!r} of {len(lost)}")
    if leftovers:
        what = ", ".join(leftovers[:3]) + (f" and {len(leftovers) - 3} more" if len(leftovers) > 3 else "")
        warnings.warn(
            f"{path}: left out {what}: values that an older library saved and that this model computes itself",
            TpruneWarning,
            stacklevel=3,
        )


def load_tokenizer(
    path: str | Path, *, offline: bool = False, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """Loads a model's tokeniser from a directory or, by its id, from the hub.

    Raises:
        InputError: there is none that can be read, its code is not trusted, or it has more tokens than the model beside
            it.

    Warns:
        TpruneWarning: its end or padding token is not the model's.
    """
    path = existing(path)
    trust, described = trust_remote_code or trusted(), Path(path) / "tokenizer_config.json"
    if Path(path).is_dir():
        check_kinds(Path(path))
    if described.is_file() and not trust and (foreign := _brought(str(described), content(described))):
        raise _refuse(described, foreign)
    if (Path(path) / "config.json").is_file():
        our_class(
            content(Path(path) / "config.json")
        )  # AutoTokenizer reads it, and asks to run its code if it is unknown
    try:
        with quiet_panics() if Path(path).is_dir() else nullcontext():
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                openable(str(path)), local_files_only=offline, trust_remote_code=trust
            )
            tokenizer("a"), tokenizer(text_target="a")  # some damage shows only when it splits
    except ENDS:
        raise
    except BaseException as error:  # a damaged tokenizer.json can end in a panic of the library, which is no Exception
        raise InputError(
            f"{path}: no tokeniser can be loaded ({first_line(error)}); expected tokenizer.json, or the files of "
            "its class, beside the model"
        ) from None
    if Path(path).is_dir():
        _check_vocabulary(Path(path), tokenizer)
    for key in ("is_local", "local_files_only"):  # how it was loaded is no part of it
        tokenizer.init_kwargs.pop(key, None)
    if (Path(path) / "config.json").is_file():
        check_tokenizer(tokenizer, content(Path(path) / "config.json"), str(path))
    return tokenizer


def _check_vocabulary(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuses a folder that has none of a tokeniser's files.

    Transformers would make a tokeniser of its special tokens alone. Raises `InputError`.
    """
    expected = sorted({"tokenizer.json", *map(str, tokenizer.vocab_files_names.values())})
    if tokenizer.vocab_files_names and not any((folder / name).exists() for name in expected):
        raise InputError(f"{folder}: no tokeniser here; expected {' or '.join(expected)} beside the model")


def _described(path: str, offline: bool) -> dict[str, Any]:
    """What a model's configuration says; no code that it brings is run for this."""
    if Path(path).is_dir():
        return content(Path(path) / "config.json")
    config, _ = PreTrainedConfig.get_config_dict(path, local_files_only=offline)
    check_quantized(path, config)
    if _beside(path, "adapter_config.json", offline) is not None:
        raise InputError(f"{path}: has an adapter beside it (adapter_config.json); {MERGE}")
    found: dict[str, Any] = config
    return found


def _beside(path: str, name: str, offline: bool) -> Path | None:
    """A file of a model's directory, or of its repository on the hub, if it has one of that name."""
    if Path(path).is_dir():
        return Path(path) / name if (Path(path) / name).exists() else None
    found = cached_file(
        path,
        name,
        local_files_only=offline,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return None if found is None else Path(found)


def _brought(path: str, config: Mapping[str, object]) -> str:
    """The classes of others that a configuration names. Raises `InputError` for what names none."""
    named = config.get("auto_map")
    if not named:
        return ""
    values = named.values() if isinstance(named, dict) else [named]
    classes = [name for one in values for name in (one if isinstance(one, list) else [one]) if name is not None]
    if not isinstance(named, dict) or not all(isinstance(name, str) and "." in name for name in classes):
        raise InputError(f"{path}: auto_map is {reprlib.repr(named)}; expected names of classes, as module.Class")
    return ", ".join(map(str, classes))[:200]


def _refuse(path: str | Path, foreign: str) -> InputError:
    return InputError(
        f"{path}: comes with code of its own ({foreign}), which is not run unless you say so: read it, then "
        "--trust-remote-code, or trust_remote_code=True"
    )
