"""What the benchmarks on real data share: a queue of units of work that goes on where it was killed, exports, scores,
times.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import set_seed

from tprune.bench.harness import Workload, bench_all
from tprune.core.plan import Plan
from tprune.counting.size import size
from tprune.data.parallel import Corpus, read_corpus
from tprune.realise.certificate import Certificate
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.recipe.schema import Recipe
from tprune.recipe.training import training_of
from tprune.run.translation.dense_model import untrained
from tprune.runtimes.export import export
from tprune.runtimes.translator import Translator
from tprune.support.files import write_json
from tprune.support.machine import use_threads
from tprune.support.store import Store
from tprune.tasks.metrics.translation import quality
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.training_data import TrainingData


@dataclass(frozen=True)
class Queue:
    """The units of work of one benchmark directory; each leaves a marker when it is done."""

    out: Path
    recipe: Recipe
    corpus: Corpus
    material: TrainingData

    @staticmethod
    def open(out: Path, recipe: Recipe, data: Path, model: str | None) -> Queue:
        """The queue of a directory, with the given dense model in it, or one trained here by the recipe."""
        files = {split: [(Path(s), Path(t)) for s, t in pairs] for split, pairs in recipe.data.files.items()}
        corpus = read_corpus(files, data)
        use_threads()
        if not (out / "dense" / "config.json").exists():
            if model:
                save(load(model, dtype=torch.float32), out / "dense", load_tokenizer(model))
            else:
                train_dense(out, recipe, corpus)
        dense, tokenizer = load(out / "dense"), load_tokenizer(out / "dense")
        set_seed(recipe.seed)
        material = TrainingData.of(
            TRANSLATION,
            dense,
            tokenizer,
            corpus.train,
            corpus.valid,
            seed=recipe.seed,
            precision=recipe.train_precision,
        )
        return Queue(out, recipe, corpus, material)

    def unit(self, name: str, work: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
        """Does a unit unless it is done."""
        if not self.units.done(name):
            print(f"{name} ...", flush=True)
            self.units.put(name, work() or {})
            shutil.rmtree(self.out / "work" / name, ignore_errors=True)
        return self.units.get(name)

    @property
    def units(self) -> Store[dict[str, Any]]:
        """The units that are done."""
        return Store(self.out / "done")

    def save(self, model: Any, name: str, plan: Plan | None = None, certificate: Certificate | None = None) -> None:
        """Keeps a model under its name."""
        save(model, self.out / name, load_tokenizer(self.out / "dense"), plan, certificate)

    def dense(self) -> Any:
        """The dense model."""
        return load(self.out / "dense")


def train_dense(out: Path, recipe: Recipe, corpus: Corpus) -> None:
    set_seed(recipe.seed)
    model, tokenizer = untrained(recipe, corpus)
    TrainingData.of(TRANSLATION, model, tokenizer, corpus.train, corpus.valid, seed=recipe.seed).run(
        model, training_of(recipe.train), out / "work" / "dense"
    )
    save(model, out / "dense", tokenizer)


def deploy(queue: Queue, name: str) -> dict[str, Any]:
    """Exports a model and translates the pooled test sets with it in onnxruntime."""
    folder, pairs = queue.out / "onnx" / name, queue.corpus.pooled_test()
    model = load(queue.out / name).eval()
    report = export(model, load_tokenizer(queue.out / "dense"), folder, queue.corpus.valid.sample(24).source)
    said = Translator.load(folder, torch.get_num_threads()).translate(
        pairs.source, beams=queue.recipe.num_beams, batch=16
    )
    (queue.out / "said").mkdir(exist_ok=True)
    write_json(queue.out / "said" / f"{name}.json", said)
    found = size(model)
    return {
        **quality(said, pairs.target).to_dict(),
        "parameters": found.parameters,
        "macs": found.macs,
        "bytes": sum(report.files.values()),
        "export_error": report.max_relative_error,
    }


def timings(queue: Queue, names: Sequence[str]) -> dict[str, Any]:
    """All against the dense model, in turns in the same rounds; the dense model against itself shows the noise."""
    how = queue.recipe.bench
    folders = {name: queue.out / "onnx" / name for name in names}
    work = Workload(beams=1, sentences=how.sentences)
    sentences = queue.corpus.pooled_test().source
    found = bench_all(folders["dense"], folders, sentences, how.threads, how.batch, how.rounds, work)
    return {name: result.as_dict() for name, result in found.items()}
