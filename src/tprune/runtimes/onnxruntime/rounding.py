"""Matrices rounded to integers of 8 or 4 bits and their scales: arithmetic alone, in numpy."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BLOCKS = (128, 64, 32, 16)  # what `MatMulNBits` and `GatherBlockQuantized` know, of those no larger than 128


class Rounded(NamedTuple):
    """Integers and what they are multiplied by."""

    integers: NDArray[np.generic]
    scales: Floats


def per_row(weight: Floats, pairs: bool, least: Floats | float = 0.0) -> Rounded:
    """The rows of a matrix `[N, K]` (or of a kernel `[N, ...]`) as int8 `[N, K]`, symmetric, with scales `[N]`.

    The scale of row w is max |w_k| / 127. With `pairs` it is also at least max |w_k + w_{k+1}| / 127 over neighbours of
    the same sign: x86 processors without VNNI add the products of two neighbours in 16 bits, where 255 · (a + b)
    saturates from |a + b| = 129 on, and rounding adds at most 1 to the 127. So no such sum saturates, on any
    processor, whatever the activations are. That costs a part of a bit in most rows, where 7-bit weights cost a whole
    one, and unsigned weights nearly double the time of a batch (`MatMulInteger` of u8 by u8).
    """
    rows = weight.reshape(len(weight), prod(weight.shape[1:]))
    largest = np.abs(rows).max(1, initial=0)
    if pairs and rows.shape[1] > 1:
        same = np.sign(rows[:, 1:]) == np.sign(rows[:, :-1])
        largest = np.maximum(largest, np.where(same, np.abs(rows[:, 1:] + rows[:, :-1]), 0).max(1))
    scales = _scales(np.maximum(largest / 127, least))
    integers = np.rint(rows / scales[:, None]).astype(np.int8)
    return Rounded(integers.reshape(weight.shape), scales)


def kernel_rows(weight: Floats, least: Floats | float = 0.0) -> Rounded:
    """A kernel `[N, C, ...]` as int8 of the same shape, symmetric, with scales `[N]` of at least `least` `[N]`.

    Neighbours, as in `per_row`, are those that `QLinearConv` adds: it goes over channels first, then over places.
    """
    last = np.ascontiguousarray(np.moveaxis(weight, 1, -1))
    found = per_row(last, True, least)
    return Rounded(np.ascontiguousarray(np.moveaxis(found.integers, -1, 1)), found.scales)


def in_blocks(weight: Floats, bits: int, block: int) -> Rounded:
    """A matrix `[N, K]` as `MatMulNBits` reads it: uint8 `[N, blocks, bytes of a block]`, scales `[N, blocks]`.

    Rows are filled up to whole blocks. Integers are stored plus 2^(bits-1). With 4 bits the entry of the largest size
    becomes -8, so that all 16 values are used; two neighbours share a byte, the first in its lower half.
    """
    count, width = weight.shape
    whole = np.zeros((count, -(-width // block) * block), np.float32)
    whole[:, :width] = weight
    whole = whole.reshape(count, -1, block)
    middle = 2 ** (bits - 1)
    if bits == 4:
        at = np.abs(whole).argmax(-1)[..., None]
        scales = _scales(np.take_along_axis(whole, at, -1)[..., 0] / -middle)
    else:
        scales = _scales(np.abs(whole).max(-1) / (middle - 1))
    integers = np.clip(np.rint(whole / scales[..., None]) + middle, 0, 2 * middle - 1).astype(np.uint8)
    return Rounded(integers[..., 0::2] | integers[..., 1::2] << 4 if bits == 4 else integers, scales)


def block_size(width: int, most: int) -> int:
    """The block of at most `most` entries for which rows of a width take the fewest bytes with their scales."""
    return min((size for size in BLOCKS if size <= most), key=lambda size: -(-width // size) * (size + 4))


def _scales(scales: Floats) -> Floats:
    """1 where all is zero."""
    return np.where(scales == 0, 1, scales).astype(np.float32)
