"""The weights of a checkpoint as they lie in its files, read one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from tprune.realise.model_files import check_files, content, damage_of_weights
from tprune.support.errors import InputError

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"


@dataclass(frozen=True)
class Shards:
    """Which file of a checkpoint holds which tensors.

    Attributes:
        folder: of the checkpoint.
        names: of the tensors, by file, in the files' order.
    """

    folder: Path
    names: Mapping[str, tuple[str, ...]]

    @staticmethod
    def of(folder: Path) -> Shards:
        """Reads the headers of all files.

        Raises:
            InputError: no safetensors, a damaged file, or a file that lacks a tensor which the index says it has.
        """
        check_files(folder)
        index = folder / INDEX
        said: Mapping[str, str] = content(index).get("weight_map", {}) if index.exists() else {}
        files = sorted(set(said.values())) or [WHOLE]
        if damage := damage_of_weights(folder):
            raise InputError(f"{folder}: {damage}")
        names: dict[str, tuple[str, ...]] = {}
        for file in files:
            path = folder / file
            if not path.exists():
                raise InputError(f"{path}: no such file; expected the weights as safetensors, whole or in shards")
            with safe_open(path, "pt") as opened:
                names[file] = tuple(opened.keys())
            if lost := [name for name, where in said.items() if where == file and name not in names[file]]:
                raise InputError(f"{path}: has no tensor {lost[0]}, which {INDEX} says it has")
        return Shards(folder, names)

    def tensors(self, file: str) -> Iterator[tuple[str, Tensor]]:
        """The tensors of one file, each read when its turn comes."""
        with safe_open(self.folder / file, "pt") as opened:
            for name in self.names[file]:
                yield name, opened.get_tensor(name)

    def headers(self, file: str) -> Iterator[tuple[str, tuple[int, ...], torch.dtype]]:
        """Name, shape and type of the tensors of one file; none is read but single numbers."""
        with safe_open(self.folder / file, "pt") as opened:
            for name in self.names[file]:
                part = opened.get_slice(name)
                shape = tuple(part.get_shape())
                yield name, shape, part[:0].dtype if shape else opened.get_tensor(name).dtype

    def tensor(self, file: str, name: str) -> Tensor:
        """One tensor of one file."""
        with safe_open(self.folder / file, "pt") as opened:
            found: Tensor = opened.get_tensor(name)
            return found

    def all_names(self) -> Iterator[str]:
        """The names of all tensors."""
        return (name for names in self.names.values() for name in names)
