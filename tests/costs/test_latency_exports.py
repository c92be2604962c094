"""Exports of plans in several processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from small_models import small_model
from small_pairs import model_and_tokenizer
from tprune.core.known_tasks import TASKS
from tprune.costs.latency import exports
from tprune.costs.latency.design import plans_for
from tprune.costs.latency.exports import DONE, export_plans
from tprune.costs.latency.phases import TRANSLATION
from tprune.costs.latency.subject import Translations
from tprune.costs.latency.table import TimingConfig
from tprune.runtimes.artefact import read_layout


def test_what_no_other_process_can_do_is_exported_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Local:  # of a function, so that it cannot be pickled
        def export(self, model: Any, out: Path, checked: bool) -> None:
            out.mkdir()
            (out / DONE).write_text("here")

    monkeypatch.setattr(exports, "FEWEST", 1)
    model: Any = small_model("marian")
    plans = dict(zip([tmp_path / "a", tmp_path / "b"], plans_for(model, ("ffn",)), strict=False))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").touch()
    local: Any = Local()
    export_plans(local, model, plans, print, processes=2)
    assert all((folder / DONE).read_text() == "here" for folder in plans) and not (tmp_path / "b" / "old").exists()


@pytest.mark.slow
def test_two_processes_share_the_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "FEWEST", 1)
    model, tokenizer = model_and_tokenizer()
    subject = Translations(tokenizer, ("a cat sat",), TimingConfig(), TRANSLATION, 9, TASKS["translation"])
    plans = dict(zip([tmp_path / name for name in "abc"], plans_for(model, ("ffn",)), strict=False))
    here: list[Path] = []
    original = Translations.export

    def counted(self: Translations, model: Any, out: Path, **how: Any) -> None:
        here.append(out)
        original(self, model, out, **how)

    monkeypatch.setattr(Translations, "export", counted)
    export_plans(subject, model, plans, print, processes=2)
    assert here == [tmp_path / "a", tmp_path / "b"]  # neighbors, which may share a graph
    assert len({read_layout(folder).parameters for folder in plans}) == 3
