"""Families that read one sequence and write or label another: the small model is the masked one, and comes back."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sequence_models import HEADS, LIMITS, MODELS, inputs, outputs, sequence_model, written
from tprune.core.plan import Plan, make_plan
from tprune.families.registry import couplings, family_of
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.testing import check_coupling, random_kept
from tprune.testing.common import apart

BARE = ("t5-bare", "bart-bare", "mbart-bare", "pegasus-bare")  # dense ones come back as models that write


def limit(model: Any) -> float:
    return LIMITS.get(family_of(model).name, 1e-10)


def kinds_of(model: Any) -> list[str]:
    return list(dict.fromkeys(coupling.kind for coupling in couplings(model)))


def plan_of(model: Any, kinds: Sequence[str], seed: int = 0) -> Plan:
    return random_kept(model, make_plan(model, family_of(model).name, couplings(model, kinds)), seed=seed)


@torch.no_grad()
def assert_exact(model: Any, kinds: Sequence[str], seed: int = 0, within: float | None = None) -> tuple[Any, Any]:
    """Masked and shrunk agree, both differ from the dense model, and something has become smaller."""
    plan = plan_of(model, kinds, seed)
    small, reference = shrink(model, plan), masked(model, plan)
    expected = outputs(reference)
    assert apart(outputs(model), expected) > 1e-3
    assert apart(expected, outputs(small)) <= (limit(model) if within is None else within), kinds
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    return small, reference


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_couplings_are_closed(name: str) -> None:
    model = sequence_model(name)
    found = {(one.kind, one.site and (one.site.stack, one.site.block)): one for one in couplings(model) if one.closed}
    for coupling in found.values():  # one a stack and kind of block; all of them below
        check_coupling(model, coupling, outputs, silent=coupling.kind != "width")


@pytest.mark.parametrize("name", MODELS)
def test_masked_is_shrunk(name: str) -> None:
    model = sequence_model(name)
    kinds = kinds_of(model)
    for chosen in (*([kind] for kind in kinds if kind != "lines"), kinds):
        small, reference = assert_exact(model, chosen)
    if model.can_generate():
        assert torch.equal(written(small), written(reference))


@pytest.mark.parametrize("name", MODELS)
def test_eager_attention_and_pruned_again(name: str) -> None:
    model = sequence_model(name)
    model.set_attn_implementation("eager")
    kinds = [kind for kind in kinds_of(model) if kind != "lines"]  # of a gathered matrix nothing more can be cut
    once, _ = assert_exact(model, kinds, seed=1)
    assert once.config._attn_implementation == "eager"
    assert_exact(once, [kind for kind in kinds if kind in kinds_of(once)], seed=3)


@pytest.mark.parametrize("name", [*MODELS, *(pytest.param(name, marks=pytest.mark.slow) for name in HEADS)])
def test_pruned_and_dense_models_come_back(name: str, tmp_path: Path) -> None:
    model = sequence_model(name)
    small, _ = assert_exact(model, kinds_of(model), seed=2)
    for one in (small.float(),) if name in BARE else (model.float(), small.float()):
        again: Any = load(save(one, tmp_path / "m"))
        assert type(again) is type(one) and torch.equal(outputs(again), outputs(one))


# --- all of it, for every head ---


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MODELS, *HEADS])
def test_every_coupling_and_kind(name: str) -> None:
    model = sequence_model(name, seed=1)
    for coupling in (one for one in couplings(model) if one.closed):
        check_coupling(model, coupling, outputs, silent=coupling.kind != "width")
    for chosen in (*([kind] for kind in kinds_of(model)), kinds_of(model)):
        small, reference = assert_exact(model, chosen, seed=1)
    if model.can_generate():
        assert torch.equal(written(small, num_beams=2), written(reference, num_beams=2))
    if name in HEADS:
        model.set_attn_implementation("eager")
        assert_exact(model, kinds_of(model))


READ = """
import sys, torch
sys.modules["tprune"] = None  # importing it fails
import transformers
torch.set_num_threads(1)
for folder, auto in zip(sys.argv[1::2], sys.argv[2::2]):
    model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned memory, as in the saving process
    batch = torch.load(folder + ".in")
    said = model.generate(**batch, max_new_tokens=8, do_sample=False) if model.can_generate() else model(**batch)[0]
    torch.save((model.state_dict(), said.detach()), folder + ".out")
"""
AUTO = {
    "t5": "AutoModelForSeq2SeqLM",
    "flan-t5": "AutoModelForSeq2SeqLM",
    "mt5-encoder": "AutoModelForTextEncoding",
    "m2m_100": "AutoModelForSeq2SeqLM",
    "whisper": "AutoModelForSpeechSeq2Seq",
    "wav2vec2": "AutoModelForCTC",
}


@pytest.mark.slow
@torch.no_grad()
def test_a_fresh_process_without_tprune_reads_it(tmp_path: Path) -> None:
    small = {}
    for name in AUTO:
        model = sequence_model(name).float()
        small[name] = shrink(model, plan_of(model, kinds_of(model)))
        save(small[name], tmp_path / name)
        torch.save(inputs(model), tmp_path / f"{name}.in")
    given = [text for name, auto in AUTO.items() for text in (str(tmp_path / name), auto)]
    environment = {"HF_MODULES_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""}
    command = [sys.executable, "-c", READ, *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, one in small.items():
        state, found = torch.load(tmp_path / f"{name}.out")
        assert all(torch.equal(state[key], value) for key, value in one.state_dict().items())
        batch = inputs(one)
        expected: Tensor = (
            one.generate(**batch, max_new_tokens=8, do_sample=False) if one.can_generate() else one(**batch)[0]
        )
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
