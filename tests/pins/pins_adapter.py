"""What the pinned tests call of tprune: public names and the command line.

What is renamed is mapped here, and nowhere else.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tprune

KINDS = ("ffn", "heads", "qk", "vo", "sublayer", "width")
Pairs = tuple[list[str], list[str]]


def groups(model: Any) -> list[tuple[str, list[int]]]:
    """Every coupling with the shape of its groups."""
    plan = tprune.make_plan(model, model.config.model_type, tprune.couplings(model, list(KINDS)))
    return [(entry.coupling.name, list(entry.groups)) for entry in plan.entries]


def one_shot(model: Any, tokenizer: Any, train: Pairs, valid: Pairs) -> Any:
    """Half of the multiplications, nothing trained."""
    return tprune.compress(model, tokenizer, train, valid, macs=0.5, one_shot=True)


def blocks_and_width(model: Any, tokenizer: Any, train: Pairs, valid: Pairs) -> Any:
    """Whole sublayers and the residual width too, half of the parameters, nothing trained."""
    prune = tprune.Prune(
        kinds=["ffn", "heads", "sublayer", "width"], steps=0, params=0.6, allocation="loss", search=6, floor=0.1
    )
    return tprune.compress(model, tokenizer, train, valid, prune=prune, recover=tprune.Recover(steps=0))


def lines(model: Any, tokenizer: Any, train: Pairs, valid: Pairs) -> Any:
    """Single lines of every matrix, gathered."""
    prune = tprune.Prune(kinds=["lines"], steps=0, macs=0.7, allocation="uniform")
    return tprune.compress(model, tokenizer, train, valid, prune=prune, recover=tprune.Recover(steps=0))


def trained(model: Any, tokenizer: Any, train: Pairs, valid: Pairs) -> Any:
    """Analysed, regularised, cut, and recovered with its teacher."""
    return tprune.compress(
        model,
        tokenizer,
        train,
        valid,
        seed=3,
        prune=tprune.Prune(kinds=["ffn", "heads"], steps=12, lr=2e-3, warmup=2, batch_tokens=256, macs=0.6),
        recover=tprune.Recover(steps=8, lr=1e-3, warmup=2, batch_tokens=256, distill=0.5),
        analyze=tprune.Analyze(steps=10, batch_tokens=256, strength=2.0),
    )


def model_of(done: Any) -> Any:
    return done.model


def kept(done: Any) -> list[tuple[str, list[int]]]:
    """What every coupling kept, as positions in its flattened groups."""
    return [(e.coupling.name, e.keep.flatten().nonzero().flatten().tolist()) for e in done.plan.entries]


def counts(done: Any) -> dict[str, list[int]]:
    """Parameters, multiplications and bytes, dense and smaller."""
    sides = (done.dense, done.reached)
    return {name: [getattr(side, name) for side in sides] for name in ("parameters", "macs", "bytes")}


def losses(done: Any) -> list[float]:
    return list(done.losses.values())


def analysis(done: Any) -> list[tuple[str, list[float]]]:
    """Of everything that was analysed how much of its norm it gave up at each strength, and the loss without its
    smallest groups.
    """
    return [(c.name, [r.shrunk for r in c.path] + [c.ablation_loss or 0.0]) for c in done.analysis.components]


def trimmed(model: Any, tokenizer: Any, pairs: Pairs) -> Any:
    """The model with only the tokens of some sentences."""
    return tprune.trim_vocabulary(model, tokenizer, tprune.Parallel(tuple(pairs[0]), tuple(pairs[1]), "pairs")).model


def save(done: Any, folder: Path, tokenizer: Any) -> None:
    tprune.save(done.model, folder, tokenizer, done.plan, done.certificate)


def load(folder: Path) -> Any:
    return tprune.load(folder)


def tprune_command(*arguments: object, text: str = "") -> str:
    """Standard output of a verb."""
    command = [sys.executable, "-m", "tprune", *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=580, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def export(folder: Path, out: Path, check: Path) -> None:
    tprune_command("export", folder, "--out", out, "--sentences", check)


def graphs(out: Path) -> list[bytes]:
    """The ONNX files of an exported folder, in the order of their sizes."""
    folders = (out, out / "onnx" / "dense", out / "onnx" / "pruned")  # of a run those of single precision
    return sorted((file.read_bytes() for folder in folders for file in folder.glob("*.onnx")), key=len)


def translations(out: Path, sentences: Sequence[str], beams: int) -> list[str]:
    text = "".join(f"{sentence}\n" for sentence in sentences)
    return tprune_command("translate", out, "--beam", beams, text=text).splitlines()


def demo(out: Path) -> dict[str, Any]:
    """A finished demo: counts and scores of both models, the plan's kept groups, the translations, both folders of
    weights.
    """
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    plan = tprune.Plan.from_json((out / "pruned" / "plan.json").read_text(encoding="utf-8"))
    said = json.loads((out / "translations.json").read_text(encoding="utf-8"))
    return {
        "counts": {k: [results[s][k] for s in ("dense", "pruned")] for k in ("parameters", "macs")}
        | {"bytes": [results[s]["bytes"] - _more_described(out / "onnx" / s) for s in ("dense", "pruned")]},
        "scores": [results[s]["scores"][k]["value"] for s in ("dense", "pruned") for k in ("BLEU", "chrF")],
        "kept": [(e.coupling.name, e.keep.flatten().nonzero().flatten().tolist()) for e in plan.entries],
        "translations": [said["dense"], said["pruned"]],
        "models": [out / "dense", out / "pruned"],
    }


def _more_described(folder: Path) -> int:
    """How many bytes more than the description of an exported folder had when the pins were made."""
    now = json.loads((folder / "layout.json").read_text(encoding="utf-8"))
    inputs = {spec["name"]: spec["dims"] for graph in now["graphs"] for spec in graph["inputs"]}
    layers: dict[str, list[dict[str, int]]] = {"cross": [], "past": []}
    for name, (_, heads, _, key) in ((n, d) for n, d in inputs.items() if "_key_" in n):
        kind, _, layer = name.split("_")
        value = inputs[name.replace("_key_", "_value_")][3]
        layers[kind].append({"layer": int(layer), "heads": heads, "key": key, "value": value})
    same = ("vocabulary", "source_positions", "parameters", "macs", "files", "rows", "runtime")
    then = {"format": 1, "generation": now["generation"], **layers, **{key: now[key] for key in same}}
    written = sum((folder / name).stat().st_size for name in ("layout.json", "certificate.json"))
    return written - len(json.dumps(then, indent=1)) - 1
