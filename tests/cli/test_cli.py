"""The command line's forecasts: one clear line for bad input, exit codes, nothing lost."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import BertConfig, BertForQuestionAnswering

from tprune.cli import app as cli
from tprune.cli.console import stdin_lines
from tprune.realise.checkpoint import save
from tprune.support.errors import InputError

RECIPES = Path(__file__).parents[2] / "recipes"
RECIPE = """
task: translation
data: {{}}
model: {{d_model: 16, layers: [1, 1], heads: 2, ffn: 32, vocabulary: 60, dropout: 0.0, positions: 16}}
train: {{steps: 4, warmup: 1, batch_tokens: 64}}
analyze: {{steps: 2, batch_tokens: 64}}
prune: {{kinds: [ffn], steps: 2, warmup: 1, batch_tokens: 64, macs: {macs}}}
recover: {{steps: 2, warmup: 1, batch_tokens: 64}}
bench: {{sentences: 2, rounds: 4}}
"""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Tprune = Callable[..., Done]


@pytest.fixture
def tprune(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tprune:
    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["tprune", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return Done(int(left.value.code or 0), said.out, said.err)

    return call


def files(folder: Path, source: bytes = b"a b\nb a\n", target: bytes = b"x y\ny x\n") -> list[str]:
    folder.mkdir(exist_ok=True)
    (folder / "s").write_bytes(source)
    (folder / "t").write_bytes(target)
    flags = ("--src", "--tgt", "--valid-src", "--valid-tgt", "--test-src", "--test-tgt")
    return [part for i, flag in enumerate(flags) for part in (flag, str(folder / "st"[i % 2]))]


def recipe(folder: Path, macs: float = 0.9) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(macs=macs))
    return path


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (b"a b\n", "has 1 lines"),
        (b"", "empty"),
        (b"a \xff\nb\n", "line 1 is not UTF-8"),
        (b"a b\r\nb a\r\n", "line 1 ends in CR LF"),
        (b"\xef\xbb\xbfa b\nb a\n", "byte-order mark"),
        (b"a b\n" + b"a b " * 40 + b"\n", "line 2 has"),
    ],
)
def test_a_bad_corpus_gives_one_line(tprune: Tprune, tmp_path: Path, source: bytes, says: str) -> None:
    done = tprune("run", recipe(tmp_path), "--out", tmp_path / "run", *files(tmp_path, source))
    assert done.returncode == 1, done.stderr
    assert says in done.stderr and len([line for line in done.stderr.splitlines() if line.startswith("tprune:")]) == 1
    assert "Traceback" not in done.stderr


def test_a_line_separator_stays_inside_its_line(tprune: Tprune, tmp_path: Path) -> None:
    flags = files(tmp_path, "a\u2028b\nb a\n".encode(), b"x y\n")
    done = tprune("run", recipe(tmp_path), "--out", tmp_path / "run", *flags)
    assert "has 2 lines" in done.stderr and "has 1" in done.stderr


def test_an_unreachable_size_says_what_can_be_reached(tprune: Tprune, tmp_path: Path) -> None:
    done = tprune("run", recipe(tmp_path, macs=0.01), "--out", tmp_path / "run", *files(tmp_path))
    assert done.returncode == 1 and "can reach" in done.stderr and not (tmp_path / "run" / "dense").exists()


def test_translating_from_a_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        stdin_lines()


def test_bad_recipes_and_flags(tprune: Tprune, tmp_path: Path) -> None:
    unknown = tmp_path / "r.yaml"
    unknown.write_text(RECIPE.format(macs=0.5).replace("recover: {steps", "recover: {stesp"))
    done = tprune("run", unknown, "--out", tmp_path / "run", *files(tmp_path))
    assert done.returncode == 1 and "did you mean 'steps'" in done.stderr
    done = tprune("run", RECIPES / "tprune" / "tatoeba.yaml", "--out", tmp_path / "run")
    assert done.returncode == 1 and "--data" in done.stderr
    assert tprune("run", recipe(tmp_path), "--out", tmp_path / "run", "--no-such-flag").returncode == 2
    for macs in ("0", "2", "-1", "nan"):
        refused = tprune("run", recipe(tmp_path), "--out", tmp_path / "run", "--macs", macs, *files(tmp_path))
        assert refused.returncode == 2 and "--macs" in refused.stderr and not (tmp_path / "run").exists()
    both = tprune(
        "run", recipe(tmp_path), "--out", tmp_path / "run", "--macs", "0.5", "--bytes", "0.5", *files(tmp_path)
    )
    assert both.returncode == 2 and "got --macs 0.5 and --bytes 0.5" in both.stderr
    assert tprune("run", recipe(tmp_path), "--out", tmp_path / "run", "--seed", 2**32).returncode == 2
    partial = tprune("run", recipe(tmp_path), "--out", tmp_path / "run", "--src", tmp_path / "s")
    assert partial.returncode == 2 and "--src and --tgt belong together" in partial.stderr
    pair = ("--src", tmp_path / "s", "--tgt", tmp_path / "t")
    partial = tprune("run", recipe(tmp_path), "--out", tmp_path / "run", *pair)
    assert partial.returncode == 1 and "no valid and test sentences: give --valid-src and" in partial.stderr


def test_bad_models(tprune: Tprune, tmp_path: Path) -> None:
    (tmp_path / "bloom").mkdir()
    (tmp_path / "bloom" / "config.json").write_text('{"model_type": "bloom"}')
    done = tprune("inspect", tmp_path / "bloom")
    assert done.returncode == 1 and "'bloom'; supported families are: marian, bart" in done.stderr
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    save(BertForQuestionAnswering(BertConfig(vocab_size=9, **sizes)), tmp_path / "bert")
    done = tprune("inspect", tmp_path / "bert")
    assert done.returncode == 1 and "BertForQuestionAnswering is made for no known task; known are: " in done.stderr
    done = tprune("inspect", tmp_path / "nothing")
    assert done.returncode == 1 and "no such directory" in done.stderr


def test_an_existing_folder_is_left_alone(tprune: Tprune, tmp_path: Path) -> None:
    mine = tmp_path / "thesis"
    mine.mkdir()
    (mine / "chapter.tex").write_text("important")
    done = tprune("run", recipe(tmp_path), "--out", mine, *files(tmp_path))
    assert done.returncode == 1 and "no tprune run" in done.stderr
    assert (mine / "chapter.tex").read_text() == "important"


def test_the_program_itself(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tprune", "inspect", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "config.json" in done.stderr


def test_the_package_is_the_program_too() -> None:
    said = subprocess.run([sys.executable, "-m", "tprune", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("tprune ")


@pytest.mark.slow
def test_what_was_not_yet_used_may_be_mended(tprune: Tprune, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert "can reach" in tprune("run", recipe(tmp_path, macs=0.01), "--out", out, *files(tmp_path)).stderr
    long = files(tmp_path / "long", b"a b\n" + b"a b " * 40 + b"\n")
    flags = [*files(tmp_path)[:8], *long[8:]]
    refused = tprune("run", recipe(tmp_path), "--out", out, *flags)
    assert refused.returncode == 1 and f"{tmp_path / 'long' / 's'}: line 2 has" in refused.stderr
    assert not out.exists()  # nothing was trained yet
    assert tprune("run", recipe(tmp_path), "--out", out, "--until", "train", *files(tmp_path)).returncode == 0
    weights = (out / "dense" / "model.safetensors").read_bytes()
    other = tprune("run", recipe(tmp_path), "--out", out, "--seed", "3", *files(tmp_path))
    assert other.returncode == 1 and "another recipe.seed (0, now 3)" in other.stderr
    changed = tprune("run", recipe(tmp_path), "--out", out, *files(tmp_path / "new", b"a a\nb b\n"))
    assert changed.returncode == 1 and "other train sentences" in changed.stderr
    assert (out / "dense" / "model.safetensors").read_bytes() == weights


def test_an_interrupted_run_says_how_to_go_on(tprune: Tprune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tprune.run.stages.run", interrupted)
    out = tmp_path / "my run"
    done = tprune("run", recipe(tmp_path), "--out", out, *files(tmp_path))
    assert done.returncode == 130
    assert f"interrupted; to go on: tprune run {tmp_path / 'recipe.yaml'} --out '{out}'" in done.stderr
    monkeypatch.setattr("tprune.runtimes.matrix.matrix", interrupted)
    done = tprune("runtimes")
    assert done.returncode == 130 and done.stderr == "tprune: interrupted\n"


def test_a_full_disk_is_said_in_words() -> None:
    wrapped = RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    for error in (wrapped, OSError(28, "No space left on device", "weights")):
        said = cli.explained(error)
        assert "the disk is full; nothing that was finished is lost" in said and "unexpected" not in said
    assert cli.explained(InputError("a b")) == "a b"
    assert cli.explained(ZeroDivisionError("x")) == "unexpected ZeroDivisionError: x (--debug shows where)"
