"""A BERT classifier of 128 dimensions and 4 layers, trained on the phrases and sentences of SST-2."""

from __future__ import annotations

import csv
import gzip
import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from torch import nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
)

EVERY = 60  # one row in so many is for validation
NAMES = ("negative", "positive")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def read_sst2(path: Path) -> tuple[list[str], list[int]]:
    """Sentences and classes of one file of SST-2."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["sentence"].strip() for row in rows], [int(row["label"]) for row in rows]


def wordpiece(texts: Sequence[str], size: int = 8000) -> PreTrainedTokenizerFast:
    """A lower-case WordPiece tokeniser, trained on these texts."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(SPECIAL)))
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=128, **names)


def batches(ids: Sequence[Sequence[int]], size: int, chance: torch.Generator) -> Iterator[list[int]]:
    """One epoch of batches of rows of similar length, in random order."""
    order = torch.randperm(len(ids), generator=chance).tolist()
    for start in range(0, len(order), 50 * size):
        near = sorted(order[start : start + 50 * size], key=lambda row: len(ids[row]))
        groups = [near[i : i + size] for i in range(0, len(near), size)]
        yield from (groups[i] for i in torch.randperm(len(groups), generator=chance).tolist())


def padded(ids: Sequence[Sequence[int]], rows: Sequence[int]) -> dict[str, torch.Tensor]:
    """The inputs of some rows."""
    length = max(len(ids[row]) for row in rows)
    filled = torch.tensor([[*ids[row], *[0] * (length - len(ids[row]))] for row in rows])
    mask = torch.tensor([[1] * len(ids[row]) + [0] * (length - len(ids[row])) for row in rows])
    return {"input_ids": filled, "attention_mask": mask}


@torch.no_grad()
def accuracy(model: nn.Module, ids: Sequence[Sequence[int]], classes: Sequence[int]) -> float:
    """The share of rows that a model classifies right."""
    model.eval()
    right = 0
    for start in range(0, len(ids), 64):
        rows = range(start, min(start + 64, len(ids)))
        found = model(**padded(ids, rows)).logits.argmax(-1)
        right += int((found == torch.tensor([classes[row] for row in rows])).sum())
    return right / len(ids)


def write_splits(data: Path, out: Path) -> None:
    """`train.tsv`, `valid.tsv` (every 60th row of the training file, in no other) and `test.tsv`, which is the
    development file.
    """
    texts, classes = read_sst2(data / "train.tsv.gz")
    rows = list(zip(texts, classes, strict=True))
    splits = {"train": [row for i, row in enumerate(rows) if i % EVERY], "valid": rows[::EVERY]}
    splits["test"] = list(zip(*read_sst2(data / "dev.tsv.gz"), strict=True))
    for split, chosen in splits.items():
        lines = "".join(f"{text}\t{NAMES[label]}\n" for text, label in chosen)
        (out / f"{split}.tsv").write_text("sentence\tlabel\n" + lines, encoding="utf-8")


def make_bert(data: Path, out: Path, epochs: int = 4, seed: int = 0) -> None:
    """Trains the BERT, and writes it with its data; some minutes on one core."""
    started = time.perf_counter()
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # so that sums, and the model, are the same wherever arithmetic is
    rows = list(zip(*read_sst2(data / "train.tsv.gz"), strict=True))
    texts, classes = zip(*(row for i, row in enumerate(rows) if i % EVERY), strict=True)
    dev, dev_classes = read_sst2(data / "dev.tsv.gz")
    tokenizer = wordpiece(texts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=128,
        num_labels=2,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
        hidden_dropout_prob=0.2,
        attention_probs_dropout_prob=0.1,
    )
    model = BertForSequenceClassification(config)
    ids = [row[:128] for row in tokenizer(list(texts)).input_ids]
    steps = epochs * (len(ids) // 64 + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps + epochs * 60, pct_start=0.06)
    chance = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        model.train()
        for rows in batches(ids, 64, chance):
            labels = torch.tensor([classes[row] for row in rows])
            loss = nn.functional.cross_entropy(model(**padded(ids, rows)).logits, labels, label_smoothing=0.1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        said = accuracy(model, tokenizer(dev).input_ids, dev_classes)
        print(f"epoch {epoch + 1}: dev accuracy {said:.4f}, {time.perf_counter() - started:.0f} s", flush=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_splits(data, out)
    (out / "trained.json").write_text(
        json.dumps({"dev_accuracy": said, "epochs": epochs, "seed": seed, "seconds": time.perf_counter() - started})
    )
