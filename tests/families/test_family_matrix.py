"""docs/family-matrix.md says what happens when each family is cut, saved, run, compiled, exported and rounded.

With TPRUNE_WRITE=1 the slow test writes the record, of which `python docs/make_family_matrix.py` makes the page.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from family_cells import SMALL, row
from filelock import FileLock

from tprune.families.registry import FAMILIES
from tprune.support.files import read_json, write_json

DOCS = Path(__file__).parents[2] / "docs"
RECORD = DOCS / "family-matrix.json"
HOW = "TPRUNE_WRITE=1 pytest -m slow tests/families/test_family_matrix.py && python docs/make_family_matrix.py"


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_matrix_says_what_happens(name: str, tmp_path: Path) -> None:
    found = row(name, tmp_path)
    if os.environ.get("TPRUNE_WRITE"):
        with FileLock(f"{RECORD}.lock"):
            known = read_json(RECORD) if RECORD.exists() else {}
            write_json(RECORD, {each: (known | {name: found}).get(each, {}) for each in SMALL})
    assert read_json(RECORD)[name] == found, HOW


def test_every_family_is_in_the_matrix() -> None:
    assert set(SMALL) == set(FAMILIES.ours) == set(read_json(RECORD)), HOW


def test_the_page_is_made_of_the_record() -> None:
    spec = importlib.util.spec_from_file_location("make_family_matrix", DOCS / "make_family_matrix.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert (DOCS / "family-matrix.md").read_text(encoding="utf-8") == made.page(read_json(RECORD)), HOW
