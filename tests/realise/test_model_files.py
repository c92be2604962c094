"""What lies in a model's directory: files that change the weights, files that are none, weights that are cut short."""

import json
import os
import shutil
import socket
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from small_models import small_model
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.realise.model_files import damage_of_weights
from tprune.support.errors import InputError, TpruneWarning
from tprune.tasks.translation.encoding import train_tokenizer

Change = Callable[[Path], object]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = train_tokenizer(["a cat sat on the mat", "ein Hund läuft"], 40, 32)
    return save(small_model("marian").float(), tmp_path_factory.mktemp("made") / "m", tokenizer)


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "m"))


def write(name: str, content: str = "{}") -> Change:
    return lambda folder: (folder / name).write_text(content)


def configure(**values: object) -> Change:
    def change(folder: Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (write("adapter_config.json"), r"adapter_config\.json: an adapter, .*merge_and_unload"),
        (write("adapter_model.safetensors"), r"adapter_model\.safetensors: an adapter"),
        (write("adapter_model.bin"), r"adapter_model\.bin: an adapter"),
        (write("pytorch_lora_weights.safetensors"), r"pytorch_lora_weights\.safetensors: an adapter"),
        (write("quantize_config.json"), r"quantize_config\.json: says that these weights are quantized"),
        (
            configure(quantization_config={"quant_method": "gptq"}),
            r"config\.json: quantization_config is \{'quant_method': 'gptq'\}; expected the model before",
        ),
        (configure(quantization={"bits": 4}), r"config\.json: quantization is"),
    ],
)
def test_what_changes_the_weights_is_refused_by_name(change: Change, says: str, folder: Path) -> None:
    load(folder)  # without it all is well
    change(folder)
    with pytest.raises(InputError, match=says):
        load(folder)


@pytest.mark.parametrize(
    "change", [write("README.md"), write("model.gguf"), write("optimizer.pt"), configure(quantization_config=None)]
)
def test_what_changes_nothing_is_left_alone(change: Change, folder: Path) -> None:
    change(folder)
    load(folder)


def test_weights_as_gguf_alone(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-q4.gguf")
    with pytest.raises(
        InputError, match=r"model-q4\.gguf: the only weights here, as GGUF; expected model\.safetensors"
    ):
        load(folder)


def pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def device(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")


def unix_socket(folder: Path) -> None:
    (folder / "vocab.json").unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(folder)  # names of sockets are short
    try:
        listening.bind("vocab.json")
    finally:
        os.chdir(here)
        listening.close()


def huge(name: str, size: int) -> Change:
    return lambda folder: os.truncate(folder / name, size)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        *(
            (pipe(name), f"{name}: is a pipe")
            for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json")
        ),
        (device, "config.json: is a device"),
        (unix_socket, "vocab.json: is a socket"),
        (huge("config.json", 10**12), r"config.json: has 1,000,000,000,000 bytes; expected at most 50,000,000"),
        (huge("tokenizer.json", 10**12), r"tokenizer.json: has 1,000,000,000,000 bytes"),
        (
            huge("model.safetensors", 10**12),
            r"model.safetensors is damaged: it has 1,000,000,000,000 bytes, its header says",
        ),
    ],
)
def test_what_is_no_file_is_refused_at_once(change: Change, says: str, folder: Path) -> None:
    load_tokenizer(folder)
    change(folder)
    started = time.monotonic()
    with pytest.raises(InputError, match=says):
        load(folder)
    if "safetensors" not in says:
        with pytest.raises(InputError, match=says):
            load_tokenizer(folder)
    assert time.monotonic() - started < 10


def cut(size: int) -> Change:
    return lambda folder: os.truncate(folder / "model.safetensors", size)


def append(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0" * 9)


def first(content: bytes) -> Change:
    return lambda folder: (folder / "model.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cut(5), "model.safetensors is cut short: it has 5 bytes"),
        (cut(100), "is cut short: it has 100 bytes, its header alone"),
        (cut(40_000), r"is cut short: it has 40,000 bytes of \d\d,\d\d\d"),
        (append, "is damaged: it has"),
        (first(b"\xff" * 64), "is damaged: it has no header"),
        (first(struct.pack("<Q", 4) + b"[[[["), "is damaged: its header cannot be read"),
        (first(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "is a pointer of Git LFS"),
    ],
)
def test_a_cause_that_is_known_is_named(change: Change, says: str, folder: Path) -> None:
    assert damage_of_weights(folder) == ""
    change(folder)
    with pytest.raises(InputError, match=f"cannot be loaded .*{says}"):
        load(folder)


def test_a_cause_that_is_not_known_is_not_guessed(folder: Path) -> None:
    pruned = {"ffn": {"model.nowhere": 3}}
    configure(pruned=pruned, model_type="tprune_marian", architectures=["PrunedMarianMTModel"])(folder)
    with pytest.raises(InputError, match="cannot be loaded") as error:
        load(folder)
    assert "damaged" not in str(error.value) and "cut short" not in str(error.value)


OLD = (
    "model.encoder.embed_positions._float_tensor",
    "model.encoder.position_ids",
    "rotary_emb.inv_freq",
    "encoder.version",
)


def add_tensor(folder: Path, name: str) -> None:
    file = folder / "model.safetensors"
    save_file(load_file(file) | {name: torch.zeros(1)}, file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", OLD)
def test_leftovers_of_older_libraries_are_left_out_with_a_word(name: str, made: Path, folder: Path) -> None:
    add_tensor(folder, name)
    with pytest.warns(TpruneWarning, match=f"left out {name}: values that an older library saved"):
        found = load(folder)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), load(made).parameters(), strict=True))


@pytest.mark.parametrize(
    "name", ["model.encoder.layers.7.fc1.weight", "model.encoder.position_ids.weight", "my_inv_freq", "version"]
)
def test_weights_without_a_place_are_refused(name: str, folder: Path) -> None:
    add_tensor(folder, name)
    add_tensor(folder, OLD[0])
    with pytest.raises(InputError, match=f"do not fit the configuration, first '{name}' of 1"):
        load(folder)


def test_a_damaged_tokeniser_names_its_folder(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text()) | {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}
    path.write_text(json.dumps(raw))
    with pytest.raises(InputError, match=f"{folder}: no tokeniser can be loaded .*charsmap"):
        load_tokenizer(folder)
    assert "panicked" not in capfd.readouterr().err


def test_damage_that_shows_when_text_is_split_names_the_folder(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    assert raw["post_processor"]["special_tokens"]
    load_tokenizer(folder)
    raw["post_processor"]["special_tokens"] = {}
    path.write_text(json.dumps(raw))
    with pytest.raises(InputError, match=f"{folder}: no tokeniser can be loaded .*PanicException"):
        load_tokenizer(folder)
    assert "panicked" not in capfd.readouterr().err
