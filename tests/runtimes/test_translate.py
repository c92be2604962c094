"""Translating with an export: tokens, limits, batches, and the trained model's own translations."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import SENTENCES, made_up
from transformers import AutoTokenizer, MarianMTModel, MarianTokenizer

from tprune.runtimes.export import export
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError
from tprune_runtime.generation import Generation
from tprune_runtime.marian_tokens import SentencePieceTokens


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
