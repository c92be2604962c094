"""What tprune makes of small seeded models, to the bit: however the code is laid out, these values stay."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pins_adapter as tp
import pytest
import torch
from pinned import batch, compare, model, pinned, pinned_bytes, pinned_floats, sentences, tensors, tokenizer

FAMILIES = ("marian", "bart")
TRAIN, VALID = sentences(120, 1), sentences(30, 2)


def made(family: str) -> tuple[Any, Any]:
    known = tokenizer()
    return model(family, len(known)), known


def of_model(found: Any) -> dict[str, Any]:
    with torch.no_grad():
        logits = found.eval()(**batch()).logits
    return {"weights": pinned(tensors(found).values()), "logits": pinned([logits])}


def of_outcome(done: Any) -> dict[str, Any]:
    return {
        **of_model(tp.model_of(done)),
        "kept": tp.kept(done),
        "counts": tp.counts(done),
        "losses": pinned_floats(tp.losses(done)),
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_couplings(family: str) -> None:
    found, _ = made(family)
    compare(f"{family}: couplings", {"groups": tp.groups(found), **of_model(found)})


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "way", [pytest.param(tp.lines, id="lines"), pytest.param(tp.trained, id="trained", marks=pytest.mark.slow)]
)
def test_compress(family: str, way: Any) -> None:
    done = way(*made(family), TRAIN, VALID)
    more: dict[str, Any] = {}
    if way is tp.trained:
        found = tp.analysis(done)
        more = {"analysed": [n for n, _ in found], "analysis": pinned_floats(chain.from_iterable(x for _, x in found))}
    compare(f"{family}: {way.__name__}", of_outcome(done) | more)


@pytest.mark.parametrize("family", FAMILIES)
def test_trimmed(family: str) -> None:
    found, known = made(family)
    few = (TRAIN[0][:2], TRAIN[1][:2])
    compare(f"{family}: trimmed", {"weights": pinned(tensors(tp.trimmed(found, known, few)).values())})


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("way", [tp.one_shot, tp.blocks_and_width], ids=lambda way: way.__name__)
def test_compress_and_export(family: str, way: Any, tmp_path: Path) -> None:
    """Cut, saved, loaded, exported by the command line: the same weights, ONNX files and translations."""
    dense, known = made(family)
    done = way(dense, known, TRAIN, VALID)
    tp.save(done, tmp_path / "small", known)
    (tmp_path / "check").write_text("".join(f"{text}\n" for text in VALID[0][:4]), encoding="utf-8")
    tp.export(tmp_path / "small", tmp_path / "onnx", tmp_path / "check")
    found = {f"graph {i}": pinned_bytes(content) for i, content in enumerate(tp.graphs(tmp_path / "onnx"))}
    assert found
    said = {f"beam {beams}": tp.translations(tmp_path / "onnx", VALID[0][:6], beams) for beams in (1, 4)}
    loaded = {"loaded": of_model(tp.load(tmp_path / "small"))}
    compare(f"{family}: {way.__name__}", of_outcome(done) | loaded | found | said)
