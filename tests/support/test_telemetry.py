"""No library reports home or leaves files in the user's home: not in the program, its workers, or where tprune is
imported.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tprune.support.telemetry import OFF

SESSION = """
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
assert session.run(None, {"x": numpy.ones(1, numpy.float32)})[0][0] == 1
"""


def ran(home: Path, arguments: Sequence[object], cwd: Path, text: str | None = None, **extra: str) -> list[str]:
    """Runs Python with a home of its own and gives the files that are in it afterwards, ours aside."""
    home.mkdir(exist_ok=True)
    ours = {key: value for key, value in os.environ.items() if key not in OFF and not key.startswith("XDG_")}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=ours | {"HOME": str(home)} | extra,
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    left = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    return [path for path in left if not path.startswith(".cache/tprune/")]


def test_importing_tprune_is_enough(tmp_path: Path) -> None:
    assert ran(tmp_path / "home", ["-c", "import tprune" + SESSION], tmp_path) == []
    left = ran(
        tmp_path / "other", ["-c", SESSION], tmp_path
    )  # without us it would be there: else this test tests nothing
    if not left:
        pytest.skip("this onnxruntime reports nothing")
    assert "onnxruntime" in " ".join(left).lower()


def test_what_the_user_has_set_stays(tmp_path: Path) -> None:
    code = f"import os, tprune; print([os.environ[name] for name in {sorted(OFF)}])"
    for given in ({}, dict.fromkeys(OFF, "0")):
        env = {key: value for key, value in os.environ.items() if key not in OFF} | given
        said = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
        assert said.strip() == str(["0" if given else "1"] * len(OFF))


@pytest.mark.slow
def test_a_data_set_in_a_folder_leaves_no_copy_in_the_home(tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "train.jsonl").write_text('{"en": "a dog", "de": "ein Hund"}\n' * 3)
    ours = (
        "from tprune.data.hub import read_data_set; assert len(read_data_set('corpus', 'en', 'de', {'train': "
        "9})['train']) == 3"
    )
    assert ran(tmp_path / "home", ["-c", ours], tmp_path) == []
    theirs = "import datasets; datasets.load_dataset('corpus')"
    assert ran(tmp_path / "other", ["-c", theirs], tmp_path)  # what the library would leave


@pytest.mark.slow
def test_a_fresh_home_stays_empty_after_every_verb(tmp_path: Path) -> None:
    from tprune.data.synthetic.grammar import corpus
    from tprune.realise.checkpoint import save
    from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer

    pairs = corpus(train=60, valid=20, test=8)
    for name, each in (("train", pairs.train), ("valid", pairs.valid)):
        for side, lines in (("src", each.source), ("tgt", each.target)):
            (tmp_path / f"{name}.{side}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = train_tokenizer(pairs.train.source + pairs.train.target, 300, 64)
    save(new_model(MarianSize(16, (1, 1), 2, 32, 300, positions=64), len(tokenizer)), tmp_path / "model", tokenizer)
    texts = ("--src", "train.src", "--tgt", "train.tgt", "--valid-src", "valid.src", "--valid-tgt", "valid.tgt")
    quick = ("--set", "prune.search=1", "--set", "bench.rounds=4", "--set", "bench.sentences=2")
    library = "from tprune.runtimes.translator import Translator; print(Translator.load('onnx').translate(['a dog']))"
    for arguments in (
        ["-m", "tprune", "inspect", "model"],
        ["-m", "tprune", "export", "model", "--out", "onnx", "--sentences", "valid.src"],
        ["-m", "tprune", "translate", "onnx"],
        ["-m", "tprune", "bench", "onnx", "onnx", "--sentences", "valid.src", "--rounds", "4"],
        ["-m", "tprune", "evaluate", "onnx", "--src", "valid.src", "--tgt", "valid.tgt"],
        ["-m", "tprune", "prune", "model", "--macs", "0.9", "--steps", "2", "--out", "run", *texts, *quick],
        ["-m", "tprune", "report", "run"],
        ["-m", "tprune", "runtimes"],
        ["-c", library],
    ):
        assert ran(tmp_path / "home", arguments, tmp_path, "a dog\n") == [], arguments
