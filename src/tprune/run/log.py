"""`run.log`: what a run said and what the libraries under it warned of, which a user at the terminal need not read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
    with ExitStack() as undone:
        undone.enter_context(_to(logging.getLogger(), (kept,), logging.WARNING))
        undone.enter_context(_to(logging.getLogger(OURS), (kept, told), logging.INFO, alone=True))
        undone.callback(theirs.set_verbosity, theirs.get_verbosity())
        undone.callback(theirs.enable_default_handler)
        undone.callback(theirs.remove_handler, kept)
        theirs.disable_default_handler()
        theirs.add_handler(kept)
        theirs.set_verbosity_warning()
        undone.enter_context(_warnings_logged())
        yield


@contextmanager
def _to(logger: logging.Logger, handlers: Sequence[logging.Handler], level: int, alone: bool = False) -> Iterator[None]:
    """Sends what a logger is told to handlers while the block runs; to them alone where it is `alone`."""
    before = logger.level, logger.propagate
    for handler in handlers:
        logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = logger.propagate and not alone
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        for handler in reversed(handlers):
            logger.removeHandler(handler)


@contextmanager
def _warnings_logged() -> Iterator[None]:
    """Sends warnings to the log while the block runs: ours once each, since several stages ask the same."""
    heard: set[str] = set()

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if not issubclass(category, TpruneWarning):
            logging.getLogger("warnings").warning("%s", f"{filename}:{lineno}: {message}")
        elif str(message) not in heard:
            heard.add(str(message))
            logging.getLogger(OURS).warning("%s", f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = show
        yield
