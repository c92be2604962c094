"""What brings a cut model back: one cut model, one teacher, equal steps or equal compute, and the parts of recovery one
by one.

    python -m benchmarks.recovery.run --model DENSE --cut CUT --data DIR --out runs/bench-recovery [--equal-compute]
    [--threads 3]

DENSE is the trained model, CUT what it was cut to, untrained since (`cut` in a run's directory; its plan.json says
which residual dimensions it kept). Two more rows cut DENSE to CUT's size by norms, at once and in rounds, with the
training of `labels`: what rounds add, at equal compute. Every row is judged on the validation set: negative
log-likelihood of the references (nats per token) and BLEU, greedy and with beam 4, in onnxruntime. A row leaves a
marker, and a row in training its checkpoints: a killed benchmark goes on.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import set_seed

from benchmarks.shared.kept import Kept
from tprune.analysis.loss_curves import token_loss_on
from tprune.core.plan import Plan
from tprune.counting.size import size
from tprune.data.parallel import Parallel, read_lines, read_pair
from tprune.experimental.gradual import cut_in_rounds, share_left
from tprune.realise.checkpoint import load, load_tokenizer, save
from tprune.recipe.schema import Prune, Recover
from tprune.run.steps import recover_step
from tprune.run.translation.steps import distill_data_step
from tprune.runtimes.export import export
from tprune.runtimes.translator import Translator
from tprune.support.files import read_json, write_json
from tprune.support.machine import provenance, training_precision
from tprune.support.store import Store, check_identity
from tprune.tasks.batches import TokenBatches
from tprune.tasks.metrics.translation import paired_bootstrap, quality
from tprune.tasks.translation.encoding import Collate, encode, max_length
from tprune.tasks.translation.task import TRANSLATION
from tprune.train.losses import kept_width
from tprune.train.pseudo_targets import digest
from tprune.train.training_data import TrainingData

BASE = "labels"
ROUNDS = {"at once": 1, "in rounds": 3}  # cuts by norms
BEAMS = (1, 4)
FLOOR = 0.03  # of every coupling's groups


def rows(asked: argparse.Namespace, share: float) -> dict[str, Recover]:
    """The rows' names and trainings; `share` is that of the cut model in the dense one's multiplications.

    A step is three passes of the cut model, and one of the teacher where it is asked for words or states: with equal
    compute a row that does not ask trains `(3 share + 1) / (3 share)` times as long.
    """
    plain = Recover(steps=asked.steps, lr=asked.lr, warmup=asked.warmup, batch_tokens=asked.tokens, distill=0.0)
    word, sequence, hidden = (
        {"distill": asked.word},
        {"sequence_distillation": asked.sequence},
        {"hidden_distillation": asked.hidden},
    )
    every = {**word, **sequence, **hidden}
    rewound = {"rewind": asked.rewind, "lr": asked.rewind_lr, "warmup": asked.rewind_warmup}
    parts: dict[str, dict[str, Any]] = {
        BASE: {},
        "word": word,
        "sequence": sequence,
        "word+sequence": {**word, **sequence},
        "hidden": hidden,
        "all": every,
        "all+rewound": {**every, **rewound},
    }
    found = {name: Recover.model_validate(plain.model_dump() | changes) for name, changes in parts.items()}
    longer = round(asked.steps * (3 * share + 1) / (3 * share)) if asked.equal_compute else asked.steps
    return {
        k: h if h.distill or h.hidden_distillation else h.model_copy(update={"steps": longer}) for k, h in found.items()
    }


@dataclass(frozen=True)
class Bench:
    """One benchmark directory and what it works on."""

    out: Path
    model: Path
    cut: Path
    material: TrainingData
    valid: Parallel
    threads: int

    def unit(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Does a row unless it is done."""
        units = Store[dict[str, Any]](self.out / "done")
        if not units.done(name):
            print(f"{name} ...", flush=True)
            units.put(name, work())
        return units.get(name)


