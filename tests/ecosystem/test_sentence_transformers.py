"""A pruned folder of sentence-transformers opens in sentence-transformers and gives the same vectors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pruned_models import pruned

from small_tasks import TEXTS, encoder, words
from tprune.realise.checkpoint import load, save
from tprune.support.files import read_json
from tprune.tasks.sentence_similarity import SentenceSimilarity

library = pytest.importorskip("sentence_transformers")
parts = pytest.importorskip("sentence_transformers.sentence_transformer.modules")  # of version 6
pytestmark = pytest.mark.slow


def test_the_folder_is_whole(tmp_path: Path) -> None:
    kinds = ("ffn", "heads", "qk", "vo")
    save(encoder(), tmp_path / "plain", words())
    modules = [parts.Transformer(str(tmp_path / "plain"), max_seq_length=6)]
    modules += [parts.Pooling(24, "mean"), parts.Normalize()]
    library.SentenceTransformer(modules=modules, device="cpu").save(str(tmp_path / "dense"))
    dense = load(tmp_path / "dense").eval()
    small = pruned(dense.double(), *kinds)
    out = save(small, tmp_path / "small", words())
    for name in ("modules.json", "1_Pooling/config.json", "sentence_bert_config.json"):
        assert read_json(out / name) == read_json(tmp_path / "dense" / name)
    opened = library.SentenceTransformer(str(out), device="cpu", trust_remote_code=True)
    found = torch.from_numpy(opened.encode(list(TEXTS)))
    task = SentenceSimilarity()
    given = words()(list(TEXTS), padding=True, truncation=True, max_length=6, return_tensors="pt")
    expected = task.run(small, {key: given[key] for key in ("input_ids", "attention_mask")}).logits
    torch.testing.assert_close(found, expected.detach(), rtol=1e-4, atol=1e-5)
    dense_vectors = library.SentenceTransformer(str(tmp_path / "dense"), device="cpu").encode(list(TEXTS))
    assert not torch.allclose(found, torch.from_numpy(dense_vectors), atol=1e-3)
