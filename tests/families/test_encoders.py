"""Encoders under every head that transformers has for them: the small model is the masked one, and comes back."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from encoders import EACH, FIRST, OTHERS, chosen, encoder, given, kinds_of, limit, said

from tprune.core.plan import Plan
from tprune.families.registry import couplings
from tprune.realise.checkpoint import load, save
from tprune.realise.mask import masked
from tprune.realise.shrink import shrink
from tprune.testing import check_coupling
from tprune.testing.common import apart


@torch.no_grad()
def assert_exact(model: Any, plan: Plan, within: float) -> Any:
    small, reference = shrink(model, plan), masked(model, plan)
    dense, expected = said(model), said(reference)
    assert dense.shape != expected.shape or apart(dense, expected) > 1e-3
    assert apart(expected, said(small)) <= within
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    return small


@torch.no_grad()
def check(name: str, folder: Path) -> None:
    """One coupling of each kind is perturbed; all kinds are cut together; the small model comes back from disk."""
    model = encoder(name)
    last = {coupling.kind: coupling for coupling in couplings(model) if coupling.closed}
    assert "width" in last
    for kind, coupling in last.items():
        check_coupling(model, coupling, said, silent=kind not in ("width", "embedding"))
    small = assert_exact(model, chosen(model, [kind for kind in kinds_of(model) if kind != "lines"]), limit(name))
    again = load(save(small, folder / "m"))
    assert type(again) is type(small) and torch.equal(said(again), said(small))


@pytest.mark.parametrize("name", FIRST)
def test_one_head_of_each_family(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_heads(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST)
@torch.no_grad()
def test_every_kind_by_itself(name: str) -> None:
    model, within = encoder(name, 1), limit(name)
    for coupling in (one for one in couplings(model) if one.closed):
        check_coupling(model, coupling, said, silent=coupling.kind not in ("width", "embedding"))
    for kind in kinds_of(model):
        plans = (chosen(model, [kind], seed) for seed in range(1, 9))
        assert_exact(model, next(plan for plan in plans if not all(e.keep.all() for e in plan.entries)), within)
    kinds = [kind for kind in kinds_of(model) if kind != "lines"]
    once: Any = shrink(model, chosen(model, kinds, seed=2))
    assert_exact(once, chosen(once, [kind for kind in kinds if kind in kinds_of(once)], seed=3), within)
    model.set_attn_implementation("eager")
    small = assert_exact(model, chosen(model), limit(name, eager=True))
    assert small.config._attn_implementation == "eager"


READ = """
import sys, torch
sys.modules["tprune"] = None  # importing it fails
import transformers
torch.set_num_threads(1)
for folder, auto in zip(sys.argv[1::2], sys.argv[2::2]):
    model = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True).eval()
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()  # aligned memory, as in the saving process
    torch.save((type(model).__name__, model(**torch.load(folder + ".in"))[0]), folder + ".out")
"""


@pytest.mark.slow
@torch.no_grad()
def test_a_fresh_process_without_tprune_reads_them(tmp_path: Path) -> None:
    names = [f"{name}{heads[1]}" for name, heads in EACH.items()]
    expected, arguments = {}, list[str]()
    for name in names:
        model = encoder(name).float()
        small: Any = shrink(model, chosen(model))
        folder = save(small, tmp_path / name)
        batch = {key: x.float() if x.is_floating_point() else x for key, x in given(model).items()}
        torch.save(batch, f"{folder}.in")
        expected[name] = type(small).__name__, small(**batch)[0]
        arguments += [str(folder), next(iter(small.config.auto_map.keys() - {"AutoConfig"}))]
    environment = {"HF_MODULES_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""}
    command = [sys.executable, "-c", READ, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    for name, (kind, result) in expected.items():
        found = torch.load(tmp_path / f"{name}.out")
        assert found[0] == kind and torch.equal(found[1], result), name
