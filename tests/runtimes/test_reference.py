"""PyTorch as a reference: checkpoints run through the searches of exported folders, and give what PyTorch gives."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx_models import SENTENCES, pruned_marian
from torch._dynamo.utils import counters

from small_pairs import model_and_tokenizer
from table_models import inputs, outputs, table_model
from tprune.bench.phases import measure
from tprune.core.precision import FP32, INT8
from tprune.realise.checkpoint import save
from tprune.runtimes.opened import open_exported
from tprune.runtimes.reference.engine import COMPILERS, REFERENCES, check_compiler
from tprune.runtimes.reference.folder import stand_in
from tprune.runtimes.translator import Translator
from tprune.support.errors import InputError

EAGER, COMPILED = REFERENCES["torch"], REFERENCES["torch-compile"]


def translations(model: Any, opened: Translator) -> tuple[list[list[int]], list[list[int]]]:
    ids = opened.encode(SENTENCES[:4])
    expected = []
    with torch.no_grad():
        for row in ids:
            found = model.generate(torch.tensor([row]), num_beams=1, do_sample=False)[0, 1:].tolist()
            expected.append(found)
    return expected, opened.generate(ids, 1)


def test_a_translation_model_is_searched_as_exported_ones_are(marian: Any, tokenizer: Any, tmp_path: Path) -> None:
    model = pruned_marian(marian, {})
    save(model, tmp_path / "model", tokenizer)
    opened = open_exported(stand_in(str(tmp_path / "model"), tmp_path / "side", EAGER))
    assert isinstance(opened, Translator) and opened.layout.runtime == "torch"
    expected, found = translations(model, opened)
    assert found == expected and any(len(row) > 2 for row in found)
    for phase in ("encoder", "decoder_step"):
        request = {"do": phase, "source": 5, "past": 3, "batch": 1}
        assert measure(opened, request)["ms"] > 0
    assert sum(file.stat().st_size for file in (tmp_path / "side").iterdir()) > 4 * opened.layout.parameters


def test_a_model_of_one_pass(tmp_path: Path) -> None:
    model = table_model("bert-classifier").float().eval()
    save(model, tmp_path / "model")
    side = stand_in(str(tmp_path / "model"), tmp_path / "side", EAGER)
    batch = inputs(model)
    found = open_exported(side).logits({name: x.numpy() for name, x in batch.items()})  # type: ignore[union-attr]
    assert np.abs(found - outputs(model, batch).detach().numpy()).max() < 1e-5


def test_a_changed_weight_is_seen(tmp_path: Path) -> None:
    """The folder has links to the weights, whose checksums its layout has."""
    model = table_model("bert-classifier").float().eval()
    save(model, tmp_path / "model")
    side = stand_in(str(tmp_path / "model"), tmp_path / "side", EAGER)
    with torch.no_grad():
        model.classifier.bias += 1
    save(model, tmp_path / "model")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        open_exported(side)


def test_what_references_do_not_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert EAGER.supports(FP32, "single-pass") is None
    assert "in fp32; expected that, not int8" in str(EAGER.supports(INT8, "single-pass"))
    with pytest.raises(InputError, match="there is nothing to export"):
        EAGER.write((), tmp_path, FP32)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match="torch-compile needs a C\\+\\+ compiler"):
        check_compiler()
    with pytest.raises(InputError, match="torch-compile needs"):
        stand_in("nothing", tmp_path / "side", COMPILED)


@pytest.mark.runtimes  # about 40 s of processor time, most of it g++
@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason=f"no C++ compiler: none of {', '.join(COMPILERS)}")
def test_compiled_graphs_give_the_same(tmp_path: Path) -> None:
    """A layer on each side: compiled are the encoder, and the decoder for no past, a past of one and longer ones."""
    model, tokenizer = model_and_tokenizer()
    save(model.eval(), tmp_path / "model", tokenizer)
    opened = open_exported(stand_in(str(tmp_path / "model"), tmp_path / "side", COMPILED))
    assert isinstance(opened, Translator)
    torch._dynamo.reset()
    counters.clear()
    for ids, fed in (([[5, 6, 7, 1]], [[0, 5, 9, 7]]), ([[8, 9, 5, 6, 7, 1]], [[0, 8, 3, 4, 6, 9]])):
        with torch.no_grad():
            expected = model(input_ids=torch.tensor(ids), decoder_input_ids=torch.tensor(fed)).logits.numpy()
        assert np.abs(opened.forced(ids, np.array(fed)) - expected).max() < 1e-5
        assert counters["stats"]["unique_graphs"] == 4  # longer ones compile nothing
