"""`run.log`: what a run said and what the libraries under it warned of, which a user at the terminal need not read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tprune.support.errors import TpruneWarning, printable

OURS = "tprune"
FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class RunFile(logging.Handler):
    """Appends to the log of a run directory, once there is one."""

    def __init__(self, out: Path) -> None:
        super().__init__()
        self.file, self.marker = out / "run.log", out / "run.json"
        self.setFormatter(logging.Formatter(FORM))

    def emit(self, record: logging.LogRecord) -> None:
        """One record; what cannot be written is let go, since the run matters more."""
        try:
            if self.marker.exists():
                with self.file.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(printable(self.format(record)) + "\n")
        except OSError:
            pass


class Told(logging.Handler):
    """Says our own warnings to the user too."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        """One record."""
        self.say(record.getMessage())


@contextmanager
def warned(say: Callable[[str], None]) -> Iterator[None]:
    """Says our own warnings to the user while the block runs, each once; those of libraries are not the user's."""
    heard: set[str] = set()

    def show(message: Warning | str, *_: object, **__: object) -> None:
        if str(message) not in heard:
            heard.add(str(message))
            say(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", TpruneWarning)
        warnings.showwarning = show
        yield


@contextmanager
def logged(out: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Sends log messages and warnings to `run.log` while the block runs.

    Ours of at least a warning are said as well.
    """
    import transformers.utils.logging as theirs

    kept, told = RunFile(out), Told(say)
    ours, everything = logging.getLogger(OURS), logging.getLogger()
    before = ours.level, everything.level, ours.propagate, theirs.get_verbosity()
    heard: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        name = OURS if issubclass(category, TpruneWarning) else "warnings"
        if name == OURS and str(message) in heard:  # several stages ask the same
            return
        heard.add(str(message))
        logging.getLogger(name).warning(
            "%s", f"warning: {message}" if name == OURS else f"{filename}:{lineno}: {message}"
        )

    ours.addHandler(kept)
    ours.addHandler(told)
    everything.addHandler(kept)
    theirs.disable_default_handler()
    theirs.add_handler(kept)
    ours.setLevel(logging.INFO)
    everything.setLevel(logging.WARNING)
    theirs.set_verbosity_warning()
    ours.propagate = False
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        try:
            yield
        finally:
            ours.setLevel(before[0])
            everything.setLevel(before[1])
            ours.propagate = before[2]
            theirs.set_verbosity(before[3])
            theirs.remove_handler(kept)
            theirs.enable_default_handler()
            everything.removeHandler(kept)
            ours.removeHandler(told)
            ours.removeHandler(kept)
