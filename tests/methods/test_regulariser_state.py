"""What a Trainer's checkpoint keeps of a regulariser: tensors in safetensors beside its JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from small_net import UNITS, Net, StopAt, assert_same, plan_of, state, trainer_for
from tprune.core.plan import Mode, make_plan
from tprune.methods.gradual_magnitude import GradualMagnitude
from tprune.methods.regulariser import Regulariser
from tprune.methods.regulariser_state import described, pack, states_in, write
from tprune.support.errors import InputError

METHOD = GradualMagnitude(share=0.5, begin=1, over=3, every=1)
dtypes = st.sampled_from([torch.bool, torch.float64, torch.int64, torch.bfloat16])
tensors = st.builds(lambda shape, dtype: torch.ones(shape).to(dtype), st.lists(st.integers(0, 3), max_size=2), dtypes)
states = st.lists(st.dictionaries(st.sampled_from(["keep", "a/b", "u"]), tensors, max_size=2), max_size=3)


@settings(max_examples=30, deadline=None)
@given(states)
def test_states_round_trip_through_a_file(tmp_path_factory: pytest.TempPathFactory, given_: list[Any]) -> None:
    folder, packed = tmp_path_factory.mktemp("checkpoint"), pack(given_)
    write(packed, folder)
    again = states_in(described(packed), len(given_), [folder])
    assert [sorted(one) for one in again] == [sorted(one) for one in given_]
    for one, other in zip(again, given_, strict=True):
        assert all(torch.equal(one[name], other[name]) and one[name].dtype is other[name].dtype for name in one)
    assert bool(list(folder.iterdir())) == any(given_)


def train(out: Path, resume: bool | str, *extra: Any, method: Any = METHOD) -> tuple[Net, Regulariser]:
    model = Net()
    regulariser = Regulariser(model, make_plan(model, "net", [UNITS], method=method, mode=Mode.GRADIENT, strengths=1.0))
    trainer = trainer_for(model, out, [regulariser, *extra], save_strategy="steps", save_steps=3)
    trainer.train(resume_from_checkpoint=resume)
    return model, regulariser


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The folder of a training that was stopped after its first checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, False, StopAt(4))
    return tmp_path


def attributes(checkpoint: Path) -> dict[str, Any]:
    saved = json.loads((checkpoint / "trainer_state.json").read_text())["stateful_callbacks"]["Regulariser"]
    found: dict[str, Any] = saved["attributes"]
    return found


def test_a_checkpoint_holds_tensors_in_safetensors_and_no_lists_of_numbers(broken: Path) -> None:
    checkpoint = broken / "checkpoint-3"
    saved = attributes(checkpoint)
    (file,) = checkpoint.glob("regulariser-*.safetensors")
    assert saved["states"]["file"] == file.name and saved["couplings"] == ["ffn"]
    assert load_file(file)["0/keep"].dtype is torch.bool


def test_a_method_without_state_leaves_no_file(tmp_path: Path) -> None:
    model = Net()
    regulariser = Regulariser(model, plan_of(model, Mode.GRADIENT, 0.1))
    trainer_for(model, tmp_path, [regulariser], save_strategy="steps", save_steps=3).train()
    assert attributes(tmp_path / "checkpoint-3")["states"] is None
    assert not list(tmp_path.rglob("regulariser-*"))


def test_a_missing_or_damaged_file_is_named(broken: Path) -> None:
    (file,) = (broken / "checkpoint-3").glob("regulariser-*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(InputError, match=f"{file}: damaged: its checksum"):
        train(broken, True)
    file.unlink()
    with pytest.raises(InputError, match=f"{file}: is missing"):
        train(broken, True)


def test_checkpoints_with_lists_in_their_json_still_load(broken: Path) -> None:
    checkpoint = broken / "checkpoint-3"
    (file,) = checkpoint.glob("regulariser-*.safetensors")
    path = checkpoint / "trainer_state.json"
    data = json.loads(path.read_text())
    keep = load_file(file)["0/keep"]
    data["stateful_callbacks"]["Regulariser"]["attributes"]["states"] = [{"keep": keep.tolist()}]
    path.write_text(json.dumps(data))
    file.unlink()
    whole, _ = train(broken / "whole", False)
    resumed, regulariser = train(broken, True)
    assert_same(state(resumed), state(whole), rtol=0, atol=0)
    assert regulariser.states[0]["keep"].dtype is torch.bool


def test_a_file_of_another_plan_is_refused(tmp_path: Path) -> None:
    packed = pack([{}, {"keep": torch.ones(2)}])
    write(packed, tmp_path)
    with pytest.raises(InputError, match="holds '1/keep'; the plan has 1 entries"):
        states_in(described(packed), 1, [tmp_path])
