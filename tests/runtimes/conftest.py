import copy
import os
from pathlib import Path

import pytest
import torch
from onnx_models import EXTRA, SENTENCES, bart, pruned_marian, stock_marian, teach_
from transformers import MarianMTModel, PreTrainedTokenizerFast

from tprune.data.parallel import read_lines
from tprune.tasks.translation.encoding import train_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(SENTENCES, vocabulary=120, max_length=40)


@pytest.fixture(scope="session")
def taught_marian(tokenizer: PreTrainedTokenizerFast) -> MarianMTModel:
    model = stock_marian(len(tokenizer))
    teach_(model, tokenizer)
    return model


@pytest.fixture
def marian(taught_marian: MarianMTModel) -> MarianMTModel:
    return copy.deepcopy(taught_marian)


@pytest.fixture(params=["stock", "uneven", "narrow", "gathered", "bart"])
def model(request: pytest.FixtureRequest, marian: MarianMTModel, tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    if request.param == "stock":
        return marian
    other = bart(len(tokenizer)) if request.param == "bart" else pruned_marian(marian, EXTRA.get(request.param, {}))
    teach_(other, tokenizer)
    return other


@pytest.fixture(scope="session")
def trained() -> tuple[Path, tuple[str, ...]]:
    """A trained model's folder and real sentences, where the environment names them."""
    models, data = os.environ.get("TPRUNE_MODELS"), os.environ.get("TPRUNE_DATA")
    if not models or not data:
        pytest.skip("TPRUNE_MODELS and TPRUNE_DATA name no folders")
    return Path(models, "marian-tiny-multi30k-en-de"), read_lines(Path(data, "multi30k/test_2016_flickr.en.gz"))
