"""What trains: the one place that says on which device, and whether a model is divided among processes."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tprune.support.errors import InputError

WANTED = {
    "cuda": "finds no GPU here; leave it out, or install a build of torch for yours",
    "mps": "finds no GPU of Apple's here; leave it out",
}


@dataclass(frozen=True)
class Placement:
    """Where models are trained.

    Attributes:
        device: its kind: `cpu`, `cuda` or `mps`.
        sharded: whether each process of a group has a part of the weights, and not all of them.
    """

    device: str
    sharded: bool = False


_chosen: list[Placement] = []


def use_device(name: str, sharded: bool = False) -> Placement:
    """Chooses what trains in this process from now on: `auto` is the GPU if there is one.

    Args:
        name: `auto`, `cpu`, `cuda` or `mps`.
        sharded: see `Placement`.

    Raises:
        InputError: a device that torch does not find here.
    """
    if name == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # for the processes that this one starts
    found = _automatic() if name == "auto" else name
    if found in WANTED and not _there(found):
        import torch

        raise InputError(f"--device {name}: torch {torch.__version__} {WANTED[name]}")
    _chosen[:] = [Placement(found, sharded)]
    return _chosen[0]


def placement() -> Placement:
    """What was chosen; the GPU if there is one, where nothing was."""
    return _chosen[0] if _chosen else Placement(_automatic())


def _automatic() -> str:
    return "cuda" if _there("cuda") else "cpu"


def _there(name: str) -> bool:
    import torch  # here, because runtimes without torch ask about the machine too

    return bool(torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available())
