"""Saving and loading pruned models as ordinary Hugging Face directories (safetensors only)."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding

from tprune.errors import InputError
from tprune.files import replacing
from tprune.models import families, family_of
from tprune.models.modeling_tprune import (
    PrunedBartConfig,
    PrunedBartForConditionalGeneration,
    PrunedMarianConfig,
    PrunedMarianMTModel,
)
from tprune.plan import Plan
from tprune.plugins import trusted
from tprune.realise.certificate import Certificate
from tprune.runs import folder_at, model_at

PRUNED: dict[str, type[PreTrainedModel]] = {
    PrunedMarianConfig.model_type: PrunedMarianMTModel,
    PrunedBartConfig.model_type: PrunedBartForConditionalGeneration,
}

# what would take hours or all memory before anyone noticed that the weights are of other sizes
LARGEST = {
    "encoder_layers": 1000, "decoder_layers": 1000, "max_position_embeddings": 100_000, "encoder_attention_heads": 10_000,
    "decoder_attention_heads": 10_000, "d_model": 1_000_000, "vocab_size": 10_000_000,
}  # fmt: skip

for _type, _class in PRUNED.items():  # so that AutoTokenizer and AutoConfig know them without asking for remote code
    AutoConfig.register(_type, _class.config_class, exist_ok=True)


def save(
    model: Any,
    out: str | Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
    plan: Plan | None = None,
    certificate: Certificate | None = None,
) -> Path:
    """Writes a Hugging Face directory: weights, configuration, generation settings, tokeniser, our code where it is needed,
    and beside them `plan.json` and `certificate.json`. An existing directory is replaced only when all is written.

    Raises:
        InputError: `out` is a file, or a folder that holds no model.
    """
    out = Path(out)
    if out.is_file() or (out.is_dir() and any(out.iterdir()) and not (out / "config.json").exists()):
        raise InputError(f"{out} exists and holds no model; it will not be replaced")
    with replacing(out) as work:
        model.save_pretrained(work, safe_serialization=True)
        if tokenizer is not None:
            tokenizer.save_pretrained(work)
        if plan is not None:
            (work / "plan.json").write_text(plan.to_json(), encoding="utf-8")
        if certificate is not None:
            (work / "certificate.json").write_text(json.dumps(certificate.to_dict(), indent=1), encoding="utf-8")
    return out


def load(
    path: str | Path, *, dtype: torch.dtype | None = None, offline: bool = False, trust_remote_code: bool = False,
    dense: bool = False,
) -> Any:  # fmt: skip
    """Loads a model from a directory or, by its id, from the hub: pruned by us or stock, with all its weights in place.

    Args:
        path: a directory, a hub id, or a run, which stands for its pruned model.
        dtype: as saved if not given. Widening belongs here: Marian computes its positions in the precision it is loaded in.
        offline: never ask the hub.
        trust_remote_code: run code that comes with the model; code that we wrote beside a pruned model is never needed here.
        dense: of a run, its dense model instead.

    Raises:
        InputError: no such model, a damaged file, weights that do not fit the configuration, or a model with code of its own
            that is not trusted.
    """
    path = model_at(path, dense)
    try:
        if Path(path).is_dir():
            check_files(Path(path))
        model_type, foreign = _described(path, offline)
        trust = bool(foreign) and (trust_remote_code or trusted())
        if foreign and not trust:
            raise _refuse(path, foreign)
        known = [family.name for family in families()]
        if model_type not in {*known, *PRUNED} and not trust:
            raise InputError(f"{path}: a model of type {model_type!r}; supported families are: {', '.join(known)}")
        kind: Any = PRUNED.get(model_type, AutoModelForSeq2SeqLM)
        model, report = kind.from_pretrained(
            path, output_loading_info=True, local_files_only=offline, dtype=dtype or "auto", trust_remote_code=trust
        )
        family_of(model)
    except InputError:
        raise
    except Exception as error:  # safetensors, json and the hub each raise their own kinds
        if "ignore_mismatched_sizes" in str(error):
            raise InputError(f"{path}: the weights do not fit the configuration, their sizes differ") from None
        files = ", ".join(sorted(file.name for file in Path(path).glob("*.safetensors")))
        raise InputError(
            f"{path}: cannot be loaded ({_first_line(error)}){files and f'; its weights, {files}, may be cut short or damaged'}"
        ) from None
    lost = [*report["missing_keys"], *report["unexpected_keys"], *(str(m) for m in report["mismatched_keys"])]
    if lost:
        raise InputError(
            f"{path}: the weights do not fit the configuration, first {sorted(map(str, lost))[0]!r} of {len(lost)}"
        )
    for module in model.modules():  # transformers loads Marian's computed positions as if they were learned
        if isinstance(module, MarianSinusoidalPositionalEmbedding):
            module.weight.requires_grad_(False)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned: from where the file has them, products differ in the last bit
    return model


def load_tokenizer(
    path: str | Path, *, offline: bool = False, trust_remote_code: bool = False, dense: bool = False
) -> PreTrainedTokenizerBase:
    """Loads a model's tokeniser; of a run, that of its pruned model, or of its dense one. Raises `InputError` when there is none that can be read, or its code is not trusted."""
    path = folder_at(path, dense)
    trust, described = trust_remote_code or trusted(), Path(path) / "tokenizer_config.json"
    if described.is_file() and not trust and (foreign := _brought(str(described), _content(described))):
        raise _refuse(described, foreign)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            str(path), local_files_only=offline, trust_remote_code=trust
        )
    except Exception as error:
        raise InputError(
            f"{path}: no tokeniser can be loaded ({_first_line(error)}); expected tokenizer.json, or the files of its class, beside the model"
        ) from None
    for key in ("is_local", "local_files_only"):  # how it was loaded is no part of it
        tokenizer.init_kwargs.pop(key, None)
    return tokenizer


def check_files(folder: Path) -> None:
    """Whether a model's directory is what it seems: sizes that a model may have, and weights that lie in it.

    Raises:
        InputError: naming file and value.
    """
    if not (folder / "config.json").exists():
        raise InputError(
            f"{folder}: no model here (it has no config.json); expected a model's directory, a run or a hub id"
        )
    config = _content(folder / "config.json")
    for key, most in LARGEST.items():
        value = config.get(key)
        if value is not None and (type(value) is not int or not 0 <= value <= most):
            raise InputError(
                f"{folder / 'config.json'}: {key} is {reprlib.repr(value)}; expected a whole number, at most {most:,}"
            )
    for index in folder.glob("*.index.json"):
        found = _content(index).get("weight_map")
        files = set(found.values()) if isinstance(found, dict) and all(type(f) is str for f in found.values()) else {""}
        if outside := sorted(file for file in files if not file or Path(file).name != file):
            raise InputError(f"{index}: weights are said to be in {outside[0]!r}; expected names of files beside it")


def _content(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: cannot be read ({_first_line(error)}); expected a Hugging Face configuration"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: holds {type(found).__name__}; expected a Hugging Face configuration")
    return found


def _described(path: str, offline: bool) -> tuple[str, str]:
    """The type of a model, and the classes of others that it brings; none of their code is run for this."""
    if Path(path).is_dir():
        config = _content(Path(path) / "config.json")
    else:
        config, _ = PreTrainedConfig.get_config_dict(path, local_files_only=offline)
    kind = str(config.get("model_type", ""))
    return kind, "" if kind in PRUNED else _brought(path, config)


def _brought(path: str, config: Mapping[str, Any]) -> str:
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


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__
