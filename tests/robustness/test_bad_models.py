"""Model directories that are truncated, lie, point elsewhere or lack a file."""

import json
import shutil
import struct
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fuzzing import examples, mutated, survives
from hypothesis import given
from hypothesis import strategies as st

from small_models import small_model
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import train_tokenizer

pytestmark = pytest.mark.slow
JUNK = [b"\0", b"{", b"}", b'"', b"null", b"[]", b"9" * 30, b"../", b"\xff", b",", b"NaN", b"[" * 3000]
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 300),
    st.sampled_from([10**6, 10**9, 10**30, 0.5, "x", "../../etc", [], {}, [1], "marian", "bart"]),
)


def made(folder: Path) -> Path:
    sentences = ("a cat sat", "eine Katze sass")
    model: Any = small_model("marian")
    return save(model, folder / "model", train_tokenizer(sentences, int(model.config.vocab_size), 32))


HOME = tempfile.TemporaryDirectory()
MODEL = made(Path(HOME.name))
FILES = sorted(path.name for path in MODEL.iterdir() if path.is_file())
KEYS = sorted(json.loads((MODEL / "config.json").read_text()))


def tried(change: Callable[[Path], None]) -> str | None:
    """Loads a copy after a change; the files stay as the change left them."""
    with tempfile.TemporaryDirectory() as folder:
        twin = Path(folder, "model")
        shutil.copytree(MODEL, twin)
        change(twin)
        before = {path: path.read_bytes() for path in sorted(twin.rglob("*")) if path.is_file()}

        def both() -> None:
            load(twin)
            load_tokenizer(twin)

        said = survives(both)
        assert said is None or folder in said
        assert before == {path: path.read_bytes() for path in sorted(twin.rglob("*")) if path.is_file()}
        return said


def rewrite(name: str, content: bytes, folder: Path) -> None:
    (folder / name).write_bytes(content)


@examples(600)
@given(
    st.sampled_from(FILES).flatmap(lambda name: st.tuples(st.just(name), mutated((MODEL / name).read_bytes(), JUNK)))
)
def test_files_with_junk_in_them(change: tuple[str, bytes]) -> None:
    tried(partial(rewrite, *change))


@examples(600)
@given(st.sampled_from(KEYS), ODD)
def test_configurations_with_other_values(key: str, value: Any) -> None:
    config = json.loads((MODEL / "config.json").read_text()) | {key: value}
    tried(partial(rewrite, "config.json", json.dumps(config).encode()))


@examples(200)
@given(st.data())
def test_weights_that_lie(data: st.DataObject) -> None:
    """The header of safetensors says where each tensor lies, of which type and shape."""
    raw = (MODEL / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    name = data.draw(st.sampled_from(sorted(set(header) - {"__metadata__"})))
    field = data.draw(st.sampled_from(["dtype", "shape", "data_offsets", None]))
    if field is None:
        header[f"{name}.more"] = header.pop(name)
    else:
        odd: dict[str, list[Any]] = {
            "dtype": ["F16", "I8", "XX", None],
            "shape": [[10**12], [-1], [], ["a"], None],
            "data_offsets": [[0, 10**12], [8, 0], [0], None],
        }
        header[name][field] = data.draw(st.sampled_from(odd[field]))
    written = json.dumps(header).encode()
    claimed = data.draw(st.sampled_from([len(written), len(written), 2**63, 0, len(raw) * 2]))
    said = tried(partial(rewrite, "model.safetensors", struct.pack("<Q", claimed) + written + raw[8 + length :]))
    assert said is not None


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_is_missed_or_not_needed(name: str) -> None:
    said = tried(lambda folder: (folder / name).unlink())
    assert (said is None) == (name == "generation_config.json")


@pytest.mark.parametrize("where", ["../outside.safetensors", "/etc/passwd", "", 3, "a/b.safetensors"])
def test_weights_outside_the_directory_are_not_read(where: Any) -> None:
    def lead_away(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"metadata": {}, "weight_map": {"model.shared.weight": where}})
        )

    said = tried(lead_away)
    assert said is not None and "model.safetensors.index.json: weights are said to be in" in said


def test_code_in_a_model_is_not_run(tmp_path: Path) -> None:
    twin = tmp_path / "model"
    shutil.copytree(MODEL, twin)
    (twin / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    for name, keys in (
        ("config.json", ("AutoConfig", "AutoModelForSeq2SeqLM")),
        ("tokenizer_config.json", ("AutoTokenizer",)),
    ):
        content = json.loads((twin / name).read_text())
        content["auto_map"] = {key: ["evil.X", None] if key == "AutoTokenizer" else "evil.X" for key in keys}
        (twin / name).write_text(json.dumps(content | ({"tokenizer_class": "Unknown"} if "token" in name else {})))
    with pytest.raises(InputError, match="comes with code of its own"):
        load(twin)
    with pytest.raises(InputError, match=r"tokenizer_config\.json: comes with code of its own \(evil\.X\)"):
        load_tokenizer(twin)
    assert not (tmp_path / "ran").exists()
