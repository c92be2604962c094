"""The teacher's translations: made once, line by line, and only ever those of this teacher and these sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tprune
from small_pairs import PAIRS, model_and_tokenizer
from tprune.run.translation.steps import distill_data_step
from tprune.runtimes.translator import Translated
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import encode
from tprune.tasks.translation.task import TRANSLATION
from tprune.train import pseudo_targets as module
from tprune.train.pseudo_targets import CUT, TARGETS, cut_share, digest, make_pseudo_targets, usable
from tprune.train.schedule import TrainingConfig
from tprune.train.training_data import TrainingData


class Parrot:
    """Translates by repeating; dies at the sentence it was told to."""

    asked: tuple[str, ...] = ()
    dies_at: str | None = None

    def translated(self, sentences: Any, beams: int, batch: int) -> Translated:
        if Parrot.dies_at in sentences:
            raise KeyboardInterrupt
        Parrot.asked += tuple(sentences)
        return Translated([f"{beams} {s}" for s in sentences], ["ran" in s for s in sentences], 20)


@pytest.fixture
def parrot(monkeypatch: pytest.MonkeyPatch) -> type[Parrot]:
    monkeypatch.setattr(module, "export", lambda *_, **__: None)
    monkeypatch.setattr(module.Translator, "load", staticmethod(lambda *_: Parrot()))
    monkeypatch.setattr(module, "CHUNK", 5)
    monkeypatch.setattr(Parrot, "asked", ())
    monkeypatch.setattr(Parrot, "dies_at", None)
    return Parrot


SENTENCES = tprune.Parallel(
    tuple(f"a cat {'ran ' * (i % 3)}{'sat ' * (i // 3)}".strip() for i in range(13)), ("x",) * 13
)


def test_a_killed_call_goes_on_to_the_same_lines(parrot: type[Parrot], tmp_path: Path) -> None:
    model, tokenizer = model_and_tokenizer()
    whole = make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path / "whole")
    assert whole.source == SENTENCES.source and whole.target == tuple(f"4 {s}" for s in SENTENCES.source)
    parrot.dies_at = SENTENCES.source[11]
    with pytest.raises(KeyboardInterrupt):
        make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path / "broken")
    file = tmp_path / "broken" / TARGETS
    assert len(file.read_text().splitlines()) == 10
    with file.open("a") as lines:
        lines.write("one line more\nand half a li")  # as a killed write leaves it
    parrot.dies_at, parrot.asked = None, ()
    assert make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path / "broken").target == whole.target
    assert parrot.asked == SENTENCES.source[10:]
    assert file.read_bytes() == (tmp_path / "whole" / TARGETS).read_bytes()
    parrot.asked = ()
    assert make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path / "broken").target == whole.target
    assert parrot.asked == ()
    share = sum("ran" in s for s in SENTENCES.source) / len(SENTENCES)
    assert cut_share(tmp_path / "broken") == cut_share(tmp_path / "whole") == (share, 20) and 0.5 < share < 1


def test_a_call_killed_between_two_files_goes_on_where_both_are_whole(parrot: type[Parrot], tmp_path: Path) -> None:
    model, tokenizer = model_and_tokenizer()
    for name in ("whole", "broken"):
        make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path / name)
    for name, kept in ((TARGETS, 12), (CUT, 7)):
        lines = (tmp_path / "broken" / name).read_text().splitlines(keepends=True)
        (tmp_path / "broken" / name).write_text("".join(lines[:kept]))
    parrot.asked = ()
    make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path / "broken")
    assert parrot.asked == SENTENCES.source[5:]
    for name in (TARGETS, CUT):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_teacher_that_ends_at_the_limit_is_named(parrot: type[Parrot], tmp_path: Path) -> None:
    model, tokenizer = model_and_tokenizer()
    said: list[str] = []
    make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path / "cut", report=said.append)
    assert "warning: the teacher: 61.5 % of the translations end at the limit of 20 tokens" in said[-1]
    said.clear()
    short = tprune.Parallel(
        *(tuple(s for s in side if "ran" not in s) for side in (SENTENCES.source, SENTENCES.source))
    )
    make_pseudo_targets(model, tokenizer, short, tmp_path / "whole", report=said.append)
    assert cut_share(tmp_path / "whole") == (0.0, 0) and not any("limit" in line for line in said)


def test_translations_of_anything_else_are_not_taken_up(parrot: type[Parrot], tmp_path: Path) -> None:
    model, tokenizer = model_and_tokenizer()
    make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path)
    with pytest.raises(InputError, match="another source"):
        make_pseudo_targets(model, tokenizer, tprune.Parallel(SENTENCES.source[::-1], SENTENCES.target), tmp_path)
    with pytest.raises(InputError, match="another source"):
        make_pseudo_targets(model, tokenizer, SENTENCES.head(3), tmp_path)
    with pytest.raises(InputError, match=r"another beams \(4, now 2\)"):
        make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path, beams=2)
    with (tmp_path / TARGETS).open("a") as lines:
        lines.write("x\n")
    with pytest.raises(InputError, match="14 lines for 13 sentences"):
        make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path)
    with torch.no_grad():
        model.model.encoder.layers[0].fc1.bias[0] += 1e-3
    with pytest.raises(InputError, match="another teacher"):
        make_pseudo_targets(model, tokenizer, SENTENCES, tmp_path)


def test_the_digest_sees_every_value_in_any_precision() -> None:
    model, _ = model_and_tokenizer()
    first = digest(model)
    assert first == digest(model_and_tokenizer()[0])
    with torch.no_grad():
        model.model.decoder.layers[0].encoder_attn.v_proj.bias[3] += 1e-6
    assert digest(model) != first
    assert digest(model.bfloat16()) == digest(model)


def test_what_the_teacher_does_not_say_well_is_the_reference() -> None:
    _, tokenizer = model_and_tokenizer()
    said = ["x y", "", " \t", "x " * 40, "x\ny\rz", "u\0v"]
    references = [f"r{i}" for i in range(6)]
    assert usable(said, references, tokenizer, 16) == ["x y", "r1", "r2", "r3", "x y z", "u v"]


def test_a_sentence_too_long_is_said_before_anything_is_translated(parrot: type[Parrot], tmp_path: Path) -> None:
    model, tokenizer = model_and_tokenizer()
    with pytest.raises(InputError, match="line 1 has"):
        make_pseudo_targets(model, tokenizer, tprune.Parallel(("a cat " * 30,), ("x",)), tmp_path)
    assert parrot.asked == () and not (tmp_path / TARGETS).exists()


def test_a_stage_that_asks_for_translations_needs_them(tmp_path: Path) -> None:
    model, tokenizer = model_and_tokenizer()
    material = TrainingData.of(TRANSLATION, model, tokenizer, PAIRS, PAIRS.head(8))
    with pytest.raises(InputError, match="needs the teacher's translations"):
        material.run(model, TrainingConfig(1, sequence_distillation=0.5, batch_tokens=64), tmp_path, teacher=model)


@pytest.mark.slow
def test_the_translations_are_those_of_the_models_beam_search(tmp_path: Path) -> None:
    model, tokenizer = model_and_tokenizer()
    material = TrainingData.of(TRANSLATION, model, tokenizer, PAIRS, PAIRS.head(8), precision="fp32")
    # some training first: an untrained model's beams are all ties
    material.run(model, TrainingConfig(60, lr=1e-2, warmup=5, batch_tokens=128), tmp_path / "work")
    pairs = PAIRS.head(4)
    taught = distill_data_step(model, tokenizer, pairs, material, tmp_path / "taught").pseudo_targets
    batch = tokenizer(list(pairs.source), return_tensors="pt", padding=True)
    with torch.no_grad():
        said = model.eval().generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, num_beams=4)
    expected = usable(tokenizer.batch_decode(said, skip_special_tokens=True), pairs.target, tokenizer, 16)
    assert taught == encode(tprune.Parallel(pairs.source, tuple(expected)), tokenizer, 16)
    assert expected != list(pairs.target) or len(set(expected)) > 1
