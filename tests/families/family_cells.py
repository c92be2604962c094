"""What is tried of a family: each cell of the matrix in docs/family-matrix.md, on a small model of random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import encoders
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

import sequence_models
import table_models
from small_models import small_batch, small_model
from text_writers import writer
from tprune.core.plan import make_plan
from tprune.core.precision import FP32, INT8, Precision
from tprune.families.registry import couplings, family_of
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.runtimes.artefact import read_layout
from tprune.runtimes.export import export
from tprune.support.errors import TpruneError
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.testing import random_kept, randomise_

TEXTS = ("a man in a red coat rides a bike", "two dogs play", "the children sing a song in the park", "it rains")
LIMIT = 5e-5  # of what a model says, in double precision; see the families' own tests for closer ones
Given = Mapping[str, Tensor]


@dataclass(frozen=True)
class Small:
    """A small model of a family.

    Attributes:
        make: it, in double precision.
        given: a padded batch for it.
        said: what it says of a batch.
        writes: whether it is exported with a tokeniser and sentences.
    """

    make: Callable[[], Any]
    given: Callable[[Any], Given]
    said: Callable[[Any, Given], Tensor]
    writes: bool = False


def _translator(name: str) -> Small:
    def make() -> Any:
        model = small_model(name, vocab_size=len(tokenizer()))
        model.generation_config.max_length = 20
        return model

    return Small(make, lambda model: small_batch(), lambda model, batch: model(**batch).logits, writes=True)


def _writer(name: str) -> Small:
    return Small(
        lambda: writer(name, len(tokenizer())).double(), sequence_models.inputs, sequence_models.outputs, writes=True
    )


def _sequence(name: str) -> Small:
    return Small(lambda: sequence_models.sequence_model(name), sequence_models.inputs, sequence_models.outputs)


def _encoder(name: str) -> Small:
    return Small(lambda: encoders.encoder(name), encoders.given, encoders.said)


def _table(name: str) -> Small:
    return Small(lambda: table_models.table_model(name), table_models.inputs, table_models.outputs)


class Tagger(nn.Module):
    """An encoder of torch's own between an embedding and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 16)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 20, batch_first=True), 2)
        self.tags = nn.Linear(16, 5)

    def forward(self, ids: Tensor, padding: Tensor) -> Tensor:
        found: Tensor = self.tags(self.encoder(self.words(ids), src_key_padding_mask=padding))
        return found


TAGGED = {"ids": torch.arange(12).view(2, 6), "padding": torch.tensor([[False] * 6, [False] * 4 + [True] * 2])}


def _tags(model: Any, batch: Given) -> Tensor:
    found: Tensor = model(**batch)[~batch["padding"]]  # torch's fused code leaves out what is padded
    return found


def _tagger() -> Tagger:
    torch.manual_seed(0)
    model = Tagger().double().eval()
    randomise_(model, 0)
    return model


@cache
def tokenizer() -> Any:
    """Of the texts above."""
    return train_tokenizer(list(TEXTS), vocabulary=60, max_length=32)


