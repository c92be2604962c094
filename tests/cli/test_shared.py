"""The options that every verb has."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tprune import __version__
from tprune.cli.app import VERBS, app
from tprune.cli.groups import options_of
from tprune.cli.shared import Common
from tprune.core.known_methods import METHODS
from tprune.families.registry import FAMILIES
from tprune.recipe.reader import check_recipe
from tprune.runtimes.runtime import RUNTIMES

Call = Callable[..., tuple[int, str, str]]
PLUGIN = """
from dataclasses import dataclass
from tprune.methods.group_lasso import GroupLasso
from tprune.core.known_methods import METHODS

@dataclass(frozen=True)
class Mine(GroupLasso):
    pass

METHODS.enter("mine", Mine)
"""


def test_every_verb_has_them_and_a_line_of_help(tprune: Call) -> None:
    assert len(VERBS) == len(app.registered_commands) == 13
    for verb in VERBS:
        code, said, _ = tprune(verb, "--help")
        assert code == 0 and all(f"--{option.name.replace('_', '-')}" in said for option in options_of(Common)), verb
        assert (VERBS[verb].__doc__ or "").strip()


def test_the_first_help_has_every_verb_whole_and_an_example(tprune: Call) -> None:
    code, said, _ = tprune("--help")
    assert code == 0 and all(verb in said for verb in VERBS) and "..." not in said.replace("[ARGS]...", "")
    assert "tprune demo" in said and "--speedup 2" in said
    code, said, _ = tprune("--version")
    assert code == 0 and said == f"tprune {__version__}\n"


def test_a_plugin_adds_a_method_that_recipes_may_name(tprune: Call, tmp_path: Path) -> None:
    (tmp_path / "my_plugin.py").write_text(PLUGIN)
    stage = {"steps": 1}
    recipe = {"data": {}, "train": stage, "prune": {**stage, "method": "mine", "macs": 0.5}, "recover": stage}
    with pytest.raises(ValueError, match="expected one of gradual_magnitude, group_lasso, hoyer_square"):
        check_recipe(recipe)
    try:
        code, said, _ = tprune("runtimes", "--plugin", "my_plugin", "--json")
        assert code == 0 and json.loads(said)["runtimes"][0]["name"] == "onnxruntime"
        assert check_recipe(recipe).prune.method == "mine"
    finally:
        METHODS.entered.clear()
    assert not FAMILIES.entered


def test_a_plugin_that_is_none_is_named(tprune: Call, tmp_path: Path) -> None:
    (tmp_path / "broken_plugin.py").write_text("1 / 0\n")
    (tmp_path / "leaving_plugin.py").write_text("raise SystemExit(7)\n")
    code, _, notes = tprune("runtimes", "--plugin", "../no/such_plugin.py")
    assert code == 1 and "no/such_plugin.py: there is no such file" in notes
    code, _, notes = tprune("runtimes", "--plugin", "../leaving_plugin")
    assert code == 1 and "expected the name of a module" in notes
    for name, says in (
        ("no_such_module", "ModuleNotFoundError"),
        ("broken_plugin", "ZeroDivisionError"),
        ("leaving_plugin", "SystemExit"),
    ):
        code, _, notes = tprune("runtimes", "--plugin", name)
        assert code == 1 and f"--plugin {name}: cannot be imported ({says}" in notes


def test_offline_and_debug(tprune: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TPRUNE_DEBUG"):
        monkeypatch.setenv(variable, "")
    assert tprune("runtimes", "--offline", "--debug")[0] == 0
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["HF_DATASETS_OFFLINE"] == os.environ["TPRUNE_DEBUG"] == "1"


def test_a_gpu_that_is_not_there(tprune: Call, model: Path) -> None:
    data = ("--src", "s", "--tgt", "t", "--valid-src", "s", "--valid-tgt", "t")
    code, _, notes = tprune("prune", model, "--macs", 0.8, "--device", "cuda", "--out", "run", *data)
    assert code == 1 and "finds no GPU here" in notes and not (model.parent / "run").exists()


RUNTIMES_THAT_ARE_NONE = """
from tprune.runtimes.runtime import RUNTIMES
from tprune.runtimes.onnxruntime.engine import OnnxRuntime

class Broken(OnnxRuntime):
    def write(self, graphs, folder, precision):
        raise {error}

RUNTIMES.enter({entered})
"""


@pytest.mark.parametrize(
    ("entered", "error", "says"),
    [
        ("'mine', None", "KeyError", "None was entered as a runtime, but has no name"),
        ("'onnxruntime', OnnxRuntime()", "KeyError", "two runtimes are called 'onnxruntime'"),
        ("'mine', Broken('mine')", "KeyError('two\\nlines')", "runtime mine: KeyError: 'two\\nlines'"),
        (
            "'mine', Broken('mine')",
            "SystemExit(0)",
            "code of a model or a plugin ended the program (exit 0) before export was done",
        ),
    ],
)
def test_a_runtime_that_is_none_is_blamed(
    tprune: Call, model: Path, monkeypatch: pytest.MonkeyPatch, entered: str, error: str, says: str
) -> None:
    monkeypatch.setattr(RUNTIMES, "entered", {})
    (model.parent / "odd_runtime.py").write_text(RUNTIMES_THAT_ARE_NONE.format(entered=entered, error=error))
    try:
        code, _, notes = tprune("export", model, "--out", "small", "--runtime", "mine", "--plugin", "odd_runtime")
    finally:
        sys.modules.pop("odd_runtime", None)
    assert code == 1 and says.replace("\n", "\\n") in notes and not (model.parent / "small").exists(), notes
