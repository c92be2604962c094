"""Models that are no part of transformers: a ResNet is cut in place, and loads again given its class."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.other_tasks import resnet as architecture
from benchmarks.other_tasks.resnet import Block, ResNet
from table_models import EXACT, inputs, outputs, table_model
from tprune.core.plan import Plan, make_plan
from tprune.core.sites import Site
from tprune.families.channels import Channels
from tprune.families.registry import couplings, family_of
from tprune.families.resnet import belongs
from tprune.families.table import Table
from tprune.realise.architectures import ARCHITECTURES
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.support.errors import InputError
from tprune.testing import check_coupling, random_kept, randomise_
from tprune.testing.common import apart


def pruned(model: Any) -> tuple[Plan, Any]:
    plan = random_kept(model, make_plan(model, "resnet", couplings(model)))
    return plan, shrink(model, plan)


def test_modules_know_their_sizes() -> None:
    model = table_model("resnet")
    _, small = pruned(model)
    block = small.layer2[0]
    assert (block.conv1.in_channels, block.conv1.out_channels) == (4, 4) and block.conv1.weight.shape == (4, 4, 3, 3)
    assert block.bn1.num_features == 4 and block.bn1.running_var.shape == (4,)
    assert (block.conv2.in_channels, block.conv2.out_channels) == (4, 8) and block.bn2.num_features == 8
    assert type(small) is ResNet and small is not model and model.layer2[0].conv1.out_channels == 8
    assert (small.layer2[0].bn1.running_mean != 0).all()


@torch.no_grad()
def test_training_goes_on_alike() -> None:
    """Batch statistics are those of the channels that are left; running ones follow."""
    model = table_model("resnet")
    plan, small = pruned(model)
    reference = masked(model, plan).train()
    assert apart(outputs(reference, inputs(model)), outputs(small.train(), inputs(model))) <= EXACT
    assert apart(outputs(reference.eval(), inputs(model)), outputs(small.eval(), inputs(model))) <= EXACT


def test_no_channels_left_is_refused() -> None:
    model = table_model("resnet")
    plan = make_plan(model, "resnet", couplings(model)[:1])
    with pytest.raises(InputError, match=r"layer1\.0: no channels are left; keep at least one"):
        shrink(model, plan.with_kept({"layer1.0.channels": torch.zeros(4).bool()}, {}, {}))


# --- files ---

READ = """
import sys, torch
sys.modules["tprune"] = None  # importing it fails
torch.set_num_threads(1)
folder = sys.argv[1]
sys.path.insert(0, folder)
from modeling_pruned import load_pruned
from resnet import ResNet
model = load_pruned(ResNet, folder)
torch.save(model(torch.load(folder + ".in")), folder + ".out")
"""


@pytest.mark.slow
def test_a_fresh_process_without_tprune_reads_it(tmp_path: Path) -> None:
    _, small = pruned(table_model("resnet").float())
    folder = save(small, tmp_path / "m")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "modeling_pruned.py"}
    shutil.copy(architecture.__file__, folder)
    pixels = inputs(small)["pixel_values"]
    torch.save(pixels, f"{folder}.in")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-c", READ, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert torch.equal(torch.load(f"{folder}.out"), small(pixels))


def test_files_are_those_of_the_hub_mixin(tmp_path: Path) -> None:
    model = table_model("resnet").float()
    folder = save(model, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    assert config == {"blocks": 2, "width": 4, "classes": 10, "architectures": ["ResNet"]}
    again = ResNet.from_pretrained(str(folder))
    assert torch.equal(outputs(again), outputs(model))


class Plain(ResNet):
    """Knows not what it was called with."""

    def __init__(self, width: int) -> None:
        nn.Module.__init__(self)
        ResNet.__init__(self, 1, width)
        self._hub_mixin_config = None


def test_what_a_class_is_called_with_can_be_said(tmp_path: Path) -> None:
    _, small = pruned(Plain(4).eval())
    folder = save(small, tmp_path / "m")

    def made() -> Plain:
        return Plain(4)

    again = load(folder, architecture=made)
    x = torch.randn(1, 3, 8, 8)
    assert torch.equal(again(x), small(x)) and again.layer1[0].conv1.out_channels == 2
    with pytest.raises(InputError, match="cannot be loaded"):
        load(folder, architecture=Plain)


class Tied(ResNet):
    """Two blocks with the same second convolution."""

    def __init__(self, blocks: int = 3, width: int = 16, classes: int = 10) -> None:
        super().__init__(blocks, width, classes)
        self.layer1[1].conv2.weight = self.layer1[0].conv2.weight


def test_precision_and_ties_come_back(tmp_path: Path) -> None:
    model = Tied(2, 4).double().eval()
    pair = couplings(model)[:2]
    kept = {c.name: torch.tensor([True, False, True, True]) for c in pair}
    small = shrink(model, make_plan(model, "resnet", pair).with_kept(kept, {}, {}))
    assert small.layer1[1].conv2.weight is small.layer1[0].conv2.weight
    again = load(save(small, tmp_path / "m"), architecture=Tied)
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    assert again.linear.weight.dtype == torch.float64 and torch.equal(again(x), small(x))
    assert again.layer1[1].conv2.weight is again.layer1[0].conv2.weight
    narrow = load(tmp_path / "m", architecture=Tied, dtype=torch.float32)
    assert narrow.linear.weight.dtype == torch.float32


def test_a_class_that_is_not_given_or_another_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ARCHITECTURES, "entered", {})
    folder = save(table_model("resnet").float(), tmp_path / "m")
    with pytest.raises(InputError, match=r"class 'ResNet'.* give the class: load\(path, architecture=ResNet\)"):
        load(folder)
    with pytest.raises(InputError, match=r"holds a model of class \['ResNet'\]; got the class Block"):
        load(folder, architecture=Block)
    with pytest.raises(InputError, match="no such directory"):
        load("some/model", architecture=ResNet)


# --- which models belong, and mistakes in a table ---


class PreActivation(nn.Module):
    """Its norms are of what its convolutions read."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)
        self.bn2, self.conv2 = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3)


