"""Does the analysis predict? Every coupling of a dense model is cut alone and refitted; what came before is ranked
against that.

    python -m benchmarks.analysis.run --data DIR --model DIR --out DIR --json FILE [--steps N] [--refit N] [--seeds N]
    [--threads N]

Components are all FFNs, heads, query-key and value-output dimensions. The truth of each is the validation loss after
its 30 % of groups with the smallest norms were cut (held at zero) and the model refitted, less that of the dense model
refitted alike. Predictors see training sentences only. Every unit of work leaves a marker in --out, so a killed run
goes on where it was.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from benchmarks.analysis.damage import KINDS, Refit, batches_of, refitted
from benchmarks.analysis.predictors import Table, combined, from_analysis, from_gradients, from_norms, permuted_
from benchmarks.analysis.ranking import scatter, spearman, with_interval
from tprune.analysis import Analysis, ablation_losses
from tprune.analysis.ablation import SHARE
from tprune.analysis.loss_curves import token_loss_on
from tprune.budget.samples import CALIBRATION
from tprune.core.coupling import Coupling, Groups, bind
from tprune.data.parallel import read_pair
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, load_tokenizer
from tprune.recipe.schema import Analyze
from tprune.run.steps import analyse_step
from tprune.support.errors import InputError
from tprune.support.files import read_json, write_json
from tprune.support.machine import provenance
from tprune.support.store import Store
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData

DRAWN = ("harm", "Fisher", "Taylor", "BSSL: shrunk, area", "norm", "permuted: shrunk, area")


@dataclass(frozen=True)
class Bench:
    """One benchmark directory: the model, its sentences, and how it is cut and analysed."""

    out: Path
    model: Any
    material: TrainingData
    refit: Refit
    seeds: int
    how: Analyze

    def unit(self, name: str, work: Callable[[], Any]) -> Any:
        """Does a unit of work unless its marker is there."""
        units = Store[Any](self.out / "done")
        if not units.done(name):
            started = time.monotonic()
            units.put(name, work())
            print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        return units.get(name)

    @property
    def components(self) -> tuple[Coupling, ...]:
        """All couplings that are ranked."""
        return couplings(self.model, KINDS)


def truth(bench: Bench) -> dict[str, list[float]]:
    """For every coupling the loss (nats per token) that its cut adds after the refit, one value per seed."""
    loss = token_loss_on(bench.material.batches(bench.material.valid))
    found: dict[str, list[float]] = {c.name: [] for c in bench.components}
    for seed in range(bench.seeds):
        batches = batches_of(bench.material.train, bench.material.pad, bench.refit.tokens, bench.refit.steps, seed)
        after = partial(_after, bench, loss, batches, seed)
        whole = bench.unit(f"truth-{seed}-reference", partial(after, None))
        for coupling in bench.components:
            found[coupling.name].append(bench.unit(f"truth-{seed}-{coupling.name}", partial(after, coupling)) - whole)
    return found


def _after(bench: Bench, loss: Callable[[Any], float], batches: Any, seed: int, coupling: Coupling | None) -> float:
    """The validation loss of the model refitted without the smallest groups of one coupling, or of all of it."""

    def bound(model: Any) -> Groups:
        assert coupling is not None
        return bind([coupling], model)[0]

    return loss(refitted(bench.model, bench.refit, batches, seed, bound if coupling else None))


def bssl(bench: Bench, model: Any, name: str) -> Analysis:
    """The analysis of a model, kept in the benchmark's directory."""

    def work() -> dict[str, Any]:
        return asdict(analyse_step(model, bench.material, bench.how, KINDS, bench.out / "work" / name))

    bench.unit(name, work)
    return Analysis.load(bench.out / "done" / f"{name}.json")


