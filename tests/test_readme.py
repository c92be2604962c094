"""The README's numbers are those of the benchmark's JSON."""

import json
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]
NUMBERS = ROOT / "benchmarks" / "peers" / "peers.json"


def test_the_tables_are_those_of_the_jsons() -> None:
    made = runpy.run_path(str(ROOT / "benchmarks" / "readme_table.py"))
    assert [page.name for page, *_ in made["PAGES"]] == [
        "README.md",
        "README.md",
        "recovery.md",
        "recipes.md",
        "one-shot.md",
        "milliseconds.md",
        "milliseconds.md",
    ]
    for page, name, numbers, table in made["PAGES"]:
        text, content = page.read_text(encoding="utf-8"), table(json.loads(numbers.read_text(encoding="utf-8")))
        assert content in text and made["written"](text, name, content) == text
    recovery = json.loads((ROOT / "benchmarks" / "recovery.json").read_text(encoding="utf-8"))
    assert {"command", "commit", "versions", "machine", "settings"} <= set(recovery)


def test_the_readme_is_short_and_starts_with_code() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = readme.splitlines()
    assert len(lines) < 100 and lines.index("```") < 30 and readme.count("![") == 1


def test_the_json_says_how_it_was_made() -> None:
    data = json.loads(NUMBERS.read_text(encoding="utf-8"))
    assert {"command", "commit", "versions", "machine", "rows", "bench"} <= set(data)
    done = [row for row in data["rows"] if "failed" not in row]
    assert [row["name"] for row in done][:2] == ["dense", "dense-more-1x-s0"]
    for row in done:
        assert {"speedup", "noise", "bleu_signature"} <= set(row)
        assert "against_dense_more" in row or row["method"] == "dense"
    assert all(row["failed"] for row in data["rows"] if row not in done)


def test_the_analysis_page_has_the_losses_by_worth() -> None:
    rows = json.loads((ROOT / "benchmarks" / "worth.json").read_text(encoding="utf-8"))["rows"]
    page = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8").replace("*", "")
    half = len(rows) // 2
    for one, other in zip(rows[:half], rows[half:], strict=True):
        assert one["worth"] == other["worth"] and f"| {one['loss']:.2f} | {other['loss']:.2f} |" in page


def test_the_analysis_page_has_the_numbers_of_the_json() -> None:
    """Whether harm predicts, and what does not, is said with the benchmark's own numbers; the aims of the analysis hold."""
    found = json.loads((ROOT / "benchmarks" / "analysis.json").read_text(encoding="utf-8"))["spearman"]
    page = (ROOT / "docs" / "analysis.md").read_text(encoding="utf-8").replace("**", "").replace("−", "-")
    shown = {"harm": "harm: ", "Fisher": "Fisher: ", "Taylor": "Taylor: ", "norm": "norm of", "BSSL: shrunk, area": "BSSL: `area`",
             "permuted: shrunk, area": "the null"}  # fmt: skip
    for title, begins in shown.items():
        row = found[title]
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {begins}")]
        assert f"| {row['spearman']:.2f} [{row['low']:.2f}, {row['high']:.2f}] |" in line
        assert " | ".join(f"{row['within'][kind]:.2f}" for kind in ("ffn", "heads", "qk", "vo")) in line
    others = [found[title]["spearman"] for title in shown if title != "harm"]
    assert found["harm"]["spearman"] >= 0.6 and found["harm"]["spearman"] > max(others)
