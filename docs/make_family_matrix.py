"""Writes docs/family-matrix.md from docs/family-matrix.json, which the tests of families write and compare.

TPRUNE_WRITE=1 pytest -m slow tests/families/test_family_matrix.py && python docs/make_family_matrix.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGE = Path(__file__).with_name("family-matrix.md")
ABOUT = """# What every family can do

Made by `python docs/make_family_matrix.py` from what the tests of families found
(`tests/families/test_family_matrix.py`): a small model of each family, of random weights, loses a random part of every
coupling at once, and then

- **masked = shrunk**: the smaller model says what the whole one says with the lost weights set to zero;
- **saved and loaded**: it comes back from disk bit for bit;
- **generates**: with beams and a cache it writes what the masked model writes (–: it writes nothing);
- **compiled**: `torch.compile` makes one graph of it, which says the same (traced and run by `aot_eager`, without the
  compilation of kernels);
- **onnxruntime**, **in int8**: it is exported, run and compared with PyTorch within the
  [limits of the precision](runtimes.md#precisions);
- **timed by**: the parts that latency tables and `bench` time.

A number in brackets is the note below. Which kinds each class of a family has, and what they mean, is in
[Families](families.md).
"""


def page(record: Mapping[str, Mapping[str, str]]) -> str:
    """The page."""
    return "\n".join([ABOUT, *_table(record)]) + "\n"


def _table(record: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    names = list(next(iter(record.values())))
    notes: dict[str, int] = {}
    yield f"| family | {' | '.join(names)} |"
    yield "|---" * (len(names) + 1) + "|"
    for family, cells in record.items():
        yield f"| `{family}` | {' | '.join(_word(cells[name], notes) for name in names)} |"
    if notes:
        yield from ("", *(f"{number}. {note}" for note, number in notes.items()))


def _word(said: str, notes: dict[str, int]) -> str:
    """A reason is a number; it joins the notes where it is new."""
    answer, _, reason = said.partition(": ")
    return said if answer != "no" else f"no ({notes.setdefault(reason, len(notes) + 1)})"


if __name__ == "__main__":
    PAGE.write_text(page(json.loads(PAGE.with_suffix(".json").read_text(encoding="utf-8"))), encoding="utf-8")
    print(PAGE)
