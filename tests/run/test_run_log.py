"""What goes to `run.log`, and what a user is told."""

import io
import logging
import warnings
from pathlib import Path

from rich.console import Console
from transformers.utils import logging as theirs

from tprune.run.log import logged, warned
from tprune.support.errors import TpruneWarning
from tprune.support.reporting import Progress


def test_strangers_go_to_the_log_and_ours_to_the_user_too(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "run.json").write_text("{}")
    before = theirs.get_verbosity(), logging.getLogger().handlers[:], warnings.showwarning
    with logged(tmp_path, said.append):
        warnings.warn("a stranger's", UserWarning, stacklevel=1)
        warnings.warn("ours", TpruneWarning, stacklevel=1)
        theirs.get_logger("transformers.trainer").warning("from transformers")
        logging.getLogger("tprune.train.trainer").warning("a checkpoint is passed over")
        Progress({}).note("stage 1 of 2")
    log = (tmp_path / "run.log").read_text()
    for text in ("a stranger's", "warning: ours", "from transformers", "a checkpoint is passed over", "stage 1 of 2"):
        assert text in log
    assert said == ["warning: ours", "a checkpoint is passed over"]
    assert (theirs.get_verbosity(), logging.getLogger().handlers[:], warnings.showwarning) == before


def test_our_own_warnings_are_in_the_log_once(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    shown = io.StringIO()
    with logged(tmp_path, Progress({}, Console(file=shown)).show):
        warnings.warn("ours", TpruneWarning, stacklevel=1)
    assert shown.getvalue().count("ours") == (tmp_path / "run.log").read_text().count("warning: ours") == 1


def test_nothing_is_written_into_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with logged(tmp_path, print):
        logging.getLogger("tprune").info("too early")
    with logged(tmp_path / "nowhere", print):
        logging.getLogger("tprune").info("too early")
    assert not list(tmp_path.iterdir())


def test_a_verb_says_our_warnings_once_and_no_strangers() -> None:
    said: list[str] = []
    with warned(said.append):
        for _ in range(3):
            warnings.warn("ours", TpruneWarning, stacklevel=1)
            warnings.warn("a stranger's", UserWarning, stacklevel=1)
        warnings.warn("another of ours", TpruneWarning, stacklevel=1)
    assert said == ["warning: ours", "warning: another of ours"]


def test_a_run_says_what_several_stages_warn_of_once(tmp_path: Path) -> None:
    said: list[str] = []
    with logged(tmp_path, said.append):
        for name in ("ours", "ours", "another"):
            with warnings.catch_warnings():  # as libraries do, whereupon Python forgets what it has shown
                warnings.simplefilter("always")
                warnings.warn(name, TpruneWarning, stacklevel=1)
    assert said == ["warning: ours", "warning: another"]
