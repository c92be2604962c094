"""Exports small models of every build for every runtime that is installed, in every precision, and records the outcome.

    python -m benchmarks.certificates.run --out runs/certificates
    python docs/make_runtime_matrix.py

An export is finished only once it was run and compared with PyTorch, in this process and in one of its own; its
`certificate.json` says so, and `tprune runtimes --record` collects those. What a runtime refuses, or what differs by
more than its precision allows, is a line on the screen and certifies nothing. A folder that is there is not made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.certificates.models import Example, examples
from tprune.core.known_tasks import task_of
from tprune.core.precision import FP32, NUMBERS, Precision
from tprune.runtimes.certificate import CERTIFICATE
from tprune.runtimes.certified import CERTIFIED, recorded
from tprune.runtimes.export import export
from tprune.runtimes.runtime import Elsewhere, Runtime, runtimes
from tprune.support.errors import CertificateError, InputError
from tprune.support.machine import version_of


def exported(example: Example, runtime: Runtime, out: Path) -> Iterator[Path]:
    """The folders of an example in all precisions that the runtime has for it."""
    plain = out / f"{example.name}-{runtime.name}-fp32"
    calibration = [task_of(example.model).random(example.model)]
    for name in NUMBERS:
        folder = out / f"{example.name}-{runtime.name}-{name}"
        more: dict[str, Any] = {"fp32": plain} if (plain / CERTIFICATE).exists() else {}
        try:
            if not (folder / CERTIFICATE).exists():
                given = (example.model, example.tokenizer, folder, example.sentences, runtime)
                export(*given, precision=Precision(name) if name != "fp32" else FP32, calibration=calibration, **more)
        except (InputError, CertificateError) as error:
            print(f"{folder.name}: {error}", flush=True)
            continue
        print(f"{folder.name}: agrees", flush=True)
        yield folder


def main() -> None:
    """Makes what is missing, and records it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the exports")
    parser.add_argument("--runtime", action="append", help="one of those installed; all if not given")
    parser.add_argument("--model", action="append", help="one of the small models; all if not given")
    parser.add_argument("--record", type=Path, default=CERTIFIED, help="file of the record")
    given = parser.parse_args()
    here = [one for one in runtimes() if version_of(one.package) and not isinstance(one, Elsewhere)]
    here = [one for one in here if not given.runtime or one.name in given.runtime]
    models = [each for each in examples() if not given.model or each.name in given.model]
    made = [folder for each in models for one in here for folder in exported(each, one, given.out)]
    recorded(given.record, made, print)


if __name__ == "__main__":
    main()
