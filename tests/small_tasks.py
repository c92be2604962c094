"""A small model, raw data and a processor for each task."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from benchmarks.other_tasks.resnet import ResNet
from small_pairs import PAIRS, model_and_tokenizer
from table_models import BERT, table_model
from tprune.core.data import Data
from tprune.core.task import Task
from tprune.data.image_processor import ImageProcessor
from tprune.data.images import LabeledImages
from tprune.data.pairs import ScoredPairs, SentencePairs
from tprune.data.parallel import Parallel
from tprune.data.sounds import Recordings
from tprune.data.tagged import TaggedTexts
from tprune.data.texts import LabeledTexts, Texts, TokenSequences
from tprune.tasks.ctc_recognition import CtcRecognition
from tprune.tasks.image_classification import ImageClassification
from tprune.tasks.language_modelling import LanguageModelling
from tprune.tasks.sentence_similarity import SentenceSimilarity
from tprune.tasks.speech_processor import SpeechProcessor
from tprune.tasks.speech_recognition import SpeechRecognition
from tprune.tasks.summarisation import Summarisation
from tprune.tasks.text_classification import TextClassification
from tprune.tasks.token_classification import TokenClassification
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.tasks.translation.task import Translation
from tprune.testing import randomise_

TEXTS = ("a cat sat", "a dog ran far", "the cat", "the dog sat", "a fine cat ran", "dog")
LABELS = ("good", "bad", "good", "bad", "fair", "fair")
TAGGED = TaggedTexts(
    tuple(tuple(text.split()) for text in TEXTS),
    tuple(tuple({"cat": "B-X", "dog": "B-X", "ran": "I-X"}.get(word, "O") for word in text.split()) for text in TEXTS),
)


WAV2VEC2: dict[str, Any] = {
    "vocab_size": 24,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 20,
    "conv_dim": (8, 8),
    "conv_stride": (16, 4),
    "conv_kernel": (20, 4),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
    "hidden_dropout": 0.0,
    "attention_dropout": 0.0,
    "feat_proj_dropout": 0.0,
    "layerdrop": 0.0,
    "mask_time_prob": 0.0,
    "final_dropout": 0.0,
    "activation_dropout": 0.0,
}


class Known(NamedTuple):
    task: Task
    model: Any
    data: Data
    processor: Any
    pad: int = 0


def words() -> Any:
    return train_tokenizer(list(TEXTS), 40, 16)


def classifier(**changes: Any) -> Any:
    torch.manual_seed(0)
    config = {**BERT, "num_labels": 3, "hidden_dropout_prob": 0.0, **changes}
    model = BertForSequenceClassification(BertConfig(**config)).eval()
    randomise_(model)
    return model


def tagger(names: tuple[str, ...] = ("O", "B-X", "I-X")) -> Any:
    torch.manual_seed(0)
    known = {"label2id": {name: i for i, name in enumerate(names)}, "id2label": dict(enumerate(names))}
    config = {**BERT, **known, "num_labels": len(names), "hidden_dropout_prob": 0.0}
    model = BertForTokenClassification(BertConfig(**config)).eval()
    randomise_(model)
    return model


def encoder(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    model = BertModel(BertConfig(**{**BERT, "hidden_dropout_prob": 0.0})).eval()
    randomise_(model)
    return model


def listener() -> Any:
    torch.manual_seed(0)
    layers = {f"{stack}_{what}": n for stack in ("encoder", "decoder") for what, n in (("layers", 1), ("ffn_dim", 24))}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    limits = {"max_source_positions": 50, "max_target_positions": 20, "num_mel_bins": 8, "d_model": 16}
    tokens = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 2}
    config = WhisperConfig(**layers, **heads, **limits, **tokens, dropout=0.0, begin_suppress_tokens=None)
    model = WhisperForConditionalGeneration(config).eval()
    randomise_(model)
    return model


def speech_processor() -> SpeechProcessor:
    """Of recordings of up to a second."""
    return SpeechProcessor(WhisperFeatureExtractor(feature_size=8, chunk_length=1), words())


def speller() -> Any:
    """A wav2vec 2.0 that says a letter for each frame of 8 samples; its first norm is over channels, so masks count."""
    torch.manual_seed(0)
    model: Any = Wav2Vec2ForCTC(Wav2Vec2Config(**WAV2VEC2)).eval()
    randomise_(model)
    return model


def speller_processor(folder: Path) -> SpeechProcessor:
    """Letters in capitals; files lie in a folder, for its class reads no others."""
    known = ["<pad>", "<unk>", "|", *sorted({letter for text in TEXTS for letter in text.upper()} - {" "})]
    file = folder / "vocab.json"
    file.write_text(json.dumps({letter: number for number, letter in enumerate(known)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(file), bos_token=None, eos_token=None)
    extractor = Wav2Vec2FeatureExtractor(feature_size=1, sampling_rate=16_000, return_attention_mask=True)
    return SpeechProcessor(extractor, tokenizer)


def tones() -> Recordings:
    sounds = [np.sin(np.arange(800 * n) * n / 50).astype(np.float32) for n in range(1, 7)]
    return Recordings(tuple(sounds), TEXTS, "tones")


def pictures(count: int = 6, seed: int = 0) -> LabeledImages:
    rng = np.random.default_rng(seed)
    images = tuple(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(count))
    return LabeledImages(images, tuple(f"class {i % 3}" for i in range(count)), "pictures")


def translation() -> Known:
    model, tokenizer = model_and_tokenizer()
    return Known(Translation(beams=1), model.eval(), PAIRS.head(6), tokenizer)


def summarisation() -> Known:
    pytest.importorskip("rouge_score")
    model, tokenizer = model_and_tokenizer()
    words_in_common = Parallel(PAIRS.source[:6], PAIRS.source[1:7])
    return Known(Summarisation(beams=1), model.eval(), words_in_common, tokenizer)


def text_classification() -> Known:
    return Known(TextClassification(), classifier(), LabeledTexts(TEXTS, LABELS), words())


def token_classification() -> Known:
    return Known(TokenClassification(), tagger(), TAGGED, words())


def sentence_similarity() -> Known:
    return Known(SentenceSimilarity(), encoder(), SentencePairs(TEXTS[:3], TEXTS[3:]), words())


def scored_pairs() -> Known:
    return Known(SentenceSimilarity(), encoder(), ScoredPairs(TEXTS[:3], TEXTS[3:], (0.2, 0.1, 0.9)), words())


def speech_recognition() -> Known:
    return Known(SpeechRecognition(), listener(), tones(), speech_processor())


def speech_recognition_ctc() -> Known:
    with tempfile.TemporaryDirectory() as folder:
        processor = speller_processor(Path(folder))
    return Known(CtcRecognition(frames=40), speller(), tones(), processor)


def language_modelling() -> Known:
    return Known(LanguageModelling(), table_model("llama").float(), Texts(TEXTS), words())


def token_ids() -> Known:
    rng = np.random.default_rng(0)
    rows = tuple(tuple(rng.integers(3, 40, n).tolist()) for n in (5, 9, 3, 7))
    return Known(LanguageModelling(), table_model("llama").float(), TokenSequences(rows), None)


def image_classification() -> Known:
    torch.manual_seed(0)
    model = ResNet(1, 4).eval()
    randomise_(model)
    processor = ImageProcessor((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    return Known(ImageClassification(size=8), model, pictures(), processor)


KNOWN = {
    make.__name__: make
    for make in (
        *(translation, summarisation, text_classification, token_classification, sentence_similarity, scored_pairs),
        *(speech_recognition, speech_recognition_ctc, language_modelling, token_ids, image_classification),
    )
}