def train_row(bench: Bench, name: str, how: Recover) -> dict[str, Any]:
    """Trains the cut model in one way and scores it."""
    work, folder = bench.out / "work" / name, bench.out / "models" / name
    if not folder.exists():
        small, plan = load(bench.cut, dtype=torch.float32), bench.cut / "plan.json"
        width = kept_width(Plan.load(plan)) if plan.exists() else None
        teacher = load(bench.model, dtype=torch.float32).eval()
        recover_step(small, teacher, bench.material, how, work, width)
        save(small, folder, load_tokenizer(bench.model))
        shutil.rmtree(work, ignore_errors=True)
    return {"training": how.model_dump(mode="json"), **score(bench, name, folder)}


def rounds_row(bench: Bench, name: str, how: Recover, share: float) -> dict[str, Any]:
    """Cuts the dense model by norms to a share of its multiplications, in as many rounds as the name says, and scores
    it.

    A larger model's steps cost more, so there are fewer of them where the cut comes in rounds.
    """
    work, folder, rounds = bench.out / "work" / name, bench.out / "models" / name, ROUNDS[name]
    sizes = [share_left(share, done + 1, rounds) for done in range(rounds)]
    how = how.model_copy(update={"steps": max(rounds, round(how.steps * share / fmean(sizes)))})
    if not folder.exists():
        dense = load(bench.model, dtype=torch.float32).eval()
        done = cut_in_rounds(dense, bench.material, Prune(steps=0, macs=share, floor=FLOOR), how, rounds, work)
        save(done.model, folder, load_tokenizer(bench.model))
        for plan in work.glob("round-*/plan.json"):
            kept = bench.out / "plans" / name / plan.parent.name
            kept.mkdir(parents=True, exist_ok=True)
            shutil.copy(plan, kept)
        shutil.rmtree(work, ignore_errors=True)
    return {"training": how.model_dump(mode="json"), "rounds": rounds, **score(bench, name, folder)}


def score(bench: Bench, name: str, folder: Path) -> dict[str, Any]:
    """NLL of the references, and BLEU and chrF of every search."""
    model, tokenizer = load(folder, dtype=torch.float32).eval(), load_tokenizer(bench.model)
    export(model, tokenizer, bench.out / "onnx" / name, bench.valid.sample(12).source)
    translator = Translator.load(bench.out / "onnx" / name, bench.threads)
    said = {f"beam{k}": translator.translate(bench.valid.source, beams=k, batch=16) for k in BEAMS}
    write_json(bench.out / "said" / f"{name}.json", said)
    found = size(model)
    return {
        "nll": nll(model, bench.material),
        "parameters": found.parameters,
        "macs": found.macs,
        **{key: quality(lines, bench.valid.target).to_dict() for key, lines in said.items()},
    }


def nll(model: Any, material: TrainingData) -> float:
    """Mean negative log-likelihood per reference token over the whole validation set."""
    sampler = TokenBatches(material.valid.lengths, 4096)
    batches = DataLoader(material.valid, batch_sampler=sampler, collate_fn=Collate(material.pad))
    return token_loss_on(list(batches))(model)


