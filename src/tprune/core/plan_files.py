"""Plans in files: JSON, and where it would hold long lists of numbers, a file of tensors beside it.

A plan that keeps up to `LIMIT` groups is one readable file. What a larger one keeps lies beside it in safetensors, a
bool mask a coupling, shaped as its groups; the JSON names that file with its checksum.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from
from safetensors.torch import save as tensors_to
from torch import Tensor

from tprune.core.plan_json import Content, from_text, to_text
from tprune.support.errors import InputError

LIMIT = 16_384  # kept groups of all couplings together
FILE = "plan.json"


def write(content: Content, path: Path, limit: int = LIMIT) -> tuple[Path, ...]:
    """Writes a plan, the tensors first, so that a JSON file without its tensors is never left; returns the files."""
    kept = {entry.coupling.name: entry.keep for entry in content.entries if entry.kept is not None}
    beside = path.with_suffix(".safetensors")
    if sum(int(keep.sum()) for keep in kept.values()) <= limit:
        _replace(path, to_text(content).encode())
        beside.unlink(missing_ok=True)  # of a larger plan that was here
        return (path,)
    if len(kept) < sum(entry.kept is not None for entry in content.entries):
        raise InputError(f"{path}: two couplings of the plan have one name; names must differ")
    packed = tensors_to(kept)
    _replace(beside, packed)
    described = {"file": beside.name, "sha256": sha256(packed).hexdigest()}
    _replace(path, to_text(content, described).encode())
    return path, beside


def read(path: Path) -> Content:
    """Reads a plan of either form; a folder is read as the `plan.json` in it. Raises `InputError` naming the file."""
    path = path / FILE if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    return from_text(text, str(path), lambda described: _masks(path, described))


def _masks(path: Path, described: object) -> Mapping[str, Tensor]:
    """The keep masks in the file of tensors that a plan names. Raises `InputError` naming it."""
    fields = described if isinstance(described, dict) else {}
    name, expected = fields.get("file"), fields.get("sha256")
    if not isinstance(name, str) or Path(name).name != name or not isinstance(expected, str):
        raise InputError(f"{path}: tensors is {described!r}; expected the name of a file beside it, and its sha256")
    file = path.with_name(name)
    try:
        packed = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{file}: cannot be read ({error.strerror or error}); what {path.name} keeps lies in it, copy both"
        ) from None
    if sha256(packed).hexdigest() != expected:
        raise InputError(f"{file}: damaged, or of another plan: its checksum is not the one in {path.name}")
    try:
        found = tensors_from(packed)
    except (SafetensorError, ValueError, KeyError) as error:
        raise InputError(f"{file}: damaged ({error}); expected masks in safetensors") from None
    if odd := [name for name, mask in found.items() if mask.dtype is not torch.bool]:
        raise InputError(f"{file}: {odd[0]} is {found[odd[0]].dtype}; expected a mask of torch.bool")
    return found


def _replace(path: Path, content: bytes) -> None:
    """Writes a file so that it is either whole or as it was."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    part.replace(path)
