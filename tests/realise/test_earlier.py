"""Folders of earlier versions, in which `config.pruned` said sizes part by part, load as what they were."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import MarianMTModel

from small_models import small_batch, small_model
from tprune.core.coupling import tensors_of
from tprune.core.plan import make_plan
from tprune.families.modeling.modeling_pruned import Gathered, Nothing
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, save
from tprune.realise.earlier import converted
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import random_kept

EARLIER: dict[str, Any] = {
    "attention": {
        "model.encoder.layers.0.self_attn": {"heads": 3, "qk": 2, "v": 4},
        "model.decoder.layers.1.encoder_attn": {"heads": 0, "qk": 0, "v": 0},
    },
    "ffn": {"model.encoder.layers.0": 7, "model.decoder.layers.2": 0},
    "removed": ["model.decoder.layers.0.self_attn", "model.encoder.layers.1.ffn"],
}


def earlier(small: Any) -> dict[str, Any]:
    """What earlier versions wrote of a pruned model: read off its modules."""
    found: dict[str, Any] = {"attention": {}, "ffn": {}, "removed": [], "gather": {}}
    for name, module in small.named_modules():
        last = name.rpartition(".")[2]
        if last in ("self_attn", "encoder_attn"):
            if isinstance(module, Nothing):
                gone = {"heads": 0, "qk": 0, "v": 0}
                found["removed"] += [name] if module.output is None else []
                found["attention"] |= {name: gone} if module.output is not None else {}
            else:
                q, v = (len(tensors_of(module)[f"{which}_proj.bias"]) for which in "qv")
                heads = module.num_heads
                found["attention"][name] = {"heads": heads, "qk": q // heads, "v": v // heads}
        if last == "fc1" and isinstance(module, Nothing):
            layer = name.removesuffix(".fc1")
            if isinstance(small.get_submodule(f"{layer}.fc2"), Nothing):
                found["removed"].append(f"{layer}.ffn")
            else:
                found["ffn"][layer] = 0
        elif last == "fc1":
            found["ffn"][name.removesuffix(".fc1")] = len(module.bias)
        if isinstance(module, Gathered):
            used = {"in": module.input_index, "out": module.output_index}
            rows, columns = module.weight.shape
            found["gather"][name] = {s: {"in": columns, "out": rows}[s] for s, i in used.items() if i is not None}
    width = small.lm_head.in_features
    return found | ({"width": width} if width != small.config.d_model else {})


def as_earlier(folder: Path, pruned: dict[str, Any]) -> None:
    """Makes a folder one of earlier versions; their code, which was beside the weights, is not needed."""
    config = json.loads((folder / "config.json").read_text())
    config["pruned"] = pruned
    config["auto_map"] = {key: name.replace("_pruned.", "_tprune.") for key, name in config["auto_map"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_pruned.py").unlink()


@pytest.mark.parametrize("name", ["marian", "marian_untied", "bart", "bart_untied"])
@pytest.mark.parametrize(
    "kinds", [("ffn", "heads", "qk", "vo", "sublayer", "width", "lines"), ("ffn", "heads", "sublayer"), ("lines",)]
)
def test_a_folder_of_an_earlier_version_loads(name: str, kinds: tuple[str, ...], tmp_path: Path) -> None:
    model = small_model(name).float()
    small: Any = shrink(model, random_kept(model, make_plan(model, name.split("_")[0], couplings(model, kinds))))
    as_earlier(save(small, tmp_path / "m"), earlier(small))
    again = load(tmp_path / "m")
    before, after = tensors_of(small), tensors_of(again)
    assert before.keys() == after.keys() and all(torch.equal(before[n], after[n]) for n in before)
    assert torch.equal(again(**small_batch()).logits, small(**small_batch()).logits)
    assert again.config.pruned == small.config.pruned
    save(again, tmp_path / "today")
    assert (tmp_path / "today" / "modeling_pruned.py").exists()
    assert torch.equal(load(tmp_path / "today")(**small_batch()).logits, small(**small_batch()).logits)


def test_what_earlier_versions_wrote_means_what_it_did() -> None:
    model = small_model("marian")
    config = {key: value for key, value in model.config.to_dict().items() if key != "model_type"}
    wide, narrow = (converted(MarianMTModel, config, EARLIER | more) for more in ({}, {"width": 10}))
    layer = "model.encoder.layers.0"
    assert wide["values"] == {f"{layer}.self_attn": [3, 3, 2, 4]}
    assert wide["tensors"][f"{layer}.self_attn.q_proj.weight"] == [6, None]
    assert wide["tensors"][f"{layer}.fc2.weight"] == [None, 7]
    assert narrow["tensors"][f"{layer}.fc2.weight"] == [10, 7]
    assert narrow["tensors"]["lm_head.weight"] == [None, 10]
    output = {"kind": "nothing", "returns": 2, "output": "out_proj"}
    assert wide["replaced"] == {
        "model.decoder.layers.0.self_attn": {"kind": "nothing", "returns": 2},
        "model.decoder.layers.1.encoder_attn": output,
        "model.encoder.layers.1.fc1": {"kind": "nothing", "returns": 1},
        "model.encoder.layers.1.fc2": {"kind": "nothing"},
        "model.decoder.layers.2.fc1": {"kind": "nothing", "returns": 1},
        "model.decoder.layers.2.fc2": {"kind": "constant"},
    }


@pytest.mark.parametrize("pruned", [{"width": 9}, {"ffn": {"model.nowhere": 3}}, {"attention": {"lm_head": 2}}])
def test_sizes_that_are_not_those_of_the_weights_are_refused(pruned: dict[str, Any], tmp_path: Path) -> None:
    model = small_model("bart").float()
    plan = make_plan(model, "bart", couplings(model, ["width"])).with_kept({"width": torch.arange(16) < 10}, {}, {})
    small: nn.Module = shrink(model, plan)
    as_earlier(save(small, tmp_path / "m"), {"width": 10})
    shutil.copytree(tmp_path / "m", tmp_path / "n")
    load(tmp_path / "m")
    as_config = json.loads((tmp_path / "n" / "config.json").read_text()) | {"pruned": pruned}
    (tmp_path / "n" / "config.json").write_text(json.dumps(as_config))
    with pytest.raises(InputError, match=r"n: (cannot be loaded|the weights do not fit)"):
        load(tmp_path / "n")
