"""Small models that do not translate, examples of their tasks, and a machine whose time is multiplications."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fake_bench import as_bench
from table_models import table_model
from tprune.bench.known_phases import with_composed
from tprune.core.known_tasks import task_of
from tprune.core.plan import Plan, make_plan
from tprune.costs.latency import subject as latency_subject
from tprune.costs.latency import timer as latency_timer
from tprune.counting.size import size
from tprune.families.registry import couplings, family_of
from tprune.support.files import read_json, write_json
from tprune.tasks.encoded_tokens import EncodedTokens
from tprune.tasks.image_classification import Images
from tprune.tasks.text_classification import EncodedTexts
from tprune.train.training_data import TrainingData

KINDS = {"bert-classifier": ("ffn", "heads"), "llama": ("ffn", "heads"), "resnet": ("channels",)}
MS = {"pass": (0.1, 2e-6), "prefill": (0.2, 1e-5), "step": (0.1, 1e-6)}  # fixed, and of each multiplication


def small(name: str) -> Any:
    return table_model(name).float()


def plan_of(model: Any, *kinds: str) -> Plan:
    return make_plan(model, family_of(model).name, couplings(model, list(kinds)))


def examples(name: str, count: int = 24) -> Any:
    """Of unequal lengths, 8 tokens in the median, where the task has lengths."""
    chance = torch.Generator().manual_seed(0)
    if name == "resnet":
        pixels = torch.randn(count, 3, 32, 32, generator=chance)
        return Images(pixels, tuple(i % 10 for i in range(count)), {i: str(i) for i in range(10)})
    rows = tuple(torch.randint(3, 40, (6 + i % 5,), generator=chance).tolist() for i in range(count))
    if name == "llama":
        return EncodedTokens(rows)
    return EncodedTexts(rows, tuple(i % 5 for i in range(count)), {i: str(i) for i in range(5)})


def material(name: str, model: Any) -> TrainingData:
    return TrainingData(task_of(model), examples(name), examples(name))


@dataclass
class Machine:
    """Exports are the number of multiplications.

    A phase takes `fixed + each · multiplications`, `slower` where it is cut.
    """

    slower: float = 1.0
    timed: int = 0

    def export(self, model: Any, tokenizer: Any, out: Path, **how: Any) -> None:
        out.mkdir(exist_ok=True, parents=True)
        write_json(out / "macs.json", size(model, how.get("task")).macs)

    def milliseconds(self, phase: str, macs: float) -> float:
        fixed, each = MS[phase]
        return fixed + each * macs

    def bench(self, call: Any) -> dict[str, Any]:
        self.timed += len(call.others)
        return {name: self.result(call.dense, folder, call.rounds, call.work) for name, folder in call.others.items()}

    def result(self, dense: Path, other: Path, rounds: int, work: Any) -> Any:
        macs = {side: float(read_json(folder / "macs.json")) for side, folder in (("dense", dense), ("pruned", other))}
        factor = {"dense": 1.0, "pruned": self.slower if other != dense else 1.0}
        took = {
            side: with_composed(
                {phase: [factor[side] * self.milliseconds(phase, macs[side])] * rounds for phase in work.measures},
                work.new_tokens,
            )
            for side in macs
        }
        ratios = {phase: [took["dense"][phase][0] / took["pruned"][phase][0]] * rounds for phase in took["dense"]}
        return SimpleNamespace(
            ratios=ratios,
            rounds_ms=took,
            footprint={"dense": SimpleNamespace(peak_memory=10**8, tokens_per_sentence=0.0)},
        )


def time_is_multiplications(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Machine:
    machine = Machine()
    monkeypatch.setattr(latency_subject, "export", machine.export)
    monkeypatch.setattr(latency_timer, "bench_all", as_bench(machine.bench))
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return machine
