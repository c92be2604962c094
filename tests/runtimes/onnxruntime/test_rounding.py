import numpy as np
import pytest

from tprune.runtimes.onnxruntime.rounding import BLOCKS, block_size, in_blocks, per_row

SATURATES = 2**15 // 255  # from this sum of two neighbours on, 16 bits may not hold their products with uint8


def matrix(rows: int, width: int) -> np.ndarray:
    return np.random.default_rng(rows + width).standard_normal((rows, width)).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 7), (6, 33), (4, 3, 3, 3), (0, 4), (3, 0)])
@pytest.mark.parametrize("pairs", [True, False])
def test_rows_are_rounded_to_half_a_step(shape: tuple[int, ...], pairs: bool) -> None:
    weight = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    integers, scales = per_row(weight, pairs)
    assert integers.dtype == np.int8 and integers.shape == shape and scales.shape == shape[:1]
    steps = scales.reshape(-1, *[1] * (len(shape) - 1))
    assert (np.abs(weight - integers * steps) <= steps * 0.5001).all()
    assert integers.size == 0 or np.abs(integers).max() <= 127


def test_neighbours_never_saturate_16_bits() -> None:
    weight = np.sort(matrix(40, 64), 1)  # neighbours are alike, the worst case

    def largest(pairs: bool) -> int:
        integers = per_row(weight, pairs).integers.astype(int)
        return int(np.abs(integers[:, 1:] + integers[:, :-1]).max())

    assert largest(pairs=False) > SATURATES  # what it is for
    assert largest(pairs=True) <= SATURATES
    one = np.array([[0.0, 3.0, 0.0, -3.0, 0.0]], np.float32)  # nothing to fear: all of the 8 bits are used
    assert np.abs(per_row(one, pairs=True).integers).max() == 127


@pytest.mark.parametrize("width", [1, 16, 22, 33, 128, 160])
@pytest.mark.parametrize(("bits", "most"), [(8, 128), (4, 32)])
def test_blocks_are_rounded_to_half_a_step(width: int, bits: int, most: int) -> None:
    weight = matrix(5, width)
    weight[2] = 0
    block = block_size(width, most)
    integers, scales = in_blocks(weight, bits, block)
    count = -(-width // block)
    assert integers.shape == (5, count, block * bits // 8) and integers.dtype == np.uint8
    assert scales.shape == (5, count)
    whole = integers if bits == 8 else np.stack([integers & 15, integers >> 4], -1).reshape(5, count, block)
    values = ((whole.astype(int) - 2 ** (bits - 1)) * scales[..., None]).reshape(5, -1)
    steps = np.repeat(np.abs(scales), block, 1)
    # the largest of 4 bits has a step more on one side than on the other
    assert (np.abs(weight - values[:, :width]) <= steps[:, :width] * (0.5001 if bits == 8 else 1.0001)).all()
    assert (values[:, width:] == 0).all() and (values[2] == 0).all()


def test_blocks_are_no_larger_than_they_need_be() -> None:
    assert [block_size(width, 128) for width in (1, 22, 128, 160, 512)] == [16, 32, 128, 32, 128]
    assert block_size(512, 32) == 32
    assert set(BLOCKS) == {16, 32, 64, 128}