class Bottleneck(Block):
    def __init__(self) -> None:
        super().__init__(4, 4, 1)
        self.conv3 = nn.Conv2d(4, 4, 1)


@pytest.mark.parametrize("block", [PreActivation, Bottleneck])
def test_other_blocks_do_not_belong(block: Callable[[], nn.Module]) -> None:
    model = ResNet(2, 4)
    assert belongs(model) and family_of(model).name == "resnet"
    model.layer2[1] = block()
    assert not belongs(model)
    with pytest.raises(InputError, match="of no supported family"):
        couplings(model)
    assert not belongs(nn.Linear(2, 2))


class Separable(nn.Module):
    """A depthwise convolution between two others, and a linear map of what is flattened; two producers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 6, 1)
        self.depthwise, self.norm = nn.Conv2d(6, 6, 3, groups=6), nn.BatchNorm2d(6)
        self.last = nn.Linear(6 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.depthwise((self.first(x) + self.second(x)).sigmoid()))
        return self.last(y.sigmoid().flatten(1))


ROW = Channels(Site("", 0, "channels"), "", ("first", "second"), ("depthwise", "norm"), ("last",))


@torch.no_grad()
def test_depthwise_convolutions_and_flattening_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("separable", lambda model: isinstance(model, Separable), lambda model: [ROW])
    monkeypatch.setattr("tprune.realise.cut.family_of", lambda model: table)
    model = Separable().double().eval()
    randomise_(model)
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    (coupling,) = table.couplings(model)
    plan = random_kept(model, make_plan(model, "separable", [coupling]))
    small = shrink(model, plan)
    expected = masked(model, plan)(x)
    assert apart(expected, small(x)) <= EXACT and apart(model(x), expected) > 1e-3
    assert small.depthwise.groups == small.depthwise.in_channels == small.depthwise.out_channels == 3
    assert small.last.in_features == 3 * 16


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"consumers": ("layer1.0.conv1",)},
            r"layer2\.0: .*conv1\.weight has shape 4 x 4 x 3 x 3; its row expects any x 8",
        ),
        ({"through": ("layer1.0.bn1",)}, r"bn1\.weight has shape 4; its row expects 8"),
        ({"producers": ("layer2.0.bn1",)}, "is a BatchNorm2d; expected Conv1d or"),
        ({"through": ("layer2.0.conv2",)}, r"conv2\.weight has shape 8 x 8 x 3 x 3; its row expects 8 x 1"),
    ],
)
def test_rows_that_do_not_fit_are_named(changes: dict[str, Any], says: str) -> None:
    block = "layer2.0"
    names = {"producers": (f"{block}.conv1",), "through": (f"{block}.bn1",), "consumers": (f"{block}.conv2",)}
    row = Channels(Site("layer2", 0, "channels"), block, **(names | changes))
    with pytest.raises(InputError, match=says):
        Table("resnet", belongs, lambda model: [row]).couplings(table_model("resnet"))


def test_groups_of_channels_are_refused() -> None:
    model = table_model("resnet")
    model.layer1[0].conv1 = nn.Conv2d(4, 4, 3, groups=2)
    with pytest.raises(InputError, match=r"layer1\.0\.conv1 has 2 groups of channels; its row expects 1"):
        couplings(model)


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("bn1.bias", r"bn1\.bias has shape 4; its row expects 2"),
        ("bn1.running_mean", r"bn1\.running_mean has shape 4; its row expects 2"),
        ("conv2.weight", r"conv2\.weight has shape 4 x 4 x 3 x 3; its row expects any x 2 x any x any"),
    ],
)
@torch.no_grad()
def test_a_coupling_without_a_member_is_not_cut(lost: str, says: str) -> None:
    model = table_model("resnet")
    coupling = couplings(model)[0]
    broken = replace(coupling, views=tuple(view for view in coupling.views if not view.param.endswith(lost)))
    plan = random_kept(model, make_plan(model, "resnet", [broken]))
    with pytest.raises(InputError, match=says):
        shrink(model, plan)
    if lost == "bn1.bias":
        with pytest.raises(AssertionError, match="still read"):
            check_coupling(model, broken, outputs)


def test_a_trained_model() -> None:
    if "TPRUNE_MODELS" not in os.environ:
        pytest.skip("TPRUNE_MODELS names no folder")
    model = ResNet().eval()
    state = load_file(Path(os.environ["TPRUNE_MODELS"], "resnet_cifar10", "resnet20.safetensors"))
    model.load_state_dict(state)
    plan, small = pruned(model)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert apart(masked(model, plan)(x), small(x)) < 1e-5
    assert sum(p.numel() for p in small.parameters()) < 0.7 * sum(p.numel() for p in model.parameters())