DECODERS = ("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "smollm3", "mixtral", "phi3")
SMALL: Mapping[str, Small] = {
    **{name: _translator(name) for name in ("marian", "bart")},
    **{name: _writer(name) for name in ("t5", "mt5", "mbart", "m2m_100", "pegasus")},
    **{name: _sequence(name) for name in ("whisper", "wav2vec2")},
    "bert": _encoder("BertForSequenceClassification"),
    "roberta": _encoder("RobertaForSequenceClassification"),
    "xlm-roberta": _encoder("XLMRobertaForTokenClassification"),
    "camembert": _encoder("CamembertForTokenClassification"),
    "distilbert": _encoder("DistilBertForSequenceClassification"),
    "electra": _encoder("ElectraForSequenceClassification"),
    "albert": _encoder("AlbertForSequenceClassification"),
    "modernbert": _encoder("ModernBertForSequenceClassification"),
    "vit": _encoder("ViTForImageClassification"),
    "deit": _encoder("DeiTForImageClassification"),
    "clip": _encoder("CLIPModel"),
    "clip_text_model": _encoder("CLIPTextModelWithProjection"),
    "clip_vision_model": _encoder("CLIPVisionModelWithProjection"),
    **{name: _table(name) for name in (*DECODERS, "gpt2", "gpt_neox", "opt", "resnet")},
    "torch_transformer": Small(_tagger, lambda model: TAGGED, _tags),
}


@dataclass(frozen=True)
class Trial:
    """A small model that lost a random part of every coupling at once.

    Attributes:
        of: what it is made by.
        small: the smaller model.
        masked: the whole one, with the lost weights set to zero.
        batch: for both.
        folder: for files.
    """

    of: Small
    small: Any
    masked: Any
    batch: Given
    folder: Path

    @torch.no_grad()
    def says(self, model: Any) -> Tensor:
        """What a model says of the batch."""
        return self.of.said(model, self.batch)

    def agrees(self) -> str:
        """With the masked model."""
        expected = self.says(self.masked)
        near = (self.says(self.small) - expected).abs().max() < LIMIT * expected.abs().max()
        return "yes" if near else "no: the outputs differ"

    def comes_back(self) -> str:
        """From disk."""
        ours = None if isinstance(self.small, PreTrainedModel) else type(self.small)
        again = load(save(self.small, self.folder / "saved"), architecture=ours).eval()
        return "yes" if torch.equal(self.says(again), self.says(self.small)) else "no: not bit for bit"

    def writes(self) -> str:
        """What the masked model writes."""
        if not (isinstance(self.small, PreTrainedModel) and self.small.can_generate()):
            return "–"
        source = {key: x for key, x in self.batch.items() if key != "labels"}
        how: dict[str, Any] = {"max_new_tokens": 6, "min_new_tokens": 6, "num_beams": 2, "do_sample": False}
        ours, theirs = (model.generate(**source, **how) for model in (self.small, self.masked))
        return "yes" if torch.equal(ours, theirs) else "no: other tokens than the masked model"

    def compiles(self) -> str:
        """As one graph."""
        torch._dynamo.reset()  # it counts the models that it has compiled
        fresh = copy.deepcopy(self.small)
        fresh.forward = torch.compile(fresh.forward, backend="aot_eager", fullgraph=True)
        near = (self.says(fresh) - self.says(self.small)).abs().max() < LIMIT
        return "yes" if near else "no: the outputs differ"

    def exported(self, precision: Precision) -> str:
        """For onnxruntime, checked."""
        single, plain = copy.deepcopy(self.small).float(), self.folder / FP32.name
        given = (single, tokenizer(), self.folder / precision.name, TEXTS) if self.of.writes else None
        export(
            *(given or (single, None, self.folder / precision.name)),
            precision=precision,
            thorough=False,
            fp32=plain if plain.is_dir() else None,
        )
        return "yes"


def row(name: str, folder: Path) -> dict[str, str]:
    """The cells of a family: `yes` or more, or why not.

    Args:
        name: of the family.
        folder: for files.
    """
    model = SMALL[name].make()
    assert family_of(model).name == name
    plan = random_kept(model, make_plan(model, name, couplings(model)))
    trial = Trial(SMALL[name], shrink(model, plan), masked(model, plan), SMALL[name].given(model), folder)
    whole = _tried(lambda: trial.exported(FP32))
    runs = whole == "yes"
    return {
        "kinds": ", ".join(dict.fromkeys(entry.coupling.kind for entry in plan.entries)),
        "masked = shrunk": _tried(trial.agrees),
        "saved and loaded": _tried(trial.comes_back),
        "generates": _tried(trial.writes),
        "compiled": _tried(trial.compiles),
        "onnxruntime": whole,
        "in int8": _tried(lambda: trial.exported(INT8)) if runs else "–",
        "timed by": ", ".join(read_layout(folder / FP32.name).phases) if runs else "–",
    }


def _tried(what: Callable[[], str]) -> str:
    """What came of it; a refusal, or what else goes wrong, in a line."""
    try:
        return what()
    except TpruneError as error:
        return f"no: {error}"
    except Exception as error:  # a table that is written from what happens names whatever happens
        return f"no: {type(error).__name__}: {str(error).strip().splitlines()[0][:120]}"
