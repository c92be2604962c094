"""What a Trainer's checkpoint keeps of a regulariser: numbers in its JSON, tensors in safetensors beside it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from
from safetensors.torch import save as tensors_to
from torch import Tensor

from tprune.core.method import State
from tprune.support.errors import InputError


def pack(states: Sequence[State]) -> bytes:
    """All tensors of the methods' states as safetensors, called by the number of their entry and their own name.

    Empty where there are none.
    """
    found = {
        f"{i}/{name}": tensor.detach().cpu().contiguous().clone()
        for i, state in enumerate(states)
        for name, tensor in state.items()
    }
    return tensors_to(found) if found else b""


def described(packed: bytes) -> dict[str, str] | None:
    """What the JSON says of the file: its name, by what is in it, and its checksum; None where there is no file.

    Example:
        >>> described(pack([{}])) is None
        True
    """
    if not packed:
        return None
    sum_ = sha256(packed).hexdigest()
    return {"file": f"regulariser-{sum_[:8]}.safetensors", "sha256": sum_}


def write(packed: bytes, checkpoint: Path) -> None:
    """Writes the file into a checkpoint, where there are tensors."""
    if (note := described(packed)) is not None:
        with (checkpoint / note["file"]).open("wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())


def states_in(saved: Any, count: int, folders: Sequence[Path]) -> list[dict[str, Tensor]]:
    """The methods' states of a checkpoint.

    Args:
        saved: what the JSON has of them: where they lie, None for none, or, of older checkpoints, lists of numbers.
        count: how many entries the plan has.
        folders: where the checkpoint may be; the first that has the file is read.

    Raises:
        InputError: the file is missing or damaged; names it.
    """
    if saved is None:
        return [{} for _ in range(count)]
    if isinstance(saved, list):  # of before 0.1.0
        return [{name: torch.as_tensor(value) for name, value in state.items()} for state in saved]
    found: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for name, tensor in _read(saved, folders).items():
        number, _, key = name.partition("/")
        if not number.isdecimal() or int(number) >= count:
            raise InputError(f"{saved['file']}: holds {name!r}; the plan has {count} entries")
        found[int(number)][key] = tensor
    return found


def _read(saved: Mapping[str, str], folders: Sequence[Path]) -> dict[str, Tensor]:
    places = [folder / saved["file"] for folder in folders]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise InputError(
            f"{places[0]}: is missing; the methods' states are in it, without which a training cannot go on from there"
        )
    packed = file.read_bytes()
    if sha256(packed).hexdigest() != saved["sha256"]:
        raise InputError(f"{file}: damaged: its checksum is not the one in the checkpoint's trainer_state.json")
    try:
        return tensors_from(packed)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{file}: damaged ({error}); expected the methods' states in safetensors") from None
