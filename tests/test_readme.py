"""The README's numbers are those of the benchmark's JSON."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_table_is_that_of_the_json() -> None:
    made = runpy.run_path(str(ROOT / "benchmarks" / "readme_table.py"))
    data = json.loads((ROOT / "benchmarks" / "multi30k.json").read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert made["written"](readme, made["table"](data)) == readme
    assert made["table"](data) in readme


def test_the_json_says_how_it_was_made() -> None:
    data = json.loads((ROOT / "benchmarks" / "multi30k.json").read_text(encoding="utf-8"))
    assert {"command", "commit", "versions", "machine", "rows", "recipe", "seed"} <= set(data)
    for row in data["rows"]:
        assert {"against_dense", "against_dense_more", "speedup", "noise", "bleu_signature"} <= set(row)
    names = [row["name"] for row in data["rows"]]
    assert names[:2] == ["dense", "dense-more"]
    assert [n.replace("magnitude", "tprune") for n in names[2:] if n.startswith("magnitude")] == [
        n for n in names[2:] if n.startswith("tprune")
    ]
