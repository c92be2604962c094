"""Writes docs/runtime-matrix.md: what which runtime runs, from what runtimes refuse and from certificates that ran (a
test compares).

python docs/make_runtime_matrix.py
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tprune.report.runtime_features import features_markdown
from tprune.runtimes.certified import Certified, read_record
from tprune.runtimes.matrix import features
from tprune.runtimes.runtime import ProcessorBound, runtimes

PAGE = Path(__file__).with_name("runtime-matrix.md")
ABOUT = """# What runs where

Made by `python docs/make_runtime_matrix.py`, from what each [runtime](runtimes.md) refuses and from the certificates
of exports that were run. `python -m benchmarks.certificates.run --out DIR` exports small models of every build, dense
and cut in every way, for the runtimes that are installed, and `tprune runtimes --record FILE DIR...` collects the
`certificate.json` of each. `tprune runtimes --all` prints the same for the versions that are installed.

- **certified**: an export of a model with the feature was run here, in this process and in a new one, and computed what
  PyTorch computes within the [limits of its precision](runtimes.md#precisions).
- **supported**: nothing is known to be in the way, and no such export was run for this page.
- **exported**: the files are written; they run on another system, so nothing was compared.
- **refused**: `tprune export` refuses it.

The models that were exported for this page are small: of models that translate a Marian, of language models a Llama, of
models of one pass a BERT classifier and a ResNet. Of other classes, the page on [limits](limits.md) says which were not
tried in a runtime.

A number in brackets is the note below the table: the version, the system or the reason.

bf16 and int8 of `openvino` need [instructions of the processor](runtimes.md#openvino); here they are taken to be there.
"""


def page(record: Iterable[Certified]) -> str:
    """The page."""
    known = [one.anywhere() if isinstance(one, ProcessorBound) else one for one in runtimes()]
    return "\n".join([ABOUT.rstrip(), *features_markdown(features(known, record))]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(read_record()), encoding="utf-8")
    print(PAGE)