def table(bench: Bench, names: list[str], found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """All rows, each with its difference in BLEU to training on the labels alone."""
    said = {name: read_json(bench.out / "said" / f"{name}.json") for name in names}
    return [
        {
            "name": name,
            **found[name],
            "against_labels": {
                f"beam{k}": paired_bootstrap(
                    said[BASE][f"beam{k}"], said[name][f"beam{k}"], bench.valid.target
                ).to_dict()
                for k in BEAMS
            },
        }
        for name in names
    ]


def keep(bench: Bench, names: list[str], kept: Kept) -> None:
    """Keeps all translations, and the plans of the cut model and of the cuts by norms, so that intervals can be
    computed again.
    """
    for name in names:
        for search, lines in read_json(bench.out / "said" / f"{name}.json").items():
            kept.said(f"{name}.{search}", lines, bench.valid.target)
    plans = {"cut": bench.cut / "plan.json"}
    plans |= {
        f"{name}.{file.parent.name}": file
        for name in ROUNDS
        for file in sorted((bench.out / "plans" / name).glob("*/plan.json"))
    }
    for name, file in plans.items():
        if file.exists():
            kept.plan(name, Plan.load(file))


def prepare(asked: argparse.Namespace) -> Bench:
    """The sentences, and the teacher's translations of the training set: made here, or read from `--taught`."""
    train, valid = (
        read_pair(*(asked.data / f"{split}.{side}.gz" for side in (asked.source, asked.target)))
        for split in ("train", "val")
    )
    train = train.sample(asked.sentences, asked.seed) if asked.sentences else train
    dense, tokenizer = load(asked.model, dtype=torch.float32).eval(), load_tokenizer(asked.model)
    made = {"model": digest(dense), "cut": digest(load(asked.cut, dtype=torch.float32)), "sentences": len(train)}
    check_identity(asked.out, made | {key: vars(asked)[key] for key in SETTINGS})
    material = TrainingData.of(TRANSLATION, dense, tokenizer, train, valid, seed=asked.seed)
    material = replace(material, precision=training_precision(asked.precision))
    if asked.taught:
        lines = read_lines(asked.taught)  # of all training sentences, in their order
        said = Parallel(train.source, tuple(lines[train.line(i) - 1] for i in range(len(train))), str(asked.taught))
        material = replace(material, pseudo_targets=encode(said, tokenizer, max_length(dense)))
    else:
        material = distill_data_step(
            dense, tokenizer, train, material, asked.out / "taught", partial(print, flush=True)
        )
    return Bench(asked.out, asked.model, asked.cut, material, valid, asked.threads)


SETTINGS = (
    "steps",
    "equal_compute",
    "lr",
    "warmup",
    "tokens",
    "word",
    "hidden",
    "sequence",
    "rewind",
    "rewind_lr",
    "rewind_warmup",
    "seed",
    "precision",
)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the trained dense model: teacher, and source of CUT")
    parser.add_argument("--cut", type=Path, required=True, help="the cut model, not trained since")
    parser.add_argument("--data", type=Path, required=True, help="the folder with train.LANG.gz and val.LANG.gz")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-recovery"))
    parser.add_argument("--json", type=Path, help="where the numbers go (default: OUT/recovery.json)")
    parser.add_argument("--taught", type=Path, help="the teacher's translations of the training set, ready made")
    parser.add_argument("--source", default="en")
    parser.add_argument("--target", default="de")
    parser.add_argument("--sentences", type=int, default=0, help="train on the first so many only")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument(
        "--equal-compute", action="store_true", help="--steps is that of rows with the teacher's passes"
    )
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--warmup", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--word", type=float, default=0.5, help="weight of the teacher's word distributions")
    parser.add_argument("--hidden", type=float, default=1.0, help="weight of its hidden states")
    parser.add_argument("--sequence", type=float, default=1.0, help="share of its translations among the targets")
    parser.add_argument("--rewind", type=int, default=4000, help="steps of the dense training")
    parser.add_argument("--rewind-lr", type=float, default=2e-3, help="its peak learning rate")
    parser.add_argument("--rewind-warmup", type=int, default=400)
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="only these rows (another process does the others); no table")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    set_seed(asked.seed)
    share = size(load(asked.cut)).macs / size(load(asked.model)).macs
    trainings = rows(asked, share)
    bench = prepare(asked)
    work: dict[str, Callable[[], dict[str, Any]]] = {
        "dense": lambda: score(bench, "dense", asked.model),
        "cut": lambda: score(bench, "cut", asked.cut),
        **{name: partial(train_row, bench, name, how) for name, how in trainings.items()},
        **{name: partial(rounds_row, bench, name, trainings[BASE], share) for name in ROUNDS},
    }
    found = {name: bench.unit(name, do) for name, do in work.items() if not asked.only or name in asked.only}
    for name, row in found.items():
        bleu = "  ".join(f"beam {k}: {row[f'beam{k}']['bleu']:6.2f}" for k in BEAMS)
        print(f"{name:16} nll {row['nll']:.4f}  BLEU {bleu}", flush=True)
    if asked.only:
        return
    compute = " --equal-compute" if asked.equal_compute else ""
    command = f"python -m benchmarks.recovery.run --model DENSE --cut CUT --data DIR --steps {asked.steps}{compute}"
    result = {
        "rows": table(bench, list(work), found),
        "sentences": len(bench.valid),
        "threads": asked.threads,
        "settings": {key: vars(asked)[key] for key in SETTINGS} | {"precision": bench.material.precision},
        **provenance(command),
    }
    numbers = asked.json or asked.out / "recovery.json"
    kept = Kept.beside(numbers)
    keep(bench, list(work), kept)
    write_json(numbers, {**result, "kept": kept.folder.name})


if __name__ == "__main__":
    main()
