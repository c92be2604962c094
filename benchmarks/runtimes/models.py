"""The models that are timed: folders of dense and pruned ones, with sentences where they translate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

import tprune
from tprune.core.model import Model
from tprune.data.parallel import read_pair
from tprune.realise.checkpoint import save
from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer
from tprune.vocabulary.trim import writable, write_only_

WORDS = 25  # tokens that models of random weights write
LARGE = MarianSize(d_model=512, layers=(6, 6), heads=8, ffn=2048, positions=128)


@dataclass(frozen=True)
class Case:
    """A dense model and what became of it.

    Attributes:
        name: of the model.
        dense: its folder.
        pruned: folders by what was asked for.
        sentences: that are translated.
    """

    name: str
    dense: Path
    pruned: dict[str, Path]
    sentences: tuple[str, ...]


def large(data: Path, out: Path) -> Case:
    """A Marian of 512 dimensions and 6 + 6 layers with random weights, whole and with half of its heads and units.

    Its vocabulary has 8,000 tokens, and it writes those alone that occur in German texts, as the smaller one does; all
    write as many tokens, so that their time differs by their size.

    Args:
        data: the folder of Multi30k.
        out: where the models are written, unless they are there.
    """
    pairs = read_pair(data / "train.en.gz", data / "train.de.gz")
    valid = read_pair(data / "val.en.gz", data / "val.de.gz")
    folders = {name: out / name for name in ("dense", "half")}
    if not all((folder / "config.json").exists() for folder in folders.values()):
        torch.manual_seed(0)
        tokenizer = train_tokenizer([*pairs.source, *pairs.target], vocabulary=8000, max_length=128)
        dense = new_model(LARGE, len(tokenizer)).eval()
        dense.generation_config.update(min_new_tokens=WORDS, max_new_tokens=WORDS, num_beams=4)
        write_only_(dense, writable(dense, tokenizer, pairs.target))
        for name, model in {"dense": dense, "half": half(dense)}.items():
            save(model, folders[name], tokenizer)
    return Case("d512", folders["dense"], {"half": folders["half"]}, valid.source)


def half(model: Model) -> Model:
    """Half of the heads of every attention and half of the hidden units of every block."""
    found = tprune.couplings(model, ["heads", "ffn"])
    plan = tprune.make_plan(model, "marian", found)
    scores = {one.name: groups.norms.detach() for one, groups in zip(found, plan.bind(model), strict=True)}
    kinds = {one.name: one.kind for one in found}
    return tprune.shrink(model, plan.with_kept(tprune.Uniform()(scores, kinds, 0.5), {}, {}))
