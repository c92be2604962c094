"""The README's numbers are those of the benchmark's JSON."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "benchmarks" / "peers" / "peers.json"


def test_the_table_is_that_of_the_json() -> None:
    made = runpy.run_path(str(ROOT / "benchmarks" / "readme_table.py"))
    data = json.loads(NUMBERS.read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert made["written"](readme, made["table"](data)) == readme
    assert made["table"](data) in readme


def test_the_json_says_how_it_was_made() -> None:
    data = json.loads(NUMBERS.read_text(encoding="utf-8"))
    assert {"command", "commit", "versions", "machine", "rows", "bench"} <= set(data)
    done = [row for row in data["rows"] if "failed" not in row]
    assert [row["name"] for row in done][:2] == ["dense", "dense-more-1x-s0"]
    for row in done:
        assert {"speedup", "noise", "bleu_signature"} <= set(row)
        assert "against_dense_more" in row or row["method"] == "dense"
    assert all(row["failed"] for row in data["rows"] if row not in done)
