"""The translation task: tokeniser, encoded pairs, batches of equal work, and a small model to start from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.utils.data import Dataset
from transformers import GenerationConfig, MarianConfig, MarianMTModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from tprune.core.labels import IGNORED
from tprune.core.positions import trained_tokens
from tprune.data.parallel import Parallel
from tprune.support.errors import InputError
from tprune.support.texts import check_list
from tprune.tasks.padding import padded
from tprune.tasks.translation.languages import marks_languages, written_language

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"


@dataclass(frozen=True)
class MarianSize:
    """The shape of a Marian-type model trained from scratch."""

    d_model: int = 256
    layers: tuple[int, int] = (3, 3)
    heads: int = 8
    ffn: int = 1024
    vocabulary: int = 4000
    dropout: float = 0.2
    positions: int = 128


def check_translates(model: Any, where: str) -> None:
    """Raises `InputError` for a model that does not translate."""
    if not model.config.is_encoder_decoder:
        raise InputError(
            f"{where}: a {type(model).__name__} does not translate; expected a model that translates (Marian, T5, ...)"
        )


def train_tokenizer(sentences: Sequence[str], vocabulary: int, max_length: int) -> PreTrainedTokenizerFast:
    """Trains a joint byte-pair encoding over both languages (ids: pad 0, end of sentence 1, unknown 2).

    Example:
        >>> tok = train_tokenizer(["a cat sat", "a dog sat"], vocabulary=40, max_length=16)
        >>> tok.decode(tok("a cat").input_ids, skip_special_tokens=True)
        'a cat'
    """
    check_list(sentences, "sentences")
    bpe = Tokenizer(models.BPE(unk_token=UNK))
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Metaspace()
    bpe.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=[PAD, EOS, UNK], show_progress=False)
    bpe.train_from_iterator(sentences, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"$A {EOS}", pair=f"$A $B {EOS}", special_tokens=[(EOS, 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, eos_token=EOS, unk_token=UNK, model_max_length=max_length
    )


def new_model(size: MarianSize, vocabulary: int) -> MarianMTModel:
    """A randomly initialised Marian model of the given size, embeddings shared and tied to the output.

    Raises:
        InputError: `d_model` is not a multiple of `heads`.
    """
    if size.d_model % size.heads:
        raise InputError(f"d_model {size.d_model} is not a multiple of heads {size.heads}")
    config = MarianConfig(
        vocab_size=vocabulary,
        d_model=size.d_model,
        encoder_layers=size.layers[0],
        decoder_layers=size.layers[1],
        encoder_attention_heads=size.heads,
        decoder_attention_heads=size.heads,
        encoder_ffn_dim=size.ffn,
        decoder_ffn_dim=size.ffn,
        dropout=size.dropout,
        attention_dropout=0.0,
        activation_dropout=0.0,
        activation_function="relu",
        max_position_embeddings=size.positions,
        scale_embedding=True,
        init_std=0.02,
        pad_token_id=0,
        eos_token_id=1,
        forced_eos_token_id=None,
        decoder_start_token_id=0,
    )
    model = MarianMTModel(config)
    model.generation_config = GenerationConfig(
        bad_words_ids=[[0]],
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
        max_length=size.positions,
        num_beams=4,
    )
    return model


@dataclass(frozen=True)
class EncodedPairs(Dataset[dict[str, list[int]]]):
    """Token ids of sentence pairs, ready for batching; for scores with the sentences and what tokenised them."""

    source: tuple[list[int], ...]
    target: tuple[list[int], ...]
    pairs: Parallel | None = field(default=None, repr=False, compare=False)
    tokenizer: Any = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        return {"input_ids": self.source[index], "labels": self.target[index]}

    @property
    def lengths(self) -> np.ndarray:
        """The longer side of each pair, in tokens."""
        return np.array([max(len(s), len(t)) for s, t in zip(self.source, self.target, strict=True)])


def encode(pairs: Parallel, tokenizer: PreTrainedTokenizerBase, max_length: int) -> EncodedPairs:
    """Tokenises both sides.

    Raises:
        InputError: a sentence has more tokens than `max_length`, naming its line; or the tokeniser marks languages, and
            does not know which one is written.
    """
    if marks_languages(tokenizer) and written_language(tokenizer) is None:
        raise InputError(
            f"the {type(tokenizer).__name__} does not know which language is written; set src_lang and tgt_lang in its "
            "tokenizer_config.json, and forced_bos_token_id in generation_config.json"
        )
    source = tokenizer(list(pairs.source), verbose=False).input_ids
    target = tokenizer(text_target=list(pairs.target), verbose=False).input_ids
    for which, (side, ids) in enumerate((("source", source), ("target", target))):
        where = f"{pairs.name}: {side}" if pairs.files is None else f"{pairs.files[which]}:"
        if long := [index for index, sentence in enumerate(ids) if len(sentence) > max_length]:
            more = (
                f", and so do lines {', '.join(str(pairs.line(i)) for i in long[1:20])}{' ...' * (len(long) > 20)}"
                if long[1:]
                else ""
            )
            raise InputError(
                f"{where} line {pairs.line(long[0])} has {len(ids[long[0]])} tokens; the model takes at most "
                f"{max_length}{more and '; too long' + more}"
            )
    return EncodedPairs(tuple(source), tuple(target), pairs, tokenizer)


@dataclass(frozen=True)
class Collate:
    """Pads a list of encoded pairs into one batch; label padding is ignored by the loss."""

    pad: int

    def __call__(self, rows: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
        """A batch of (pairs, longest sentence) tensors."""
        source = padded([row["input_ids"] for row in rows], self.pad)
        batch = {"input_ids": source, "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0)}
        if "labels" in rows[0]:
            batch["labels"] = padded([row["labels"] for row in rows], IGNORED)
        return batch


def max_length(model: Any) -> int:
    """The longest sentence, in tokens, that the model has positions for.

    Models whose positions are distances, such as T5, have no limit; theirs is the length that they were trained with.
    """
    return int(getattr(model.config, "max_position_embeddings", None) or trained_tokens(model.config))


def told(model: Any, labels: Tensor) -> Tensor:
    """What the decoder is told where these labels are expected: the start token, then each label but the last.

    Args:
        model: an encoder-decoder.
        labels: (batch, positions), `IGNORED` where none is expected.
    """
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        found: Tensor = model.prepare_decoder_input_ids_from_labels(labels)
        return found
    start = labels.new_full((len(labels), 1), int(model.config.decoder_start_token_id))
    shifted = torch.cat([start, labels[:, :-1]], 1)
    return shifted.masked_fill(shifted == IGNORED, int(model.config.pad_token_id))
