import pytest

from tprune.bench.devices.cores import Core, chosen, mask, numbers
from tprune.support.errors import InputError

PHONE = [Core(n, 1_800_000 if n < 4 else 2_400_000 if n < 7 else 2_900_000, None) for n in range(8)]  # 4, 3 and 1


@pytest.mark.parametrize(
    ("asked", "threads", "found"),
    [
        ("big", 1, [7]),
        ("big", 2, [4, 5, 6, 7]),  # one core is too few for two threads
        ("big", 8, list(range(8))),
        ("little", 4, [0, 1, 2, 3]),
        ("7,0-1", 3, [0, 1, 7]),
    ],
)
def test_clusters_and_lists(asked: str, threads: int, found: list[int]) -> None:
    picked = chosen(PHONE, asked, threads)
    assert [core.number for core in picked] == found
    assert [n for n in range(8) if int(mask(picked), 16) >> n & 1] == found


def test_cores_that_are_all_the_same() -> None:
    same = [Core(n, 0, None) for n in (2, 3)]
    assert chosen(same, "big", 1) == tuple(same)
    with pytest.raises(InputError, match=r"^--cores little: all cores have the same highest .* some of 2,3$"):
        chosen(same, "little", 1)


@pytest.mark.parametrize("text", ["", "a", "1-", "3-1", "-1", "1,,2", "0-99999999999"])
def test_texts_that_are_no_list(text: str) -> None:
    with pytest.raises(ValueError):
        numbers(text)
