"""Recipes, corpora and plans that are damaged in every way that comes to mind, and in others."""

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fuzzing import examples, mutated, survives
from hypothesis import given
from hypothesis import strategies as st

from small_models import small_model
from tprune.core.plan import Plan, make_plan
from tprune.core.selection import keep_best
from tprune.data.parallel import Parallel, read_lines, read_pair
from tprune.families.registry import couplings
from tprune.recipe.reader import check_recipe, read_recipe
from tprune.recipe.schema import Recipe

pytestmark = pytest.mark.slow
RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*/*.yaml"))
YAML = [
    b"1e-4",
    b".nan",
    b".inf",
    b"-1",
    b"0",
    b"true",
    b"null",
    b"~",
    b"[]",
    b"{}",
    b"&a [x]",
    b"*a",
    b"!!python/object:os.system x",
    b"<<: *a",
    b"\t",
    b"\0",
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"? ",
    b": ",
    b"- ",
    b"'",
    b'"',
    b"{" * 60,
    b"[" * 3000,
    b"# ",
    b"---\n",
    b"%YAML 9\n",
    b"99999999999999999999999",
    b"0x1F",
    b"1_000",
    b"2026-13-45",
    b"'1e-4'",
    b"macs: 0.5\n",
    b"prune: ",
    b"|\n x",
    b"\xff",
    "ü".encode(),
]
TEXT = [
    b"\r\n",
    b"\xef\xbb\xbf",
    b"\0",
    b"\xe2\x80\xa8",
    b"\xc2\x85",
    b"\n\n",
    b" \n",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\x1b[31m",
    b"<script>",
    b"\x0b\x0c",
    b"word " * 5000,
    b"\xf0\x9f\x98\x80",
    b"\n",
    "\u202e".encode(),
    b"a" * 30_000,
]
PLAN = [
    b"NaN",
    b"1e999",
    b"-1",
    b"null",
    b"[]",
    b"{}",
    b'"',
    b",",
    b"\\u0000",
    b"[0, 0]",
    b"99999999999",
    b"true",
    b"0.5",
    b"[" * 3000,
    b'"a": 1, ',
    b"../",
]
GOOD = ("a cat sat on the mat\nein Hund\nthe third line, with commas\n" * 3).encode()
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.binary(max_size=4))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
)


@examples(3000)
@given(st.sampled_from(RECIPES).flatmap(lambda path: mutated(path.read_bytes(), YAML)))
def test_recipes_as_text(text: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "r.yaml")
        path.write_bytes(text)
        survives(lambda: read_recipe(path))
        assert path.read_bytes() == text


def places(data: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [*([above] if above else []), *(path for key, value in inner for path in places(value, (*above, key)))]


@examples(2500)
@given(st.data())
def test_recipes_with_values_of_other_types(data: st.DataObject) -> None:
    content: Any = read_recipe(data.draw(st.sampled_from(RECIPES))).model_dump(mode="json")
    *way, last = data.draw(st.sampled_from(places(content)))
    inner = content
    for key in way:
        inner = inner[key]
    inner[last] = data.draw(VALUES)

    def check() -> None:
        assert isinstance(check_recipe(content), Recipe)

    survives(check)


@examples(3000)
@given(mutated(GOOD, TEXT), st.sampled_from(["plain", "gz", "broken gz"]))
def test_corpora(text: bytes, packing: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        packed = {"plain": text, "gz": gzip.compress(text), "broken gz": gzip.compress(text)[: -1 - len(text) % 20]}[
            packing
        ]
        path, good = Path(folder, "s.txt" if packing == "plain" else "s.gz"), Path(folder, "good")
        path.write_bytes(packed)
        good.write_bytes(GOOD)

        def read() -> None:
            lines = read_lines(path)
            assert len(lines) == len(text.removesuffix(b"\n").split(b"\n"))  # nothing but \n ends a line
            assert all(line.strip() and "\0" not in line for line in lines)
            assert isinstance(read_pair(path, good), Parallel)

        said = survives(read)
        assert said is None or "s." in said or "unpacks" in said
        assert path.read_bytes() == packed


@examples(1000)
@given(
    mutated(b'en,de\n"a cat, red",eine Katze\nb,c\n', [b'"', b",", b"\n", b"\r", b"\0", b";", b"\xff", b'""']),
    st.sampled_from(["csv", "tsv", "jsonl"]),
)
def test_tables(text: bytes, kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"t.{kind}")
        path.write_bytes(text)
        survives(lambda: read_lines(f"{path}:en"))


MODEL: Any = small_model("marian")


def a_plan() -> Plan:
    plan = make_plan(MODEL, "marian", couplings(MODEL, ("ffn", "heads", "qk")))
    kept = {g.coupling.name: keep_best(g.norms, max(1, g.shape[-1] // 2)) for g in plan.bind(MODEL)}
    return plan.with_kept(kept, {"macs": 10.0}, {"macs": 9.0})


WRITTEN = a_plan().to_json().encode()


def follow(text: str) -> None:
    plan = Plan.from_json(text, "plan.json")
    for groups in plan.bind(MODEL):
        assert groups.norms.shape == groups.shape


@examples(1500)
@given(mutated(WRITTEN, PLAN))
def test_plans_as_text(text: bytes) -> None:
    survives(lambda: follow(text.decode("utf-8", "replace")))


@examples(1500)
@given(st.data())
def test_plans_with_values_of_other_types(data: st.DataObject) -> None:
    content = json.loads(WRITTEN)
    del content["entries"][2:]
    *way, last = data.draw(st.sampled_from(places(content)))
    inner = content
    for key in way:
        inner = inner[key]
    what = data.draw(st.one_of(VALUES, st.just("duplicate")))
    inner[last] = [inner[last]] * 2 if what == "duplicate" else what
    try:
        text = json.dumps(content)
    except (TypeError, ValueError):
        return  # bytes are no JSON
    survives(lambda: follow(text))
