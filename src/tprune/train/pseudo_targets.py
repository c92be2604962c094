"""Sequence-level distillation: a teacher's translations of the training sources are pseudo-targets for a student."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from tprune.core.coupling import tensors_of
from tprune.core.task import Task
from tprune.data.parallel import Parallel, one_line, read_lines
from tprune.runtimes.artefact import layout_file
from tprune.runtimes.export import ENOUGH, export
from tprune.runtimes.translator import Translator, cut_often
from tprune.support.errors import InputError
from tprune.support.papers import cites
from tprune.support.reporting import Report
from tprune.support.store import check_identity
from tprune.tasks.translation.encoding import encode, max_length

SEQUENCE_LEVEL = """@inproceedings{kim2016sequence,
  title = {Sequence-Level Knowledge Distillation},
  author = {Kim, Yoon and Rush, Alexander M.},
  booktitle = {Proceedings of EMNLP}, year = {2016}
}"""

CHUNK = 512  # sentences translated between two writes
TARGETS, RUNTIME = "targets.txt", "onnx"
CUT = "cut.txt"  # a line for each translation: the limit in tokens where it ends there, 0 where the model ended it


@cites(SEQUENCE_LEVEL)
def make_pseudo_targets(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Parallel,
    out: Path,
    *,
    beams: int = 4,
    batch: int = 16,
    threads: int = 1,
    report: Report = lambda text: None,
    task: Task | None = None,
) -> Parallel:
    """The same sources with pseudo-targets: the model's translations, by beam search in onnxruntime.

    The translations go line by line into `out / "targets.txt"`; a killed call goes on there, to the same lines. The
    reference replaces a translation that is blank or longer than the model has positions for.

    Args:
        model: the teacher.
        tokenizer: its own.
        pairs: sentences with their references.
        out: a folder for the translations and the exported model.
        beams: of the search.
        batch: sentences of similar length at a time.
        threads: cores for one operation.
        report: called with lines of progress.
        task: what the model is for; its own if not given.

    Raises:
        InputError: a sentence is too long for the model, or `out` holds translations of other sentences, by another
            model or with other settings.
        CertificateError: the export does not compute what the model computes.

    References:
        Kim and Rush, Sequence-level knowledge distillation, 2016.
    """
    limit = max_length(model)
    encode(pairs, tokenizer, limit)
    source = sha256("\n".join(pairs.source).encode()).hexdigest()[:16]
    # no store of pieces: what is done are the lines of two files, which grow together
    check_identity(
        out, {"teacher": digest(model), "source": source, "sentences": len(pairs), "beams": beams, "batch": batch}
    )
    file = out / TARGETS
    cut = out / CUT
    done = _whole_chunks(file, len(pairs))
    if done < len(pairs):
        if layout_file(out / RUNTIME) is None:
            export(model, tokenizer, out / RUNTIME, pairs.sample(ENOUGH).source, task=task)
        translator = Translator.load(out / RUNTIME, threads)
        done = min(done, _whole_chunks(cut, len(pairs)))
        for each in (file, cut):
            _keep(each, done)
        with file.open("a", encoding="utf-8", newline="\n") as lines, cut.open("a", encoding="utf-8") as ends:
            for start in range(done, len(pairs), CHUNK):
                report(f"translated {start} of {len(pairs)} training sentences")
                part = slice(start, start + CHUNK)
                said = translator.translated(pairs.source[part], beams, batch)
                lines.writelines(f"{line}\n" for line in usable(said.texts, pairs.target[part], tokenizer, limit))
                ends.writelines(f"{said.limit if each else 0}\n" for each in said.cut)
                lines.flush()
                ends.flush()
        for line in cut_often("the teacher", *cut_share(out)):
            report(f"warning: {line}")
    return Parallel(pairs.source, read_lines(file), f"{pairs.name}, translated", (str(out), str(file)))


def cut_share(out: Path) -> tuple[float, int]:
    """Which part of the translations in `out` ends at the limit, and the limit in tokens; 0 and 0 where none does."""
    ends = [int(line) for line in (out / CUT).read_text(encoding="utf-8").split()] if (out / CUT).exists() else []
    return sum(map(bool, ends)) / max(1, len(ends)), max(ends, default=0)


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
    """The number of lines in whole chunks; only from the start of a chunk are batches composed the same way."""
    if not file.exists():
        return 0
    lines = file.read_bytes().count(b"\n")
    if lines > total:
        raise InputError(f"{file}: {lines} lines for {total} sentences; remove it")
    return total if lines == total else lines // CHUNK * CHUNK


def _keep(file: Path, kept: int) -> None:
    """Cuts off what a killed call wrote beyond so many lines."""
    if file.exists():
        lines = file.read_bytes().split(b"\n")[:kept]
        with file.open("r+b") as raw:
            raw.truncate(sum(len(line) + 1 for line in lines))
