"""Steps that are forced in a process of its own find what short checks do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx_models import SENTENCES, randomise_, teach_

from tprune.core.precision import FP32, INT8
from tprune.runtimes.certificate import ExportCertificate
from tprune.runtimes.export import export
from tprune.runtimes.forced import FED, STEPS, forced, fresh, here
from tprune.runtimes.onnxruntime.engine import OnnxRuntime
from tprune.runtimes.opened import open_exported
from tprune.runtimes.runtime import RUNTIMES
from tprune.runtimes.sources import Sentences
from tprune.runtimes.translator import Translator
from tprune.runtimes.verify import verify
from tprune.support.errors import CertificateError, InputError
from tprune.tasks.translation.encoding import MarianSize, new_model

LATE = 30  # steps, more than the sentences of these tests have


class Forgetful(OnnxRuntime):
    """Wrong once a cache holds many steps, as one runtime is where the first step had an empty one."""

    def open(self, folder: Path, layout: Any, threads: int) -> Any:
        session = super().open(folder, layout, threads)

        class Wrong:
            def run(self, graph: str, feeds: Any, outputs: Any) -> Any:
                found = session.run(graph, feeds, outputs)
                late = graph == "decoder" and int(feeds["position"][0]) >= LATE
                return [found[0][:, ::-1].copy(), *found[1:]] if late else found

        return Wrong()


@pytest.mark.slow
def test_a_fault_of_long_caches_is_found(
    marian: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RUNTIMES, "entered", {"forgetful": Forgetful("forgetful")})
    marian.generation_config.max_length = 20
    export(marian, tokenizer, tmp_path / "short", SENTENCES[:2], RUNTIMES["forgetful"], thorough=False)
    with pytest.raises(CertificateError, match=rf"sentence 1, step {LATE + 1} \(batch of 1\) of a fresh process"):
        export(marian, tokenizer, tmp_path / "out", SENTENCES[:2], RUNTIMES["forgetful"])


class Mixing(OnnxRuntime):
    """Wrong for the second row of a batch once a cache holds many steps."""

    def open(self, folder: Path, layout: Any, threads: int) -> Any:
        session = super().open(folder, layout, threads)

        class Wrong:
            def run(self, graph: str, feeds: Any, outputs: Any) -> Any:
                found = session.run(graph, feeds, outputs)
                if graph == "decoder" and int(feeds["position"][0]) >= LATE:
                    found[0] = np.concatenate([found[0][:1], found[0][1:, ::-1]])
                return found

        return Wrong()


@pytest.fixture(scope="module")
def roomy(tokenizer: Any) -> Any:
    """A model with more positions than the steps that are forced, whose own sentences are short."""
    model = new_model(MarianSize(32, (1, 1), 4, 48, len(tokenizer), 0.1, STEPS + 1), len(tokenizer))
    randomise_(model)
    teach_(model, tokenizer)
    model.generation_config.max_length = 20
    return model.eval()


@pytest.mark.slow
def test_forty_eight_steps_are_forced_of_one_sentence_and_of_two(roomy: Any, tokenizer: Any, tmp_path: Path) -> None:
    out, shapes = tmp_path / "out", list[tuple[tuple[int, ...], tuple[int, ...]]]()
    report = export(roomy, tokenizer, out, SENTENCES[:2])
    assert report.steps == ExportCertificate.read(out).steps == 48 and ExportCertificate.read(out).fresh
    assert export(roomy, tokenizer, tmp_path / "short", SENTENCES[:2], thorough=False).steps == 0

    def seen(jobs: Any) -> Any:
        found = here(out)(jobs)
        shapes.extend((job[FED].shape, each.shape[:2]) for job, each in zip(jobs, found, strict=True))
        return found

    translator = Translator.load(out)
    source = Sentences(translator.layout.generation.pad_token_id)
    found = verify(roomy, translator, translator.encode(SENTENCES[:2]), source, replay=seen)
    assert shapes == [((1, 48), (1, 48)), ((2, 48), (2, 48))] and found.steps == 48


@pytest.mark.slow
def test_a_fault_of_the_second_row_of_a_batch_is_found(
    roomy: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RUNTIMES, "entered", {"mixing": Mixing("mixing")})
    export(roomy, tokenizer, tmp_path / "short", SENTENCES[:2], RUNTIMES["mixing"], thorough=False)
    with pytest.raises(CertificateError, match=rf"sentence 2, step {LATE + 1} \(batch of 2\) of a fresh process"):
        export(roomy, tokenizer, tmp_path / "out", SENTENCES[:2], RUNTIMES["mixing"])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_process_of_its_own_computes_the_same(marian: Any, tokenizer: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export(marian, tokenizer, out, SENTENCES[:3])
    certificate = ExportCertificate.read(out)
    assert certificate.steps == report.steps >= 39 and certificate.fresh and certificate.precision == FP32
    assert certificate.found["relative"] == report.max_relative_error < 1e-4 and certificate.found["top1"] == 1
    opened = open_exported(out)
    ids = np.array(opened.encode(SENTENCES[:1]), np.int64)
    job = {"input_ids": ids, "attention_mask": np.ones_like(ids), FED: np.arange(3, 15)[None]}
    expected = forced(opened, job)
    for replay in (here(out), fresh(out)):
        assert all(np.array_equal(found, expected) for found in replay([job, job]))
    (out / "decoder.onnx").write_bytes(b"")
    with pytest.raises(InputError, match=r"decoder\.onnx"):
        fresh(out)([job])


@pytest.mark.slow
def test_integers_are_made_of_the_files_of_single_precision(
    marian: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(marian, tokenizer, tmp_path / "fp32", SENTENCES[:2], thorough=False)
    export(marian, tokenizer, tmp_path / "anew", SENTENCES[:2], precision=INT8, thorough=False)
    monkeypatch.setattr("tprune.runtimes.onnxruntime.lower.lower", None)  # nothing is lowered again
    how = {"precision": INT8, "fp32": tmp_path / "fp32"}
    export(marian, tokenizer, tmp_path / "int8", SENTENCES[:2], **how)
    for name in ("encoder.onnx", "decoder.onnx"):
        assert (tmp_path / "int8" / name).read_bytes() == (tmp_path / "anew" / name).read_bytes()
    found = ExportCertificate.read(tmp_path / "int8")
    assert found.precision == INT8 and found.products and found.found["top1"] >= 0.95
