import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import SENTENCES
from transformers import AutoTokenizer, MarianMTModel, MarianTokenizer

from tprune.core.caches import Caches, LayerCache, translation_signatures
from tprune.families.graphs.encoder_decoder import DecoderStep, Encoder
from tprune.runtimes.artefact import read_layout, read_translation
from tprune.runtimes.decoding import beam, constrain, greedy
from tprune.runtimes.export import export
from tprune.runtimes.generation import Generation
from tprune.runtimes.generation_settings import generation_of
from tprune.runtimes.tokens import SentencePieceTokens
from tprune.runtimes.translation_layout import TranslationLayout
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError
from tprune.support.manifest import Manifest


class TorchSteps:
    """The graphs run by torch: the searches are tested without an export."""

    def __init__(self, model: Any, ids: torch.Tensor, mask: torch.Tensor) -> None:
        self.step, self.mask, self.position = DecoderStep(model), mask, 0
        self.cross = Encoder(model)(ids, mask)
        heads, size = model.config.decoder_attention_heads, model.config.d_model // model.config.decoder_attention_heads
        self.past = [torch.zeros(len(ids), heads, 0, size)] * 2 * len(model.model.decoder.layers)

    @torch.no_grad()
    def logits(self, tokens: Any) -> Any:
        position = torch.tensor([self.position])
        logits, *self.past = self.step(torch.from_numpy(tokens)[:, None], position, self.mask, self.cross, self.past)
        self.position += 1
        return logits.numpy()

    def take(self, rows: Any) -> None:
        self.mask, self.cross = self.mask[rows], [x[rows] for x in self.cross]
        self.reorder(rows)

    def reorder(self, rows: Any) -> None:
        self.past = [x[rows] for x in self.past]


def as_generated(rows: torch.Tensor, eos: tuple[int, ...]) -> list[list[int]]:
    out = []
    for row in rows[:, 1:].tolist():
        ends = [i for i, token in enumerate(row) if token in eos]
        out.append(row[: ends[0] + 1] if ends else row)
    return out


SETTINGS: list[dict[str, Any]] = [
    {},
    {"length_penalty": 0.3},
    {"length_penalty": 2.0},
    {"length_penalty": -0.5},
    {"early_stopping": True},
    {"early_stopping": "never"},
    {"early_stopping": "never", "length_penalty": 0.0},
    {"forced_eos_token_id": 1},
    {"forced_bos_token_id": 5},
    {"min_length": 12},
    {"bad_words_ids": [[0], [7], [5, 9], [4, 5, 6]]},
    {"eos_token_id": [1, 9, 11]},
    {"renormalize_logits": True, "bad_words_ids": [[0], [8]]},
    {"max_length": 5},
    {"max_length": 2},
    {"no_repeat_ngram_size": 1},
    {"no_repeat_ngram_size": 2},
    {"no_repeat_ngram_size": 3, "forced_eos_token_id": 1},
    {"no_repeat_ngram_size": 30},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.6},
    {"repetition_penalty": 4.0},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "min_length": 9, "length_penalty": 0.4},
    {"repetition_penalty": 1.7, "renormalize_logits": True, "bad_words_ids": [[0], [8]]},
    {"no_repeat_ngram_size": 2, "renormalize_logits": True},
    {"repetition_penalty": 1.3, "early_stopping": True},
]


@pytest.mark.parametrize("beams", [1, 2, 5])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@torch.no_grad()
def test_search_is_what_generate_does(
    marian: MarianMTModel, tokenizer: Any, settings: dict[str, Any], beams: int
) -> None:
    for key, value in ({"num_beams": beams} | settings).items():
        setattr(marian.generation_config, key, value)
    g = generation_of(marian)
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    rows = marian.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    steps = TorchSteps(marian, batch.input_ids, batch.attention_mask)
    got = greedy(steps, len(SENTENCES), g) if beams == 1 else beam(steps, len(SENTENCES), beams, g)
    assert got == as_generated(rows, g.eos_token_id)


def test_the_tiny_model_says_something(marian: MarianMTModel, tokenizer: Any) -> None:
    """Else the comparisons above would compare nothing: lengths differ, some end by themselves, tokens vary."""
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    out = greedy(TorchSteps(marian, batch.input_ids, batch.attention_mask), len(SENTENCES), generation_of(marian))
    assert len({len(row) for row in out}) > 2
    assert len({tuple(row) for row in out}) > 5


