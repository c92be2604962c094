"""A string where a list of strings is expected is refused by name, everywhere; a list is taken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from small_models import small_model
from tprune.bench.harness import bench
from tprune.costs.latency.design import plans_for
from tprune.data.parallel import Parallel
from tprune.families.registry import couplings
from tprune.recipe.schema import Prune
from tprune.runtimes.export import export
from tprune.support.errors import InputError
from tprune.support.texts import not_a_list
from tprune.tasks.metrics.translation import bleu_interval, paired_bootstrap, paired_over_runs, quality
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData
from tprune.vocabulary.coverage import coverage
from tprune.vocabulary.output_vocabulary import find_resegmentation
from tprune.vocabulary.trim import trim_vocabulary, writable

WORDS: Any = "the dog"
LINES = ["the dog sees a cat .", "a cat sees the dog ."]
MODEL: Any = small_model("marian")
TOKENIZER: Any = train_tokenizer(LINES, 40, 32)
CALLS: dict[str, tuple[str, Callable[[], Any]]] = {
    "Parallel": ("source is the string", lambda: Parallel(WORDS, ("a",) * 7)),
    "Parallel's target": ("target is the string", lambda: Parallel(("a",) * 7, WORDS)),
    "quality": ("translations: the string", lambda: quality(WORDS, LINES)),
    "references": ("references: the string", lambda: quality(["a"] * 7, WORDS)),
    "interval": ("translations: the string", lambda: bleu_interval(WORDS, LINES)),
    "paired": ("expected a list of runs|translations: the string", lambda: paired_bootstrap(WORDS, LINES, LINES)),
    "over runs": ("systems: expected a list of runs", lambda: paired_over_runs([LINES], LINES, LINES)),  # type: ignore[arg-type]
    "export": ("sentences to check the export on: the string", lambda: export(MODEL, TOKENIZER, "x", WORDS)),
    "couplings": (
        r"kinds of couplings: the string 'ffn'; expected a list of strings, such as \['ffn'\]",
        lambda: couplings(MODEL, "ffn"),
    ),
    "plans": ("kinds of couplings: the string", lambda: list(plans_for(MODEL, "ffn"))),
    "recipe": ("kinds", lambda: Prune(kinds="ffn", steps=0)),  # type: ignore[arg-type]
    "tokenizer": ("sentences: the string", lambda: train_tokenizer(WORDS, 40, 32)),
    "coverage": ("sentences: the string", lambda: coverage(WORDS, TOKENIZER)),
    "find_resegmentation": ("translations: the string", lambda: find_resegmentation(MODEL, TOKENIZER, WORDS, 20)),
    "also": ("also: the string", lambda: trim_vocabulary(MODEL, TOKENIZER, Parallel(("a",), ("b",)), also=WORDS)),
    "trim": ("corpus: list; expected Parallel", lambda: trim_vocabulary(MODEL, TOKENIZER, LINES)),  # type: ignore[arg-type]
    "writable": ("texts: the string", lambda: writable(MODEL, TOKENIZER, WORDS)),
    "material": (
        "train: list; expected data, as a task reads it",
        lambda: TrainingData.of(TRANSLATION, MODEL, TOKENIZER, LINES, LINES),
    ),  # type: ignore[arg-type]
    "bench": ("the dog: cannot be read", lambda: bench(Path("a"), Path("b"), WORDS, rounds=4)),  # a file's name
    "bench of bytes": ("sentences: a list with bytes at 0", lambda: bench(Path("a"), Path("b"), [b"a"], rounds=4)),  # type: ignore[list-item]
}


@pytest.mark.parametrize("name", CALLS)
def test_a_string_is_refused_by_name(name: str) -> None:
    says, call = CALLS[name]
    with pytest.raises(ValueError, match=says):  # what a recipe's section raises is pydantic's
        call()


def test_what_is_no_list_of_strings_is_said_and_lists_are_taken() -> None:
    assert not_a_list("x" * 99) == f"the string '{'x' * 37}...'; expected a list of strings, such as ['{'x' * 37}...']"
    assert not_a_list(None) == "NoneType; expected a list of strings"
    assert not_a_list({"a": 1}) == "dict; expected a list of strings"
    assert not_a_list(["a", None]) == "a list with NoneType at 1; expected strings"
    assert not_a_list(b"ab") == "bytes; expected a list of strings"
    for good in (LINES, tuple(LINES), [], {"a"}, iter(LINES)):
        assert not_a_list(good) is None
    assert {c.kind for c in couplings(MODEL, ["ffn"])} == {"ffn"} == {c.kind for c in couplings(MODEL, {"ffn"})}
    assert quality(LINES, LINES).bleu == 100.0
    with pytest.raises(InputError, match="no couplings of kind"):
        couplings(MODEL, ["fnf"])
