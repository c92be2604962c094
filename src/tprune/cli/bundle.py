"""Making a bundle of an exported folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tprune.data.synthetic.grammar import corpus
from tprune.runtimes.bundle.licenses import NOT_STATED
from tprune.runtimes.bundle.make import bundle
from tprune.support.reporting import Report

INPUTS = 8  # sentences where none are given; the golden outputs take the surest of them


def bundle_to(
    exported: Path, out: Path, sentences: Sequence[str] | None, model: Path | None, report: Report = lambda text: None
) -> dict[str, Any]:
    """Makes a bundle, and returns what `BundleReport` says. Raises as `tprune.runtimes.bundle.make.bundle`."""
    if sentences is None:
        sentences = corpus(train=200, valid=INPUTS, test=1).valid.source
    done = bundle(exported, out, sentences, model)
    if done.licenses["model"] == NOT_STATED:
        report("the model's license is not stated; --model FOLDER takes it from LICENSE or README.md there")
    return {"exported": str(exported), "out": str(out), **asdict(done)}
