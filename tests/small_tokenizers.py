"""Small tokenisers of the kinds of OPUS-MT, M2M100 and NLLB."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import M2M100Tokenizer, MarianTokenizer, NllbTokenizer


def opus_tokenizer(folder: Path, source: Sequence[str], target: Sequence[str], pieces: int = 60) -> Any:
    """Two SentencePiece models, whose pieces share one list of ids; padding is the last."""
    sentencepiece = pytest.importorskip("sentencepiece")
    found: dict[str, None] = dict.fromkeys(["</s>", "<unk>", ">>deu<<"])
    for side, texts in (("source", source), ("target", target)):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_prefix=str(folder / side),
            vocab_size=pieces,
            minloglevel=2,
            hard_vocab_limit=False,
        )
        (folder / f"{side}.model").rename(folder / f"{side}.spm")
        processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / f"{side}.spm"))
        found |= dict.fromkeys(processor.id_to_piece(i) for i in range(3, len(processor)))
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate([*found, "<pad>"])}))
    return MarianTokenizer(*(str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")))


def m2m_100_tokenizer(folder: Path, texts: Sequence[str], pieces: int = 40) -> Any:
    """A small tokeniser of M2M100's kind: one SentencePiece model, and a hundred languages after its pieces."""
    sentencepiece = pytest.importorskip("sentencepiece")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(folder / "pieces"),
        vocab_size=pieces,
        minloglevel=2,
        hard_vocab_limit=False,
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))
    words = ["<s>", "<pad>", "</s>", "<unk>", *(processor.id_to_piece(i) for i in range(3, len(processor)))]
    (folder / "words.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    return M2M100Tokenizer(str(folder / "words.json"), str(folder / "pieces.model"), src_lang="en", tgt_lang="de")


def nllb_tokenizer(texts: Sequence[str], pieces: int = 60) -> Any:
    """A small tokeniser of NLLB's kind: byte-pair encoding, and two hundred languages as special tokens."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.pre_tokenizer = pre_tokenizers.Metaspace()
    trained.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=pieces, special_tokens=special, show_progress=False)
    )
    bpe = json.loads(trained.to_str())["model"]
    merges = [tuple(pair) for pair in bpe["merges"]]
    return NllbTokenizer(vocab=bpe["vocab"], merges=merges, src_lang="eng_Latn", tgt_lang="deu_Latn")