def predicted(bench: Bench) -> Table:
    """All predictors; the permuted model's analysis shows what weights alone, without what was learnt, would say."""
    material, dense = bench.material, copy.deepcopy(bench.model).eval()
    table: Table = from_norms(dense)
    small = partial(material.batches, material.train, CALIBRATION, 1000)
    table |= bench.unit("gradients", lambda: from_gradients(copy.deepcopy(dense), small()))
    table["harm"] = bench.unit("harm", lambda: ablation_losses(dense, bench.components, token_loss_on(small())))
    suffix = f"{bench.how.steps}-{bench.how.batch_tokens}"
    real = from_analysis(bssl(bench, dense, f"bssl-{suffix}"))
    null = from_analysis(bssl(bench, permuted_(copy.deepcopy(dense)), f"null-{suffix}"))
    table |= {f"BSSL: {k}": v for k, v in real.items()} | {f"permuted: {k}": v for k, v in null.items()}
    table["harm + Fisher (ranks)"] = combined(table["harm"], table["Fisher"])
    table["harm + BSSL area (ranks)"] = combined(table["harm"], table["BSSL: shrunk, area"])
    return table


def results(bench: Bench) -> dict[str, Any]:
    """Spearman of every predictor with the truth, over all components and within each kind."""
    found, table = truth(bench), predicted(bench)
    mean = {name: fmean(values) for name, values in found.items()}
    kinds = {c.name: c.kind for c in bench.components}
    rows = {}
    for title, values in table.items():
        rows[title] = with_interval([values[n] for n in mean], list(mean.values()))
        rows[title]["within"] = {
            kind: round(
                spearman([values[n] for n in mean if kinds[n] == kind], [mean[n] for n in mean if kinds[n] == kind]), 4
            )
            for kind in KINDS
        }
    between = [
        spearman([v[i] for v in found.values()], [v[j] for v in found.values()])
        for i in range(bench.seeds)
        for j in range(i)
    ]
    svg = scatter(mean, {title: table[title] for title in DRAWN}, kinds)
    (bench.out / "analysis.svg").write_text(svg, encoding="utf-8")
    return {
        "components": len(mean),
        "spearman": rows,
        "between_seeds": round(fmean(between), 3) if between else None,
        "truth": found,
        "predicted": table,
    }


def main(arguments: list[str] | None = None) -> None:
    """Measures what is not measured yet, prints the table and writes it."""
    parser = argparse.ArgumentParser(description="Does the analysis predict what a cut costs?")
    parser.add_argument("--data", type=Path, required=True, help="folder with {train,val}.{en,de}.gz")
    parser.add_argument("--model", required=True, help="the dense model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="the table, and beside it the drawing as .svg")
    parser.add_argument("--steps", type=int, default=150, help="of the analysis")
    parser.add_argument("--tokens", type=int, default=1000, help="in a batch of the analysis")
    parser.add_argument("--refit", type=int, default=40, help="steps after each cut")
    parser.add_argument("--seeds", type=int, default=2, help="how often each cut is refitted")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    model, tokenizer = load(given.model, dtype=torch.float32), load_tokenizer(given.model)
    train, valid = (read_pair(given.data / f"{s}.en.gz", given.data / f"{s}.de.gz") for s in ("train", "val"))
    material = TrainingData.of(TRANSLATION, model, tokenizer, train, valid, precision="fp32")
    how = Analyze(steps=given.steps, batch_tokens=given.tokens)
    bench = Bench(given.out, model, material, Refit(given.refit), given.seeds, how)
    settings = {"model": given.model, "cut": SHARE, "refit": asdict(bench.refit)}
    marker = given.out / "settings.json"
    if marker.exists() and read_json(marker) != settings:
        raise InputError(
            f"{given.out} holds measurements with {read_json(marker)}, now {settings}; choose another --out"
        )
    write_json(marker, settings)
    found = results(bench)
    for title, row in sorted(found["spearman"].items(), key=lambda item: -item[1]["spearman"]):
        within = "  ".join(f"{kind} {value:+.2f}" for kind, value in row["within"].items())
        print(f"{title:28} {row['spearman']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]  {within}")
    if given.json:
        numbers = " ".join(f"--{key} {getattr(given, key)}" for key in ("steps", "tokens", "refit", "seeds"))
        command = f"python -m benchmarks.analysis.run --data DIR --model DIR --out DIR --json FILE {numbers}"
        made = {
            **settings,
            "model": Path(given.model).name,
            "analyze": how.model_dump(mode="json"),
            "seeds": given.seeds,
        }
        write_json(given.json, {**found, "settings": made, **provenance(command)})
        (Path(__file__).parents[2] / "docs" / "analysis.svg").write_text(
            (given.out / "analysis.svg").read_text(encoding="utf-8"), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
