"""What reaches a terminal or a log shows control characters instead of obeying them."""

import json
import logging
import warnings
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from tprune.cli import app as cli
from tprune.cli.console import say, show
from tprune.run.log import logged
from tprune.support.errors import InputError, TpruneWarning, printable
from tprune.support.reporting import Progress

NASTY = "a\x1b[2Jb\x9bc\u202ed\x7f\ud800\x07\u2028e"
SHOWN = r"a\u001b[2Jb\u009bc\u202ed\u007f\ud800\u0007\u2028e"


def test_printable() -> None:
    assert printable(NASTY) == SHOWN
    for kept in (
        "Straße\t日本\n",
        "می\u200cخواهم",
        "👩\u200d👩\u200d👧",
        "é",
    ):  # line ends, tabs and joiners of letters
        assert printable(kept) == kept


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(), st.text()))
def test_json_stays_the_same_json(found: dict[str, str]) -> None:
    assert json.loads(printable(json.dumps(found, ensure_ascii=False))) == found


def test_errors_are_one_line() -> None:
    assert str(InputError(f"x\n{NASTY}")) == rf"x\n{SHOWN}"
    assert str(InputError("plain")) == "plain"


def test_every_way_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(NASTY)
    show({"x": NASTY}, True, str)
    show({"x": 0}, False, lambda _: NASTY)
    cli._warn(TpruneWarning(NASTY))
    found = capsys.readouterr()
    assert found.err.splitlines() == [f"tprune: {SHOWN}", f"tprune: warning: {SHOWN}".replace(r"\u2028", " ")]
    assert SHOWN in found.out and "\x1b" not in found.out
    written = StringIO()
    Progress({}, Console(file=written, width=200)).note(NASTY)
    assert written.getvalue() == f"{SHOWN}\n"


def test_the_log_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with logged(tmp_path, lambda text: None):
        # what is logged goes from one process of the tests to another, which half a pair cannot
        logging.getLogger("transformers.x").warning(NASTY.replace("\ud800", ""))
        warnings.warn(NASTY, TpruneWarning, stacklevel=1)
    written = (tmp_path / "run.log").read_text(encoding="utf-8")
    assert "\x1b" not in written and "\u202e" not in written and written.count(SHOWN.replace(r"\ud800", "")) >= 1


class Panic(BaseException):
    """As libraries in Rust raise them."""


@pytest.mark.parametrize(
    ("raised", "code", "says"),
    [
        (Panic("index\n\x1b[2Jout"), 1, "tprune: unexpected Panic: index \\u001b[2Jout (--debug shows where)\n"),
        (InputError("a: b"), 1, "tprune: a: b\n"),
        (SystemExit(7), 7, ""),
    ],
)
def test_how_the_program_ends(
    raised: BaseException, code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(arguments: list[str]) -> None:
        raise raised

    monkeypatch.setattr(cli, "app", fails)
    monkeypatch.setattr(cli, "_quieten", lambda: None)
    monkeypatch.delenv("TPRUNE_DEBUG", raising=False)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == code and capsys.readouterr().err == says


def test_interrupting_goes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    for ends in (KeyboardInterrupt, GeneratorExit):

        def fails(arguments: list[str], ends: type[BaseException] = ends) -> None:
            raise ends

        monkeypatch.setattr(cli, "app", fails)
        monkeypatch.setattr(cli, "_quieten", lambda: None)
        with pytest.raises(ends):
            cli.main()
