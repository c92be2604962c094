"""Plans in files: small ones whole in JSON, large ones with their masks in safetensors beside it; what damage says."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save
from torch import nn

from tprune.core import plan_files
from tprune.core.coupling import Coupling, producer
from tprune.core.plan import Plan, make_plan
from tprune.support.errors import InputError

WEIGHTS = Coupling("weights", (producer("weight", "o i -> o i"),), kind="lines")
ROWS = Coupling("rows", (producer("weight", "o i -> o"),), kind="lines")


def plan_of(size: int, share: float = 0.5) -> Plan:
    """Half of the single weights of a square matrix are kept; of its rows nothing is said."""
    model = nn.Linear(size, size)
    keep = torch.rand(size, size, generator=torch.Generator().manual_seed(0)) < share
    return make_plan(model, "linear", [WEIGHTS, ROWS]).with_kept({"weights": keep}, {"macs": 2.0}, {"macs": 1.0})


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return plan_of(200).save(tmp_path / "large.json")


def test_a_small_plan_is_one_readable_file(tmp_path: Path) -> None:
    plan = plan_of(8)
    path = plan.save(tmp_path / "plan.json")
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]
    assert path.read_text() == plan.to_json() and Plan.load(path) == plan


def test_a_large_plan_has_its_masks_beside_it(large: Path) -> None:
    plan, beside = plan_of(200), large.with_name("large.safetensors")
    assert sorted(file.name for file in large.parent.iterdir()) == ["large.json", "large.safetensors"]
    masks = load_file(beside)
    assert list(masks) == ["weights"] and torch.equal(masks["weights"], plan.entries[0].keep)
    data = json.loads(large.read_text())
    assert data["tensors"] == {"file": "large.safetensors", "sha256": sha256(beside.read_bytes()).hexdigest()}
    assert [entry["kept"] for entry in data["entries"]] == ["tensor", None]
    assert len(large.read_bytes()) < 2000 < len(plan.to_json())
    assert Plan.load(large) == plan


def test_the_limit_counts_the_kept_groups_of_all_couplings(tmp_path: Path) -> None:
    plan = plan_of(8)
    count = len(plan.entries[0].kept or ())
    for limit, files in ((count, 1), (count - 1, 2)):
        written = plan_files.write(plan._content, tmp_path / "plan.json", limit)
        assert len(written) == files == len(list(tmp_path.iterdir())) and Plan.load(tmp_path) == plan
    plan.save(tmp_path / "plan.json")  # the masks of a larger plan that was here go
    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]


@settings(max_examples=25, deadline=None)
@given(st.sets(st.integers(0, 8)), st.none() | st.sets(st.integers(0, 2)))
def test_both_forms_round_trip(
    tmp_path_factory: pytest.TempPathFactory, cells: set[int], rows: set[int] | None
) -> None:
    bare = make_plan(nn.Linear(3, 3), "linear", [WEIGHTS, ROWS], strengths=0.5)
    kept = [tuple(sorted(cells)), None if rows is None else tuple(sorted(rows))]
    plan = replace(bare, entries=tuple(replace(e, kept=k) for e, k in zip(bare.entries, kept, strict=True)))
    folder = tmp_path_factory.mktemp("plans")
    for limit in (-1, 100):
        plan_files.write(plan._content, folder / "plan.json", limit)
        assert (folder / "plan.safetensors").exists() == (limit < 0)
        assert Plan.load(folder / "plan.json") == Plan.load(folder) == plan


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        Plan.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_masks_are_named(large: Path) -> None:
    beside = large.with_name("large.safetensors")
    beside.unlink()
    assert f"{beside}: cannot be read" in refused(large) and "large.json" in refused(large)


def test_damaged_masks_and_those_of_another_plan_are_named(large: Path) -> None:
    beside = large.with_name("large.safetensors")
    whole = beside.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])  # a mask that is still a mask
    for damaged in (flipped, whole[:100], b""):
        beside.write_bytes(damaged)
        assert f"{beside}: damaged, or of another plan" in refused(large)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"nonsense", "large.safetensors: damaged"),
        (save({"weights": torch.ones(200, 200)}), "weights is torch.float32; expected a mask of torch.bool"),
        (
            save({"rows": torch.ones(200, dtype=torch.bool)}),
            "coupling weights: the file of tensors holds nothing of it",
        ),
        (
            save({"weights": torch.ones(3, dtype=torch.bool)}),
            "coupling weights: its mask has shape (3,); expected (200, 200)",
        ),
    ],
)
def test_wrong_masks_are_refused(large: Path, content: bytes, says: str) -> None:
    large.with_name("large.safetensors").write_bytes(content)
    data = json.loads(large.read_text())
    data["tensors"]["sha256"] = sha256(content).hexdigest()
    large.write_text(json.dumps(data))
    assert says in refused(large)


@pytest.mark.parametrize("tensors", [{}, None, 3, {"file": "../plan.safetensors", "sha256": "0"}, {"file": "a"}])
def test_what_names_no_file_beside_it_is_refused(large: Path, tensors: object) -> None:
    large.write_text(json.dumps(json.loads(large.read_text()) | {"tensors": tensors}))
    assert "expected the name of a file beside it, and its sha256" in refused(large)


def test_the_text_alone_of_a_large_plan_is_no_plan(large: Path) -> None:
    with pytest.raises(InputError, match=r"read both with Plan\.load"):
        Plan.from_json(large.read_text())
    assert Plan.from_json(plan_of(200).to_json()) == plan_of(200)  # its own text holds everything


def test_couplings_of_one_name_and_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    plan = plan_of(200)
    twice = replace(plan, entries=(plan.entries[0], plan.entries[0]))
    with pytest.raises(InputError, match="two couplings of the plan have one name"):
        twice.save(tmp_path / "plan.json")
    with pytest.raises(InputError, match=r"nowhere.plan\.json: cannot be written"):
        plan.save(tmp_path / "nowhere" / "plan.json")
