"""What the regulariser costs: its time per optimizer step beside a plain step, for two model sizes. The limit is 2 %.

    python -m benchmarks.regulariser.run [--out FILE.json] [--threads N]

A plain step is forward, backward, clip and AdamW on a batch of about 2048 tokens. Steps with and without the
regulariser take turns in one process, so that whatever else the machine does meets both. Two numbers come out: the time
spent in the regulariser itself over the time of a plain step, which is exact even on a busy machine, and the difference
of whole steps, which is not.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tprune.budget.size import Budget, select_to
from tprune.core.labels import label_loss
from tprune.core.plan import Mode, make_plan
from tprune.core.selection import Uniform
from tprune.families.registry import couplings
from tprune.methods.controller import Controller
from tprune.methods.hoyer_square import PacedHoyerSquare
from tprune.methods.regulariser import Regulariser
from tprune.support.files import write_json
from tprune.support.machine import provenance
from tprune.tasks.translation.encoding import MarianSize, new_model

LIMIT = 2.0  # percent of a plain step
SENTENCES, LENGTH = 64, 32  # 2048 tokens on either side
MODES = (Mode.GRADIENT, Mode.PROXIMAL)
KINDS = (("ffn", "heads"), ("ffn", "qk", "vo"))


@dataclass(frozen=True)
class Case:
    """A model size and how often it is measured."""

    name: str
    size: MarianSize
    rounds: int


CASES = (
    Case("small", MarianSize(256, (3, 3), 8, 1024, 4000, 0.1), 25),
    Case("base", MarianSize(512, (6, 6), 8, 2048, 8000, 0.1), 7),
)


class Loop:
    """One model in training.

    Every call is one step and says how long it took and how much of that the regulariser did.
    """

    def __init__(self, size: MarianSize) -> None:
        torch.manual_seed(0)
        self.model: Any = new_model(size, size.vocabulary).train()
        # as the Trainer does it
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
        ids = torch.randint(3, size.vocabulary, (2, SENTENCES, LENGTH))
        self.batch: dict[str, Tensor] = {
            "input_ids": ids[0],
            "attention_mask": torch.ones_like(ids[0]),
            "labels": ids[1],
        }

    def step(self, regulariser: Regulariser | None = None) -> tuple[float, float]:
        """Seconds of the whole step, and of the regulariser in it."""
        alone, start = 0.0, time.perf_counter()
        self.optimizer.zero_grad()
        loss = label_loss(self.model(**self.batch).logits, self.batch["labels"], 0.1)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if regulariser is not None:
            before = time.perf_counter()
            regulariser.before_step(self.optimizer)
            alone += time.perf_counter() - before
        self.optimizer.step()
        if regulariser is not None:
            before = time.perf_counter()
            regulariser.after_step(self.optimizer)
            alone += time.perf_counter() - before
        return time.perf_counter() - start, alone


def spread(seconds: list[float]) -> dict[str, float]:
    """Median and quartiles in milliseconds."""
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {"median": round(1e3 * middle, 3), "q1": round(1e3 * low, 3), "q3": round(1e3 * high, 3)}


def measure(case: Case) -> list[dict[str, Any]]:
    """All modes and couplings on one model, in turns with the plain step."""
    loop = Loop(case.size)
    setups: list[tuple[str, tuple[str, ...], Regulariser]] = []
    for kinds in KINDS:
        table = couplings(loop.model, kinds)
        for mode in MODES:
            plan = make_plan(loop.model, "marian", table, method=PacedHoyerSquare(), mode=mode, strengths=0.3)
            setups.append((mode, kinds, Regulariser(loop.model, plan)))
        goal = select_to(
            loop.model, plan, Budget("macs", 0.7), Uniform()
        )  # strengths that stay low: the work is the same
        setups.append(("controlled", kinds, Regulariser(loop.model, goal, controller=Controller(goal, 10**6))))
    plain: list[float] = []
    whole: list[list[float]] = [[] for _ in setups]
    alone: list[list[float]] = [[] for _ in setups]
    for turn in range(case.rounds + 1):
        steps = [loop.step(), *(loop.step(regulariser) for _, _, regulariser in setups)]
        if turn:  # the first turn allocates optimizer state and index maps
            plain.append(steps[0][0])
            for i, (total, own) in enumerate(steps[1:]):
                whole[i].append(total)
                alone[i].append(own)
    base = statistics.median(plain)
    return [
        {
            "model": case.name,
            "parameters": sum(p.numel() for p in loop.model.parameters()),
            "mode": str(mode),
            "couplings": len(regulariser.groups),
            "kinds": list(kinds),
            "rounds": case.rounds,
            "plain_ms": spread(plain),
            "with_ms": spread(whole[i]),
            "regulariser_ms": spread(alone[i]),
            "percent": round(100 * statistics.median(alone[i]) / base, 3),
            "difference_percent": round(100 * (statistics.median(whole[i]) / base - 1), 2),
        }
        for i, (mode, kinds, regulariser) in enumerate(setups)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Measures, prints, writes; returns 1 if the limit is passed."""
    parser = argparse.ArgumentParser(description="What the regulariser costs per optimizer step.")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=[c.name for c in CASES], default=[c.name for c in CASES])
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = []
    print(
        f"{'model':6} {'mode':10} {'couplings':14} {'plain step':>12} {'regulariser':>12} {'share':>8} "
        f"{'whole step':>11}"
    )
    for case in CASES:
        if case.name not in given.models:
            continue
        for row in measure(case):
            rows.append(row)
            print(
                f"{row['model']:6} {row['mode']:10} {'+'.join(row['kinds']):14} {row['plain_ms']['median']:9.1f} ms "
                f"{row['regulariser_ms']['median']:9.2f} ms {row['percent']:6.2f} % "
                f"{row['difference_percent']:+9.1f} %",
                flush=True,
            )
    worst = max(row["percent"] for row in rows)
    print(f"at most {worst:.2f} % of a plain step; the limit is {LIMIT} %")
    if given.out:
        command = shlex.join(["python", "-m", "benchmarks.regulariser.run", *(arguments or sys.argv[1:])])
        found = provenance(command) | {"threads": given.threads, "limit_percent": LIMIT, "rows": rows}
        write_json(given.out, found)
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
