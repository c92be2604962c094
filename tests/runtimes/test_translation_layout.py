"""The layout of a translation export: what is read, and what is refused with the file's name."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import made_up

from tprune.core.caches import LayerCache
from tprune.runtimes.artefact import read_layout, read_translation
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError
from tprune.support.manifest import Manifest
from tprune_runtime.decoding import constrain
from tprune_runtime.generation import Generation


@pytest.fixture
def folder(tmp_path: Path, tokenizer: Any) -> Path:
    """An export whose graphs are no graphs."""
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / name).write_bytes(b"no graph")
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    made_up(Generation(0, (1,), 0, 9), Manifest.of(tmp_path), cross=(LayerCache(0, 2, 3, 4),)).write(tmp_path)
    return tmp_path


@pytest.fixture
def old_folder(folder: Path) -> Path:
    """The same as version 1 of the format had it."""
    new = json.loads((folder / "layout.json").read_text())
    kept = ("generation", "vocabulary", "source_positions", "parameters", "macs", "files", "rows", "runtime")
    old = {"format": 1, "cross": [{"layer": 0, "heads": 2, "key": 3, "value": 4}], "past": []}
    (folder / "generation.json").write_text(json.dumps(old | {name: new[name] for name in kept}))
    (folder / "layout.json").unlink()
    return folder


def test_old_and_new_layouts_say_the_same(folder: Path, request: pytest.FixtureRequest) -> None:
    new = read_layout(folder)
    assert isinstance(new, TranslationLayout) and read_layout(request.getfixturevalue("old_folder")) == new
    with pytest.raises(InputError, match=r"encoder\.onnx: onnxruntime cannot load it"):
        Translator.load(folder)


def test_layout_round_trip(folder: Path) -> None:
    layout = read_translation(folder)
    assert layout.generation == Generation(0, (1,), 0, 9)
    assert layout.graph("encoder").outputs == ("cross_key_0", "cross_value_0")
    assert [spec.dims for spec in layout.graph("decoder").inputs[-2:]] == [
        ("batch", 2, "source", 3),
        ("batch", 2, "source", 4),
    ]


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "tokenizer.json", "layout.json"])
@pytest.mark.parametrize("harm", ["missing", "truncated", "flipped"])
def test_a_harmed_file_is_named(folder: Path, name: str, harm: str) -> None:
    path, raw = folder / name, (folder / name).read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes(raw[:-3] if harm == "truncated" else bytes([raw[0] ^ 1]) + raw[1:])
    with pytest.raises(InputError, match=name) as caught:
        Translator.load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["encoder.onnx", "tokenizer.json", "layout.json"])
def test_a_pipe_is_not_waited_for(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=f"{name}: is a pipe; expected a file"):
        Translator.load(folder)


@pytest.mark.parametrize("rows", [[0, 1, 99], [1, 0, 5], [0, 5], [0, 1, "x"], [0, 1, 1]])
def test_rows_that_no_export_wrote(folder: Path, rows: list[Any]) -> None:
    path = folder / "layout.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": rows}))
    with pytest.raises(InputError, match=r"layout\.json: .*export the model again"):
        read_layout(folder)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": [0, 1, 5]}))
    assert read_translation(folder).writable == 3 and read_translation(folder).tokens([2, 0]).tolist() == [5, 0]


GOOD: dict[str, Any] = {
    "decoder_start_token_id": 0,
    "eos_token_id": [0, 3],
    "pad_token_id": 1,
    "max_length": 10,
    "num_beams": 10,
    "bad_words_ids": [[9], [1, 2]],
    "min_length": 3,
    "length_penalty": -0.5,
    "early_stopping": "never",
    "forced_bos_token_id": 9,
    "forced_eos_token_id": [0],
    "renormalize_logits": True,
    "no_repeat_ngram_size": 3,
    "repetition_penalty": 1.2,
}
SIZES: dict[str, Any] = {"vocabulary": 10, "source_positions": 10, "parameters": 1, "macs": 1}
BAD: list[tuple[str, Any]] = [
    ("max_length", 10**15),
    ("max_length", 12),
    ("max_length", 1),
    ("max_length", True),
    ("length_penalty", "x"),
    ("length_penalty", 1e9),
    ("length_penalty", float("inf")),
    ("decoder_start_token_id", -5),
    ("decoder_start_token_id", 10),
    ("pad_token_id", 10**12),
    ("bad_words_ids", [[10**12]]),
    ("bad_words_ids", [[]]),
    ("bad_words_ids", [3]),
    ("bad_words_ids", "x"),
    ("eos_token_id", ["a"]),
    ("eos_token_id", []),
    ("eos_token_id", 0),
    ("early_stopping", "x"),
    ("early_stopping", 1),
    ("forced_bos_token_id", "x"),
    ("forced_bos_token_id", 10),
    ("forced_eos_token_id", [-1]),
    ("num_beams", 0),
    ("num_beams", 11),
    ("num_beams", "four"),
    ("min_length", -1),
    ("min_length", None),
    ("renormalize_logits", "no"),
    ("no_repeat_ngram_size", -1),
    ("no_repeat_ngram_size", "x"),
    ("repetition_penalty", 0),
    ("repetition_penalty", float("nan")),
    ("vocabulary", 0),
    ("vocabulary", 10**12),
    ("vocabulary", "10"),
    ("source_positions", 10**15),
    ("source_positions", 9.5),
    ("parameters", -1),
    ("macs", "many"),
    ("cross", [{"layer": 0, "heads": 10**9, "key": 4, "value": 4}]),
    ("past", [{"layer": 0, "heads": 2, "key": -4, "value": 4}]),
    ("files", {"../x": {"bytes": 1, "sha256": ""}}),
    ("files", {"x": {"bytes": "1", "sha256": ""}}),
    ("runtime", 3),
]


@pytest.mark.parametrize(("key", "value"), BAD, ids=str)
def test_numbers_that_no_export_wrote(tmp_path: Path, key: str, value: Any) -> None:
    """As written it loads; with one value changed it is refused by that value's name, before memory is asked for."""
    whole = {"format": 1, "generation": GOOD, "cross": [], "past": [], "files": {}, **SIZES}
    (tmp_path / "generation.json").write_text(json.dumps(whole))
    assert read_translation(tmp_path).generation.eos_token_id == (0, 3)
    changed = whole | ({key: value} if key in whole or key == "runtime" else {"generation": GOOD | {key: value}})
    (tmp_path / "generation.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match=rf"generation\.json: {key}.*expected") as caught:
        read_layout(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_of_before_there_were_repetition_penalties(tmp_path: Path) -> None:
    old = {key: value for key, value in GOOD.items() if key not in ("no_repeat_ngram_size", "repetition_penalty")}
    whole = {"format": 1, "generation": old, "cross": [], "past": [], "files": {}, **SIZES}
    (tmp_path / "generation.json").write_text(json.dumps(whole))
    found = read_translation(tmp_path).generation
    assert (found.no_repeat_ngram_size, found.repetition_penalty) == (0, 1.0)


def test_a_listed_file_that_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "encoder.onnx")
    listed = {"encoder.onnx": {"bytes": 0, "sha256": ""}}
    whole = {"format": 1, "generation": GOOD, "cross": [], "past": [], "files": listed, **SIZES}
    (tmp_path / "generation.json").write_text(json.dumps(whole))
    with pytest.raises(InputError, match=r"encoder\.onnx: is a pipe; expected a file"):
        read_layout(tmp_path)


def test_the_decoders_numbers_keep_repeats_and_penalties() -> None:
    g = Generation(0, (1,), 0, 9, no_repeat_ngram_size=2, repetition_penalty=1.5)
    layout = made_up(g, rows=(0, 1, 7, 12))
    assert (layout.decoding.no_repeat_ngram_size, layout.decoding.repetition_penalty) == (2, 1.5)
    prefix = layout.numbers(np.array([[0, 7, 12, 7]]))
    banned = constrain(np.zeros((1, layout.writable), np.float32), prefix, layout.decoding)
    assert layout.tokens(np.flatnonzero(np.isinf(banned[0]))).tolist() == [12]


def test_other_bad_folders(folder: Path) -> None:
    with pytest.raises(InputError, match=r"encoder\.onnx: onnxruntime cannot load it"):
        Translator.load(folder)
    with pytest.raises(InputError, match="no such folder"):
        Translator.load(folder / "absent")
    for threads in (0, 10**4):
        with pytest.raises(InputError, match=f"threads {threads}; expected 1"):
            Translator.load(folder, threads=threads)
    raw = json.loads((folder / "layout.json").read_text())
    for change, text in (
        ({"format": 9}, "format 9"),
        ({"graphs": 3}, "not the layout"),
        ({"generation": {}}, "not the layout"),
        ({"generation": raw["generation"] | {"num_beams": "four"}}, "num_beams is 'four'; expected a whole number"),
    ):
        (folder / "layout.json").write_text(json.dumps(raw | change))
        with pytest.raises(InputError, match=text):
            Translator.load(folder)
