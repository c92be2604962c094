"""A model's directory before anything of it is loaded.

Is each file what it seems, and does anything beside it change the weights?
"""

from __future__ import annotations

import json
import reprlib
import stat
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tprune.support.errors import InputError

CONFIG = "config.json"  # by which a model is known
EXPORTED = ("layout.json", "generation.json")  # by which an exported one is known, and was by earlier versions

# what would take hours or all memory before anyone noticed that the weights are of other sizes
LARGEST = {
    "encoder_layers": 1000,
    "decoder_layers": 1000,
    "max_position_embeddings": 100_000,
    "encoder_attention_heads": 10_000,
    "decoder_attention_heads": 10_000,
    "d_model": 1_000_000,
    "vocab_size": 10_000_000,
    "num_hidden_layers": 1000,
    "num_attention_heads": 10_000,
    "num_key_value_heads": 10_000,
    "hidden_size": 1_000_000,
    "intermediate_size": 10_000_000,
}

# the files that are read whole: the longest that make sense, in bytes
SETTINGS = {"config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"}
LONGEST = {"settings": 50_000_000, "others": 1_000_000_000}
READ = (".json", ".txt", ".spm", ".model", ".jinja", ".py", ".safetensors", ".bin", ".onnx")
WEIGHTS = (".safetensors", ".bin", ".onnx")
KINDS = {stat.S_ISFIFO: "a pipe", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device", stat.S_ISSOCK: "a socket"}

ADAPTERS = ("adapter_config.json", "adapter_model.*", "pytorch_adapter.bin", "pytorch_lora_weights.*")
QUANTISED = ("quantize_config.json", "quant_config.json", "quantization_config.json")
QUANTISED_KEYS = ("quantization_config", "compression_config", "quantization")  # transformers', its older one, MLX's
MERGE = "merge it into the model first (with peft: model.merge_and_unload(), then save_pretrained)"
NOT_QUANTISED = "expected the model before it was quantized, in 32 or 16 bit"


def check_files(folder: Path) -> None:
    """Whether a model's directory is what it seems.

    Its sizes are those that a model may have; its weights lie in it and are all there is.

    Raises:
        InputError: naming file and value.
    """
    check_kinds(folder)
    if not (folder / "config.json").exists():
        raise InputError(
            f"{folder}: no model here (it has no config.json); expected a model's directory, a run or a hub id"
        )
    config = content(folder / "config.json")
    for key, most in LARGEST.items():
        value = config.get(key)
        if value is not None and (type(value) is not int or not 0 <= value <= most):
            raise InputError(
                f"{folder / 'config.json'}: {key} is {reprlib.repr(value)}; expected a whole number, at most {most:,}"
            )
    check_companions(folder)
    check_quantized(str(folder / "config.json"), config)
    for index in folder.glob("*.index.json"):
        found = content(index).get("weight_map")
        files = set(found.values()) if isinstance(found, dict) and all(type(f) is str for f in found.values()) else {""}
        if outside := sorted(file for file in files if not file or Path(file).name != file):
            raise InputError(f"{index}: weights are said to be in {outside[0]!r}; expected names of files beside it")


def check_kinds(folder: Path) -> None:
    """Whether the files that may be read are files, of a length that makes sense.

    Pipes would be waited for without end.

    Raises:
        InputError: naming the file.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix not in READ or not path.exists():
            continue
        found = path.stat()
        for is_kind, kind in KINDS.items():
            if is_kind(found.st_mode):
                raise InputError(f"{path}: is {kind}; expected a file")
        most = LONGEST["settings" if path.name in SETTINGS or path.name.endswith(".index.json") else "others"]
        if path.suffix not in WEIGHTS and stat.S_ISREG(found.st_mode) and found.st_size > most:
            raise InputError(f"{path}: has {found.st_size:,} bytes; expected at most {most:,}")


def check_companions(folder: Path) -> None:
    """Raises `InputError` for files beside the weights that change them: adapters, quantization, GGUF alone."""
    for pattern in ADAPTERS:
        for path in sorted(folder.glob(pattern)):
            raise InputError(f"{path}: an adapter, without which this is another model; {MERGE}, or move it elsewhere")
    for name in QUANTISED:
        if (folder / name).exists():
            raise InputError(f"{folder / name}: says that these weights are quantized; {NOT_QUANTISED}")
    others = sorted(folder.glob("*.gguf"))
    if others and not any(path.suffix in WEIGHTS for path in folder.iterdir()):
        raise InputError(f"{others[0]}: the only weights here, as GGUF; expected model.safetensors")


def check_quantized(where: str, config: Mapping[str, object]) -> None:
    """Raises `InputError` for a configuration of quantized weights."""
    for key in QUANTISED_KEYS:
        if config.get(key):
            raise InputError(f"{where}: {key} is {reprlib.repr(config[key])}; {NOT_QUANTISED}")


def content(file: Path) -> dict[str, Any]:
    """A Hugging Face configuration. Raises `InputError` naming the file."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: cannot be read ({first_line(error)}); expected a Hugging Face configuration"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{file}: holds {type(found).__name__}; expected a Hugging Face configuration")
    return found


def damage_of_weights(folder: Path) -> str:
    """What is known to be wrong with the weights in a directory, by their own headers.

    Nothing where nothing is known.
    """
    for path in sorted(folder.glob("*.safetensors")):
        try:
            wrong = _damage(path)
        except OSError as error:
            wrong = f"cannot be read ({error.strerror or error})"
        if wrong:
            return f"{path.name} {wrong}"
    return ""


def _damage(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if first.startswith(b"version "):
            return "is a pointer of Git LFS and not the weights themselves (git lfs pull fetches them)"
        if len(first) < 8:
            return f"is cut short: it has {size} bytes"
        (length,) = struct.unpack("<Q", first)
        if length > 100_000_000:  # the most that safetensors allows
            return "is damaged: it has no header of safetensors"
        if 8 + length > size:
            return f"is cut short: it has {size:,} bytes, its header alone {8 + length:,}"
        header = file.read(length)
    try:
        ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return "is damaged: its header cannot be read"
    if size < expected:
        return f"is cut short: it has {size:,} bytes of {expected:,}"
    return "" if size == expected else f"is damaged: it has {size:,} bytes, its header says {expected:,}"


def first_line(error: BaseException) -> str:
    """Kind and first line of an error."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300]}" if text else type(error).__name__


def existing(name: object) -> str:
    """A name of a model as text.

    Raises `InputError` where it is no name, or looks like a path and is none of a directory.
    """
    if not isinstance(name, str | Path):
        raise InputError(
            f"a model named by {name!r:.80}; expected a model's directory, a run or a hub id, as text or a path"
        )
    if Path(name).is_file():
        raise InputError(f"{name}: is a file; expected the directory that holds the model, a run or a hub id")
    if not Path(name).is_dir() and _local(str(name)):
        raise InputError(f"{name}: no such directory; expected a Hugging Face model directory, a run or a hub id")
    return str(name)


def model_folder(name: str | Path) -> str:
    """A model's directory, or a hub id. Raises `InputError` for a directory that holds no model, and for none."""
    if Path(found := existing(name)).is_dir():
        _check_model(Path(found))
    return found


def _check_model(folder: Path) -> None:
    """Raises `InputError` for a folder that is no model."""
    if (folder / EXPORTED[0]).exists() or not (folder / CONFIG).exists():
        _no_model(folder)


def _no_model(folder: Path) -> NoReturn:
    check_companions(folder)  # an adapter may lie without its model
    if (folder / "encoder.onnx").exists() or any((folder / name).exists() for name in EXPORTED):
        raise InputError(
            f"{folder}: exported already; expected the model it was made from (a model's directory, a hub id or a run)"
        )
    inner = sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    instead = f"; it holds models, name one of them: {', '.join(map(str, inner))}" if inner else ""
    raise InputError(
        f"{folder}: no model here (it has no {CONFIG}) and no run (it has no run.json); expected a model's "
        f"directory, a run or a hub id{instead}"
    )


def _local(name: str) -> bool:
    """Whether a name looks like a path and not like a hub id, `OWNER/NAME`."""
    return name.startswith((".", "/")) or name.count("/") != 1 or name.endswith("/") or Path(name).parent.is_dir()