@pytest.mark.parametrize("settings", [{"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.5}], ids=str)
def test_the_tiny_model_repeats_itself_where_it_may(
    marian: MarianMTModel, tokenizer: Any, settings: dict[str, Any]
) -> None:
    """Else the comparisons of n-grams and penalties above would compare nothing."""
    batch, found = tokenizer(list(SENTENCES), padding=True, return_tensors="pt"), []
    for change in ({}, settings):
        for key, value in change.items():
            setattr(marian.generation_config, key, value)
        g = generation_of(marian)
        found.append(greedy(TorchSteps(marian, batch.input_ids, batch.attention_mask), len(SENTENCES), g))
    assert sum(a != b for a, b in zip(*found, strict=True)) >= 3


def test_repeats_and_penalties_by_hand() -> None:
    prefix = np.array([[0, 2, 3, 2], [0, 4, 4, 4]])
    banned = constrain(np.zeros((2, 6), np.float32), prefix, Generation(0, (1,), 0, 9, no_repeat_ngram_size=2))
    assert [np.flatnonzero(np.isinf(row)).tolist() for row in banned] == [[3], [4]]
    once = constrain(np.zeros((2, 6), np.float32), prefix, Generation(0, (1,), 0, 9, no_repeat_ngram_size=1))
    assert [np.flatnonzero(np.isinf(row)).tolist() for row in once] == [[0, 2, 3], [0, 4]]
    scores = np.array([[-1, 1, 2, -2, 5, -5]] * 2, np.float32)
    penalised = constrain(scores, prefix, Generation(0, (1,), 0, 9, repetition_penalty=2.0))
    assert penalised.tolist() == [[-2, 1, 1, -4, 5, -5], [-2, 1, 2, -2, 2.5, -5]]


def test_constraints_in_order() -> None:
    g = Generation(0, (1,), 0, 4, bad_words_ids=((3,), (2, 4)), min_length=2, forced_eos_token_id=(1,))
    first = constrain(np.zeros((2, 6), np.float32), np.array([[2], [0]]), g)
    assert np.isinf(first).tolist() == [
        [False, True, False, True, True, False],
        [False, True, False, True, False, False],
    ]
    last = constrain(np.ones((1, 6), np.float32), np.array([[0, 2, 5]]), g)
    assert last[0, 1] == 0
    assert np.isinf(np.delete(last[0], 1)).all()


def made_up(
    generation: Generation, files: Manifest | None = None, cross: Caches = (), rows: tuple[int, ...] = ()
) -> TranslationLayout:
    """The layout of a model of 20 tokens and 8 positions."""
    return TranslationLayout(
        task="translation",
        phases=("encoder", "decoder_step", "sentence"),
        graphs=translation_signatures(cross, ()),
        parameters=1,
        macs=1,
        files=files or Manifest({}),
        generation=generation,
        vocabulary=20,
        source_positions=8,
        rows=rows,
    )


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


def test_importing_needs_no_torch() -> None:
    imports = "import sys, tprune.bench.harness, tprune.bench.worker, tprune.runtimes.translator"
    code = f"{imports}; print({{'torch', 'transformers'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_sentencepiece_is_what_marian_tokenizer_does(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    for side in ("source", "target"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(SENTENCES), model_prefix=str(tmp_path / side), vocab_size=50, minloglevel=2
        )
        (tmp_path / f"{side}.model").rename(tmp_path / f"{side}.spm")
    processor = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "source.spm"))
    pieces = [processor.id_to_piece(i) for i in range(3, 46)]  # some are left out: unknown
    words = ["</s>", "<unk>", *pieces, ">>deu<<", "<pad>"]
    (tmp_path / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    theirs = MarianTokenizer(str(tmp_path / "source.spm"), str(tmp_path / "target.spm"), str(tmp_path / "vocab.json"))
    ours = SentencePieceTokens(tmp_path)
    texts = [*SENTENCES, ">>deu<< a dog", "zebra  quiz", "a dog é"]
    ids = theirs(texts).input_ids
    assert ours.encode(texts) == ids
    assert ours.decode(ids) == theirs.batch_decode(ids, skip_special_tokens=True)
    (tmp_path / "vocab.json").write_text("{")
    with pytest.raises(InputError, match=r"vocab\.json"):
        SentencePieceTokens(tmp_path)


@dataclasses.dataclass(frozen=True)
class Echo:
    """Token ids for words, and back."""

    def encode(self, sentences: Any) -> list[list[int]]:
        return [[int(word) for word in sentence.split()] for sentence in sentences]

    def decode(self, ids: Any) -> list[str]:
        return [" ".join(map(str, row)) for row in ids]


class Repeats:
    """An engine that writes the first word of the source as many times as its second, then the end token."""

    def start(self, rows: Any, mask: Any) -> "Repeats":
        self.rows, self.step = rows, 0
        return self

    def logits(self, tokens: Any) -> Any:
        found = np.zeros((len(self.rows), 20), np.float32)
        found[np.arange(len(self.rows)), np.where(self.rows[:, 1] > self.step, self.rows[:, 0], 1)] = 1
        self.step += 1
        return found

    def take(self, rows: Any) -> None:
        self.rows = self.rows[rows]


@pytest.mark.parametrize(("forced", "cut"), [((), [False, True, False, True]), ((1,), [True, True, False, True])])
def test_which_translations_end_at_the_limit(forced: tuple[int, ...], cut: list[bool]) -> None:
    """Of four new tokens: three and an end, four, nothing to say, and many; a forced end is none of the model's."""
    layout = made_up(Generation(0, (1,), 0, 5, forced_eos_token_id=forced))
    translator = Translator(layout, Echo(), Repeats())  # type: ignore[arg-type]
    found = translator.translated(["5 3", "6 4", " ", "7 9"], beams=1, batch=1)
    assert found.cut == cut and found.limit == 4 and found.share == sum(cut) / 4
    assert found.texts[0] == "5 5 5 1" and found.texts[2] == "" == translator.translate([" "])[0]
    assert found.texts[1] == ("6 6 6 1" if forced else "6 6 6 6")


@pytest.mark.slow
def test_limits_and_batches(marian: MarianMTModel, tokenizer: Any, tmp_path: Path) -> None:
    export(marian, tokenizer, tmp_path / "out", SENTENCES[:2])
    translator = Translator.load(tmp_path / "out")
    with pytest.raises(InputError, match=r"sentence 2 has \d+ tokens; the model takes at most 40"):
        translator.translate(["a cat", "zyx " * 40])
    for arguments in ({"beams": 0}, {"beams": 10**6}, {"batch": 0}):
        with pytest.raises(InputError, match=next(iter(arguments))):
            translator.translate(["a cat"], **arguments)
    with pytest.raises(InputError, match="sentence 3 has"):
        translator.translate(["a cat", "", "zyx " * 40])
    assert translator.translate([]) == [] and translator.translate(["", " "]) == ["", ""]
    assert translator.translate(["", "a cat", " "]) == ["", *translator.translate(["a cat"]), ""]
    one = translator.translate(SENTENCES, batch=1)
    assert translator.translate(SENTENCES, batch=4) == translator.translate(SENTENCES, batch=100) == one
    assert translator.translate(SENTENCES[::-1], batch=3) == one[::-1]
    exact = dataclasses.replace(translator.layout, source_positions=len(translator.encode(["a cat"])[0]))
    assert dataclasses.replace(translator, layout=exact).translate(["a cat"])


@pytest.mark.slow
@torch.no_grad()
def test_trained_model_translates_as_generate(trained: tuple[Path, tuple[str, ...]], tmp_path: Path) -> None:
    folder, sentences = trained
    sentences = sentences[200:320]
    model = MarianMTModel.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    export(model, tokenizer, tmp_path / "out", sentences[:1])
    translator = Translator.load(tmp_path / "out")
    batch = tokenizer(list(sentences), padding=True, return_tensors="pt")
    for beams in (1, 4):
        rows = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, num_beams=beams)
        expected = tokenizer.batch_decode(rows, skip_special_tokens=True)
        for size in (1, 16):
            got = translator.translate(sentences, beams=beams, batch=size)
            assert sum(a != b for a, b in zip(got, expected, strict=True)) == 0
