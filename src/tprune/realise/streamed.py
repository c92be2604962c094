"""The cut of a checkpoint that is never loaded whole: one tensor at a time, from its files into those of the result."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.core.cuts import Cuts, cuts_of
from tprune.core.plan import Plan
from tprune.families.registry import family_of
from tprune.realise.cut import gathered_indices, kept_heads
from tprune.realise.on_paper import on_paper
from tprune.realise.shards import INDEX, WHOLE, Shards
from tprune.support.errors import InputError
from tprune.support.files import atomic_directory, write_json

OURS = ("config.json", "generation_config.json", "plan.json", "plan.safetensors", "certificate.json")
WEIGHTS = (".safetensors", ".bin", ".onnx", ".gguf", ".h5", ".msgpack", ".index.json", ".py")


def cut_checkpoint(folder: str | Path, out: str | Path, plan: Plan) -> Path:
    """Writes the checkpoint that a plan leaves of another one, shard by shard, without loading either.

    The result has as many files as the checkpoint, and everything else that lies beside its weights (tokeniser, say).
    In memory are at any time the tensors of one file of the result, and one tensor of the checkpoint. No certificate is
    made, because nothing is computed; `tprune.certify` makes one where both models fit into memory.

    Args:
        folder: a Hugging Face checkpoint in safetensors, whole or in shards.
        out: the new one; an older model there is replaced once all is written.
        plan: for the checkpoint's model, after selection.

    Returns:
        The new folder.

    Raises:
        InputError: no such checkpoint, one whose tensors are not those of its class, or a plan for another model.
    """
    folder, out = Path(folder), Path(out)
    if out.is_dir() and any(out.iterdir()) and not (out / "config.json").exists():
        raise InputError(f"{out} exists and holds no model; it will not be replaced")
    shards = Shards.of(folder)
    model = on_paper(folder, shards)
    family, cuts, heads = family_of(model), cuts_of(model, plan), kept_heads(plan)
    with torch.device("meta"):
        small = family.build(model, cuts, heads, False)
    family.inherit(model, small)
    small.to(dtype=next(model.parameters()).dtype)
    computed = {**family.computed_tensors(model, cuts), **gathered_indices(cuts)}
    with atomic_directory(out) as work:
        written = _weights(shards, cuts, computed, work, small.state_dict(keep_vars=True))
        _check_all(small, written, folder)
        _description(small, work)
        _index(written, work)
        _companions(folder, work)
        plan.save(work / "plan.json")
    return out


def _weights(
    shards: Shards, cuts: Cuts, computed: Mapping[str, Tensor], work: Path, expected: Mapping[str, Tensor]
) -> dict[str, tuple[str, int]]:
    """Writes the files; which of them has which tensor, and its bytes. Raises `InputError` for another shape."""
    written: dict[str, tuple[str, int]] = {}
    files = list(shards.names)
    for file in files:
        tensors = {} if file != files[-1] else {n: t for n, t in computed.items() if n not in set(shards.all_names())}
        for name, tensor in shards.tensors(file):
            if name in expected:
                tensors[name] = computed[name] if name in computed else cuts.slice(name, tensor)
        for name, tensor in tensors.items():
            if tuple(tensor.shape) != tuple(expected[name].shape):
                raise InputError(
                    f"{name}: the cut leaves {tuple(tensor.shape)}, the smaller model has {tuple(expected[name].shape)}"
                )
            written[name] = (file, tensor.numel() * tensor.element_size())
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, work / file, {"format": "pt"})
    return written


def _check_all(small: nn.Module, written: Mapping[str, object], folder: Path) -> None:
    """Raises `InputError` for a tensor of the smaller model that no file has; tied ones need one name."""
    state = small.state_dict(keep_vars=True)
    held = {id(state[name]) for name in written}
    if lost := sorted(name for name, tensor in state.items() if id(tensor) not in held):
        raise InputError(f"{folder}: nothing becomes {lost[0]} of the smaller model")


def _description(small: nn.Module, work: Path) -> None:
    """Configuration, generation settings and our code, as the class writes them."""
    scratch = work / ".described"
    cast(PreTrainedModel, small).save_pretrained(scratch, state_dict={})
    for path in scratch.iterdir():
        if path.suffix in (".json", ".py") and not path.name.endswith(".index.json"):
            path.rename(work / path.name)
    shutil.rmtree(scratch)


def _index(written: Mapping[str, tuple[str, int]], work: Path) -> None:
    """The index of several files; one file needs none."""
    if {file for file, _ in written.values()} == {WHOLE}:
        return
    total = sum(size for _, size in written.values())
    weights: dict[str, Any] = {name: file for name, (file, _) in sorted(written.items())}
    write_json(work / INDEX, {"metadata": {"total_size": total}, "weight_map": weights})


def _companions(folder: Path, work: Path) -> None:
    """What lies beside the weights and is no part of the model: tokeniser, preprocessing, licences."""
    for path in sorted(folder.iterdir()):
        known = path.name in OURS or path.name.endswith(WEIGHTS) or path.name.startswith(".")
        if path.is_file() and not known:
            shutil.copyfile(path, work / path.name)
