"""Recipes: what is read, what is refused, and with which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tprune.recipe.reader import check_recipe, read_recipe
from tprune.recipe.schema import Recipe
from tprune.support.errors import InputError

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*/*.yaml"))
MINIMAL = "data: {grammar: true}\ntrain: {steps: 10}\nprune: {steps: 5, macs: 0.5}\nrecover: {steps: 5}\n"


def read(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return read_recipe(path)


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert "mine.yaml" in message and "\n" not in message
    return message


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_our_recipes_parse_and_ask_for_one_size(path: Path) -> None:
    recipe = read_recipe(path)
    unit, value = recipe.prune.target()
    assert value > 1 if unit == "speedup" else unit in ("macs", "params", "bytes") and 0 < value < 1
    assert recipe.train.steps > 0 and recipe.recover.steps > 0
    assert recipe.data.files.keys() == {"train", "valid", "test"}


def test_there_are_recipes() -> None:
    assert {f"{path.parent.name}-{path.stem}" for path in RECIPES} >= {"tprune-multi30k", "tprune-tatoeba"}


def test_defaults_fill_in_a_minimal_recipe(tmp_path: Path) -> None:
    recipe = read(tmp_path, MINIMAL)
    assert (
        recipe.data.grammar
        and recipe.prune.kinds == ["ffn", "heads"]
        and recipe.seed == 0
        and recipe.train_precision == "auto"
    )
    assert recipe == read(tmp_path, MINIMAL)


def test_a_schedule_is_rewound_by_no_more_than_it_has(tmp_path: Path) -> None:
    says = refusal(tmp_path, MINIMAL.replace("recover: {steps: 5}", "recover: {rewind: 4, steps: 5}"))
    assert "a schedule of 4 steps has no last 5" in says and says.endswith("got 4")
    assert read(tmp_path, MINIMAL.replace("recover: {steps: 5}", "recover: {steps: 5, rewind: 5}")).recover.rewind == 5


@pytest.mark.parametrize("written", ["1e-4", "1E-4", "1.0e-4", "0.0001"])
def test_scientific_numbers_are_numbers(tmp_path: Path, written: str) -> None:
    assert read(tmp_path, MINIMAL.replace("{steps: 10}", f"{{steps: 10, lr: {written}}}")).train.lr == 1e-4


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("train:", "trian:"), "unknown key 'trian'; did you mean 'train'?"),
        (("macs", "mcas"), "unknown key 'prune.mcas'; did you mean 'macs'?"),
        (("macs: 0.5", "macs: 0.5, stpes: 3"), "unknown key 'prune.stpes'; did you mean 'steps'?"),
        (("macs: 0.5", "macs: 0.5, zzzzz: 3"), "unknown key 'prune.zzzzz'"),
        (
            ("recover: {steps: 5}", "recover: {steps: 5, distil: 1}"),
            "unknown key 'recover.distil'; did you mean 'distill'?",
        ),
        (("grammar: true", "gramar: true"), "unknown key 'data.gramar'; did you mean 'grammar'?"),
        (("macs: 0.5", "macs: 0.5, macs: 0.6"), "key 'macs' is given twice"),
        (("steps: 10", "steps: many"), "train.steps: "),
        (("steps: 10", "steps: -1"), "train.steps: "),
        (("steps: 10", "steps: 10, lr: 0"), "train.lr: "),
        (("macs: 0.5", "macs: half"), "prune.macs: "),
        (("macs: 0.5", "macs: 0.5, kinds: [fnn]"), "prune.kinds.0: "),
        (("train: {steps: 10}", "train: 3"), "train: "),
        (("recover: {steps: 5}", "recover: {steps: 5, sequence_distillation: 1.5}"), "recover.sequence_distillation: "),
        (("recover: {steps: 5}", "recover: {steps: 5, hidden_distillation: -1}"), "recover.hidden_distillation: "),
        (
            ("recover: {steps: 5}", "recover: {steps: 5, hiden_distillation: 1}"),
            "unknown key 'recover.hiden_distillation'; did you mean 'hidden_distillation'?",
        ),
        (("recover: {steps: 5}", "recover: {steps: 5, rewind: 4}"), "recover.rewind: "),
        (("macs: 0.5", "macs: 0.5, rewind: 4"), "prune.rewind: "),
        (("steps: 10", "steps: 10, sequence_distillation: 1"), "unknown key 'train.sequence_distillation'"),
        (("steps: 10", "steps: 10, tokens: 64"), "line 2: key 'train.tokens' was renamed; use 'train.batch_tokens'"),
        (
            ("macs: 0.5", "macs: 0.5, budget: loss"),
            "key 'prune.budget' was renamed; use 'prune.allocation'",
        ),
        (("recover: {steps: 5}\n", ""), "key 'recover' is missing"),
    ],
)
def test_wrong_recipes_are_refused_in_one_line(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    assert change[0] in MINIMAL
    assert says in refusal(tmp_path, MINIMAL.replace(*change))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a recipe"),
        ("- a\n", "expected a recipe"),
        ("a: [", "no valid YAML"),
        ("a: b: c", "no valid YAML"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe4")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    for name, says in (
        ("missing", "cannot be read"),
        ("latin", "line 2 is not UTF-8"),
        ("empty", r".* got an empty file"),
    ):
        with pytest.raises(InputError, match=rf"{name}\.yaml: {says}"):
            read_recipe(tmp_path / f"{name}.yaml")


def prune(**asked: Any) -> Any:
    stage: dict[str, Any] = {"steps": 1}
    return check_recipe({"data": {"grammar": True}, "train": stage, "prune": stage | asked, "recover": stage}).prune


@pytest.mark.parametrize(
    ("asked", "target", "timed"),
    [
        ({"parameters": 0.5}, ("params", 0.5), False),
        ({"params": 2e6, "parameters": None}, ("params", 2e6), False),
        ({"bytes": 1}, ("bytes", 1.0), False),
        ({"memory_mb": 90}, ("memory_mb", 90.0), True),
        ({"speedup": 2}, ("speedup", 2.0), True),
    ],
)
def test_targets_are_fractions_numbers_times_or_memory(asked: dict[str, Any], target: Any, timed: bool) -> None:
    found = prune(**asked)
    assert found.target() == target and found.timed == found.by_loss == timed
    assert prune(**asked, allocation="loss").by_loss


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"macs": 1.5}, "in \\(0, 1\\], or a number of at least 1000"),
        ({"params": 0}, "greater than 0"),
        ({"params": 0.5, "parameters": 0.6}, "are the same; give one"),
        ({"memory_mb": -1}, "greater than 0"),
        ({"macs": 0.5, "allocation": "lost"}, "prune.allocation"),
    ],
)
def test_bad_targets_are_refused(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        prune(**asked)


@pytest.mark.parametrize("sizes", [{}, {"macs": 0.5, "bytes": 0.5}, {"speedup": 2, "memory_mb": 50}])
def test_exactly_one_size_is_asked_for(sizes: dict[str, Any]) -> None:
    stage: dict[str, Any] = {"steps": 1}
    recipe = check_recipe({"data": {"grammar": True}, "train": stage, "prune": stage | sizes, "recover": stage})
    with pytest.raises(InputError, match="exactly one of macs, params, bytes"):
        recipe.prune.target()


def test_mistakes_are_named_with_their_line(tmp_path: Path) -> None:
    path, text = tmp_path / "r.yaml", f"# a comment\n\n{MINIMAL}".replace("train:", "trian:")
    path.write_text(text)
    line = text[: text.index("trian")].count("\n") + 1
    with pytest.raises(InputError, match=f"r.yaml, line {line}: unknown key 'trian'"):
        read_recipe(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [x, x]\nb: [*a, *a]\n", "alias .a; write the value out"),
        ("a: " + "[" * 5000, "no valid YAML"),
        ("a: 2026-99-99\n", "no valid YAML"),
        ("# " + "x" * 1_100_000 + "\na: 1\n", "expected a recipe in YAML, of at most 1,000,000"),
        ("data: " + "x" * 5000 + "\n", "got 'xxx"),
    ],
)
def test_hostile_yaml_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as said:
        read_recipe(path)
    assert len(str(said.value)) < 800 and "\n" not in str(said.value)


def test_options_of_a_method_are_its_fields() -> None:
    found = prune(method="gradual_magnitude", method_options={"share": 0.75, "over": 20}, macs=0.5)
    assert found.method_options == {"share": 0.75, "over": 20} and type(found.method_options["over"]) is int
    for options, says in (
        ({"zeal": 1}, "method_options.zeal is unknown; expected share, initial, begin, over, every"),
        ({"share": "half"}, "method_options.share is 'half'; expected a number"),
        ({"over": 2.5}, "method_options.over is 2.5; expected a whole number"),
        ({"share": 2.0}, "expected 0 ≤ initial ≤ share ≤ 1"),
    ):
        with pytest.raises(InputError) as caught:
            prune(method="gradual_magnitude", method_options=options, macs=0.5)
        assert says in str(caught.value) and "prune" in str(caught.value)


def test_a_runtime_that_needs_even_heads_gets_them_and_refuses_other_kinds(tmp_path: Path) -> None:
    there = MINIMAL + "bench: {runtime: ctranslate2}\n"
    assert read(tmp_path, there).prune.even == ["heads"] and read(tmp_path, MINIMAL).prune.even == []
    says = refusal(tmp_path, there.replace("macs: 0.5", "macs: 0.5, kinds: [ffn, width]"))
    assert "ctranslate2 runs no model of which width are cut; expected some of ffn, heads" in says
    assert read(tmp_path, there.replace("macs: 0.5", "macs: 0.5, even: [ffn]")).prune.even == ["ffn", "heads"]
