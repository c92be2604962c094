"""Positions of a Marian that are not the sinusoids it computes.

Transformers never saves them, so they need care of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import MarianMTModel

from tprune.support.errors import InputError
from tprune.support.files import openable

POSITIONS = "positions.safetensors"
ROUNDED = (torch.float32, torch.float16, torch.bfloat16)  # the precisions in which a model may have been loaded
WITHIN = 1e-6  # of two ways to compute a sine


def own_positions(model: nn.Module) -> bool:
    """Whether a Marian has positions that are not the sinusoids which transformers computes for it, in any precision.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> model = new_model(MarianSize(16, (1, 1), 2, 32, 6, 0.0, 32), 6)
        >>> own_positions(model)
        False
        >>> _ = model.model.decoder.embed_positions.weight.data.normal_()
        >>> own_positions(model)
        True
    """
    return isinstance(model, MarianMTModel) and any(not _computed(table) for table in _tables(model).values())


def rows_of_positions(model: nn.Module) -> int | None:
    """How many positions a Marian's two tables have; none for other models.

    Raises:
        InputError: encoder and decoder have tables of different lengths, which no configuration can say.
    """
    if not isinstance(model, MarianMTModel):
        return None
    rows = {side: len(table) for side, table in _tables(model).items()}
    if len(set(rows.values())) > 1:
        said = ", ".join(f"{side} {count}" for side, count in rows.items())
        raise InputError(
            f"{type(model).__name__}: tables of positions of different lengths ({said}); expected the same"
        )
    return rows["encoder"]


@contextmanager
def kept_on_save(model: Any) -> Iterator[None]:
    """Inside the block `save_pretrained` writes a Marian's own positions too, and a configuration that fits them.

    Stock transformers reads them from there; it only never writes them.

    Raises:
        InputError: see `rows_of_positions`.
    """
    if not isinstance(model, nn.Module) or not own_positions(model):
        yield
        return
    marian: Any = model
    ignored, said = marian._keys_to_ignore_on_save, marian.config.max_position_embeddings
    marian.config.max_position_embeddings = rows_of_positions(model)
    marian._keys_to_ignore_on_save = None
    try:
        yield
    finally:
        marian._keys_to_ignore_on_save, marian.config.max_position_embeddings = ignored, said


def read_positions_(model: Any, file: Path) -> None:
    """Takes a model's positions from a `positions.safetensors` beside it, in place.

    The configuration follows their number.

    Raises:
        InputError: the file cannot be read, or its tensors are not this model's positions.
    """
    try:
        found = load_file(openable(str(file)))
    except Exception as error:  # safetensors raises its own kind
        raise InputError(f"{file}: cannot be read ({error}); expected positions in safetensors") from None
    places = {name: module for name, module in model.named_modules() if name.endswith(".embed_positions")}
    for name, table in found.items():
        module = places.get(name.removesuffix(".weight"))
        if module is None or not name.endswith(".weight"):
            known = ", ".join(f"{place}.weight" for place in places)
            raise InputError(f"{file}: {name!r} is no table of positions of this model; expected {known}")
        rows, width = module.weight.shape
        if table.ndim != 2 or table.shape[1] != width or (not isinstance(model, MarianMTModel) and len(table) != rows):
            raise InputError(f"{file}: {name} is {_shape(table)}; the model's is {_shape(module.weight)}")
        if not table.isfinite().all():
            raise InputError(f"{file}: {name} holds values that are not finite; expected positions")
        module.weight = nn.Parameter(table.to(module.weight), requires_grad=module.weight.requires_grad)
        module.num_embeddings = len(table)
    try:
        rows = rows_of_positions(model)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    if rows is not None:
        model.config.max_position_embeddings = rows


def _tables(model: Any) -> dict[str, Tensor]:
    return {side: getattr(model.model, side).embed_positions.weight.detach() for side in ("encoder", "decoder")}


def _computed(table: Tensor) -> bool:
    expected = sinusoids(*table.shape)
    found = table.to("cpu", torch.float32)
    return any(
        bool((found - expected.to(rounded).to(table.dtype).float()).abs().max() <= WITHIN) for rounded in ROUNDED
    )


def sinusoids(rows: int, width: int) -> Tensor:
    """What transformers computes for a Marian: sines of the even columns' angles, then cosines of the odd ones'."""
    column = torch.arange(width, dtype=torch.float64)
    angle = torch.arange(rows, dtype=torch.float64)[:, None] / 10000 ** (2 * (column // 2) / width)
    return torch.cat([angle[:, 0::2].sin(), angle[:, 1::2].cos()], 1).float()


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))
