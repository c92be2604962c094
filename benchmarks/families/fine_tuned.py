"""Classifiers made of the sentence encoder MiniLM: SST-2 (two classes) and Banking77 (77 questions to a bank)."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

from benchmarks.other_tasks.bert_sst2 import write_splits

EVERY = 10  # one row of Banking77's training file in so many is for validation
EPOCHS = {"sst2": 1, "banking77": 6}


def write_banking(data: Path, out: Path) -> None:
    """`train.tsv`, `valid.tsv` and `test.tsv` of Banking77."""
    for name, split in (("train", ("train", "valid")), ("test", ("test",))):
        with gzip.open(data / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
            rows = [(" ".join(row["text"].split()), row["category"]) for row in csv.DictReader(file)]
        sets = {"test": rows} if split == ("test",) else {"valid": rows[::EVERY]}
        if name == "train":
            sets["train"] = [row for i, row in enumerate(rows) if i % EVERY]
        for part, chosen in sets.items():
            lines = "".join(f"{text}\t{label}\n" for text, label in chosen)
            (out / f"{part}.tsv").write_text("text\tlabel\n" + lines, encoding="utf-8")


def rows_of(path: Path) -> tuple[list[str], list[str]]:
    """The texts and labels of a table."""
    pairs = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]
    return [text for text, _ in pairs], [label for _, label in pairs]


def fine_tuned(name: str, encoder: Path, data: Path, out: Path, seed: int = 0) -> None:
    """Trains a classifier on its corpus, and writes it with its data.

    Args:
        name: `sst2` or `banking77`.
        encoder: the folder of the encoder.
        data: the folder of the corpora.
        out: the classifier's own.
        seed: of the head, and of the order.
    """
    (write_splits if name == "sst2" else write_banking)(data / name, out)
    texts, labels = rows_of(out / "train.tsv")
    names = sorted(set(labels))
    torch.manual_seed(seed)
    said = {"label2id": {label: i for i, label in enumerate(names)}, "id2label": dict(enumerate(names))}
    model = AutoModelForSequenceClassification.from_pretrained(encoder, num_labels=len(names), **said)
    tokenizer = AutoTokenizer.from_pretrained(encoder, model_max_length=128)
    encoded = tokenizer(texts, truncation=True)
    examples = [
        {"input_ids": ids, "attention_mask": mask, "labels": said["label2id"][label]}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], labels, strict=True)
    ]
    settings = TrainingArguments(
        output_dir=str(out / "work"),
        num_train_epochs=EPOCHS[name],
        per_device_train_batch_size=32,
        learning_rate=5e-5,
        warmup_steps=100,
        lr_scheduler_type="linear",
        train_sampling_strategy="group_by_length",
        save_steps=500,
        save_total_limit=1,
        logging_steps=100,
        report_to=[],
        seed=seed,
    )
    trainer = Trainer(model, settings, train_dataset=examples, processing_class=tokenizer)  # type: ignore[arg-type]
    trainer.train(resume_from_checkpoint=any((out / "work").glob("checkpoint-*")))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
