"""Does the analysis predict? Every coupling of a dense model is cut alone and refitted; what came before is ranked against that.

    python benchmarks/analysis.py --data DIR --model DIR --out DIR --json FILE [--steps N] [--refit N] [--threads N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from damage import CUT, Refit, batches_of, refitted

from tprune.checkpoint import load, load_tokenizer
from tprune.coupling import Groups, bind
from tprune.data import read_pair
from tprune.errors import InputError
from tprune.files import read_json, write_json
from tprune.models import couplings
from tprune.sensitivity import token_loss_on
from tprune.tasks.translation import encode, max_length

KINDS = ("ffn", "heads", "qk", "vo")


@dataclass(frozen=True)
class Bench:
    """One benchmark directory: the model, its sentences, and what has been measured."""

    out: Path
    model: Any
    train: Any
    valid: Any
    refit: Refit
    seeds: int

    def unit(self, name: str, work: Callable[[], Any]) -> Any:
        """Does a unit of work unless its marker is there."""
        marker = self.out / "done" / f"{name}.json"
        if not marker.exists():
            started = time.monotonic()
            write_json(marker, work())
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        return read_json(marker)

    @property
    def pad(self) -> int:
        return int(self.model.config.pad_token_id)


def truth(bench: Bench) -> dict[str, list[float]]:
    """For every coupling the loss (nats per token) that its cut adds after the refit, one value per seed."""
    loss = token_loss_on(batches_of(bench.valid, bench.pad, 4000, None))
    found: dict[str, list[float]] = {c.name: [] for c in couplings(bench.model, KINDS)}
    for seed in range(bench.seeds):
        batches = batches_of(bench.train, bench.pad, bench.refit.tokens, bench.refit.steps, seed)

        def measure(coupling: Any, seed: int = seed, batches: Any = batches) -> float:
            def bound(model: Any) -> Groups:
                return bind([coupling], model)[0]

            return loss(refitted(bench.model, bench.refit, batches, seed, bound if coupling else None))

        whole = bench.unit(f"truth-{seed}-reference", partial(measure, None))
        for coupling in couplings(bench.model, KINDS):
            cut = bench.unit(f"truth-{seed}-{coupling.name}", partial(measure, coupling))
            found[coupling.name].append(cut - whole)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measures what is not measured yet and writes the table."""
    parser = argparse.ArgumentParser(description="Does the analysis predict what a cut costs?")
    parser.add_argument("--data", type=Path, required=True, help="folder with train.en.gz, train.de.gz, val.en.gz, val.de.gz")
    parser.add_argument("--model", required=True, help="the dense model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--steps", type=int, default=150, help="of the analysis")
    parser.add_argument("--refit", type=int, default=40, help="steps after each cut")
    parser.add_argument("--seeds", type=int, default=2, help="how often each cut is refitted")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    model, tokenizer = load(given.model, dtype=torch.float32), load_tokenizer(given.model)
    sides = {split: read_pair(given.data / f"{split}.en.gz", given.data / f"{split}.de.gz") for split in ("train", "val")}
    train, valid = (encode(pairs, tokenizer, max_length(model)) for pairs in sides.values())
    bench = Bench(given.out, model, train, valid, Refit(given.refit), given.seeds)
    settings = {"model": given.model, "cut": CUT, "refit": asdict(bench.refit)}
    marker = given.out / "settings.json"
    if marker.exists() and read_json(marker) != settings:
        raise InputError(f"{given.out} holds measurements with {read_json(marker)}, now {settings}; choose another --out")
    write_json(marker, settings)
    found = truth(bench)
    for name, values in sorted(found.items(), key=lambda item: sum(item[1])):
        print(f"{name:50}", *(f"{v:+.5f}" for v in values))


if __name__ == "__main__":
    main()
