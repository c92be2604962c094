"""Inputs that activations are measured on."""

from dataclasses import dataclass

import numpy as np
import pytest

from table_models import table_model
from tprune.cli.precisions import precision_of
from tprune.core.known_tasks import task_of
from tprune.core.task import Batch
from tprune.runtimes.calibration import calibration_batches
from tprune.support.errors import InputError, OptionError


@dataclass(frozen=True)
class Encoded:
    """Rows of token ids, as a task encodes them."""

    rows: list[dict[str, list[int]]]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> object:
        return self.rows[index]

    @property
    def lengths(self) -> np.ndarray:
        return np.array([len(row["input_ids"]) for row in self.rows])


def batches(count: int, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    model = table_model("bert-classifier")
    task = task_of(model)
    made = Encoded([{"input_ids": [5, 6, 7][: 1 + i % 3], "labels": 0} for i in range(count)])  # type: ignore[dict-item]
    monkeypatch.setattr(type(task), "encode", lambda *given: made)
    return calibration_batches(task, model, None, [])  # type: ignore[arg-type]


def test_some_hundred_are_taken_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    found = batches(600, monkeypatch)
    sizes = [len(batch["input_ids"]) for batch in found]
    assert sum(sizes) == 256 and max(sizes) == 16


def test_too_few_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="31 inputs to measure activations on; expected at least 32, better 256"):
        batches(31, monkeypatch)


def test_calibration_is_of_int8() -> None:
    assert precision_of("int8", ["a"], "static").name == precision_of("int8-static", (), None).name == "int8-static"
    assert precision_of("int8", (), "dynamic").name == "int8"
    with pytest.raises(OptionError, match="--calibration static is for --precision int8, got fp32"):
        precision_of("fp32", (), "static")
