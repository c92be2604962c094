"""Sequence-level distillation: a teacher translates the training sentences, and a student learns from what it said."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from tprune.coupling import tensors_of
from tprune.data import Parallel, one_line, read_lines
from tprune.errors import InputError
from tprune.files import claim
from tprune.progress import Report
from tprune.runtimes.export import export
from tprune.runtimes.folder import LAYOUT
from tprune.runtimes.translate import Translator
from tprune.tasks.translation import encode, max_length

CHUNK = 512  # sentences translated between two writes
TARGETS, RUNTIME = "targets.txt", "onnx"


def teach(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Parallel,
    out: Path,
    *,
    beams: int = 4,
    batch: int = 16,
    threads: int = 1,
    report: Report = lambda text: None,
) -> Parallel:
    """The same sources with the model's translations as targets, by beam search in onnxruntime.

    The translations go line by line into `out / "targets.txt"`; a killed call goes on there, to the same lines. Where the model
    says nothing, or more than it has positions for, the reference stands in.

    Args:
        model: the teacher.
        tokenizer: its own.
        pairs: sentences with their references.
        out: a folder for the translations and the exported model.
        beams: of the search.
        batch: sentences of like length at a time.
        threads: cores for one operation.
        report: is told how far it is.

    Raises:
        InputError: a sentence is too long for the model, or `out` holds translations of other sentences, by another model or
            with other settings.
        CertificateError: the export does not compute what the model computes.

    References:
        Kim and Rush, Sequence-level knowledge distillation, 2016.
    """
    limit = max_length(model)
    encode(pairs, tokenizer, limit)
    source = sha256("\n".join(pairs.source).encode()).hexdigest()[:16]
    claim(out, {"teacher": digest(model), "source": source, "sentences": len(pairs), "beams": beams, "batch": batch})
    file = out / TARGETS
    done = _whole_chunks(file, len(pairs))
    if done < len(pairs):
        if not (out / RUNTIME / LAYOUT).exists():
            export(model, tokenizer, out / RUNTIME, pairs.sample(12).source)
        translator = Translator.load(out / RUNTIME, threads)
        with file.open("a", encoding="utf-8", newline="\n") as lines:
            for start in range(done, len(pairs), CHUNK):
                report(f"translated {start} of {len(pairs)} training sentences")
                part = slice(start, start + CHUNK)
                said = translator.translate(pairs.source[part], beams, batch)
                lines.writelines(f"{line}\n" for line in usable(said, pairs.target[part], tokenizer, limit))
                lines.flush()
    return Parallel(pairs.source, read_lines(file), f"{pairs.name}, translated", (str(out), str(file)))


def usable(said: Sequence[str], references: Sequence[str], tokenizer: PreTrainedTokenizerBase, limit: int) -> list[str]:
    """Every translation on one line; the reference for one that is blank or longer than `limit` tokens."""
    found = []
    for text, reference in zip(said, references, strict=True):
        line = one_line(text.replace("\0", " "))
        fits = bool(line.strip()) and len(tokenizer(text_target=line, verbose=False).input_ids) <= limit
        found.append(line if fits else reference)
    return found


def digest(model: nn.Module) -> str:
    """A short hash of the names and values of all tensors of a model."""
    found = sha256()
    for name, tensor in sorted(tensors_of(model).items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]


def _whole_chunks(file: Path, total: int) -> int:
    """How many lines are there in whole chunks; what a killed call wrote beyond them is cut off, so that batches fall alike."""
    if not file.exists():
        return 0
    lines = file.read_bytes().split(b"\n")[:-1]
    if len(lines) > total:
        raise InputError(f"{file}: {len(lines)} lines for {total} sentences; remove it")
    kept = total if len(lines) == total else len(lines) // CHUNK * CHUNK
    with file.open("r+b") as raw:
        raw.truncate(sum(len(line) + 1 for line in lines[:kept]))
    return kept
