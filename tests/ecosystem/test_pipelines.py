"""Pipelines of transformers on pruned models give what the models give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pruned_models import decoder, pruned, seer
from transformers import ViTImageProcessor, pipeline

from small_tasks import TEXTS, classifier, tagger, words
from tprune.realise.checkpoint import load, save
from tprune.support.errors import TpruneError


def piped(task: str, model: Any, folder: Path, **given: Any) -> Any:
    """A pipeline of the saved model, as a user has it."""
    out = save(model, folder / "model", given.get("tokenizer"))
    return pipeline(task, model=load(out).eval(), device="cpu", **given)


def test_text_classification(tmp_path: Path) -> None:
    model, tokenizer = pruned(classifier().double()), words()
    found = piped("text-classification", model, tmp_path, tokenizer=tokenizer)(list(TEXTS), top_k=None)
    for text, said in zip(TEXTS, found, strict=True):
        logits = model(**tokenizer(text, return_tensors="pt")).logits[0]
        scores = {one["label"]: one["score"] for one in said}
        expected = {model.config.id2label[i]: float(p) for i, p in enumerate(logits.softmax(-1))}
        assert scores == pytest.approx(expected, abs=1e-5)


def test_token_classification(tmp_path: Path) -> None:
    model, tokenizer = pruned(tagger().double()), words()
    (text, *_), pipe = TEXTS, piped("token-classification", model, tmp_path, tokenizer=tokenizer, ignore_labels=[])
    given = tokenizer(text, return_tensors="pt")
    expected = [model.config.id2label[int(i)] for i in model(**given).logits[0].argmax(-1)]
    found = {one["index"]: one["entity"] for one in pipe(text)}
    assert found and all(expected[index] == entity for index, entity in found.items())


def test_text_generation(tmp_path: Path) -> None:
    model, tokenizer = decoder(), words()
    pipe = piped("text-generation", model, tmp_path, tokenizer=tokenizer)
    (found,) = pipe("a cat", max_new_tokens=4, min_new_tokens=4, do_sample=False, return_tensors=True)
    given = tokenizer("a cat", return_tensors="pt")
    expected = model.generate(**given, max_new_tokens=4, min_new_tokens=4, do_sample=False)[0]
    assert found["generated_token_ids"] == expected.tolist()


def test_image_classification(tmp_path: Path) -> None:
    model = seer()
    size = model.config.image_size
    processor = ViTImageProcessor(size={"height": size, "width": size})
    from PIL import Image

    image = Image.fromarray(np.arange(3 * 12 * 12, dtype=np.uint8).reshape(12, 12, 3))
    found = piped("image-classification", model, tmp_path, image_processor=processor)(image, top_k=1)
    pixels = processor(images=image, return_tensors="pt").to(torch.float32)
    with torch.no_grad():
        logits = model(**pixels).logits[0]
    assert found[0]["label"] == model.config.id2label[int(logits.argmax())]
    assert found[0]["score"] == pytest.approx(float(logits.softmax(-1).max()), abs=1e-5)


def test_a_folder_is_enough_for_a_pipeline(tmp_path: Path) -> None:
    """What a user does who has only transformers: the code beside the weights is trusted."""
    model, tokenizer = pruned(classifier().double()), words()
    out = save(model, tmp_path / "model", tokenizer)
    pipe = pipeline("text-classification", model=str(out), device="cpu", trust_remote_code=True)
    (said,) = pipe("a cat sat")
    logits = model(**tokenizer("a cat sat", return_tensors="pt")).logits[0]
    assert said["label"] == model.config.id2label[int(logits.argmax())]


@pytest.mark.parametrize("task", ["translation", "text2text-generation", "summarization"])
def test_what_transformers_has_no_pipeline_for(task: str) -> None:
    """Version 5 took them out: `tprune translate`, or `generate`, writes instead."""
    with pytest.raises(KeyError, match=task):
        pipeline(task)
    assert issubclass(TpruneError, Exception)
