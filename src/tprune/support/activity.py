"""What is being done now: said whenever nothing else was said for a while, so that no wait is silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SILENCE = 25.0  # seconds without a line, after which what is being done is said; no silence is longer than 30
LOOK = 1.0  # seconds between two looks at the clock
_now: list[str] = []  # of this process, the innermost last


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Notes what the block does.

    Example:
        >>> with doing("exporting plan 1 of 3"):
        ...     current()
        'exporting plan 1 of 3'
    """
    _now.append(what)
    try:
        yield
    finally:
        _now.pop()


def current() -> str:
    """What is being done now, as precisely as it is known; empty where it was not given."""
    return _now[-1] if _now else ""


class Pulse:
    """Says what is being done when nothing was said for `every` seconds; as a context, from a thread of its own.

    Args:
        say: writes a line.
        every: seconds of silence.
        clock: in seconds.

    Example:
        >>> seconds = iter([0.0, 10.0, 26.0])
        >>> pulse = Pulse(print, 25.0, lambda: next(seconds))
        >>> with doing("measuring losses"):
        ...     pulse.beat(), pulse.beat()
        measuring losses
        (None, None)
    """

    def __init__(self, say: Callable[[str], None], every: float = SILENCE, clock: Callable[[], float] = time.monotonic):
        self.say, self.every, self.clock = say, every, clock
        self.last = clock()
        self._over: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def heard(self) -> None:
        """Something was said."""
        self.last = self.clock()

    def beat(self) -> None:
        """Says what is being done, if it is time to."""
        now = self.clock()
        if now - self.last >= self.every:
            self.last = now
            self.say(current() or "working")

    def __enter__(self) -> Pulse:
        self.heard()
        self._over = over = threading.Event()

        def run() -> None:
            while not over.wait(LOOK):
                self.beat()

        self._thread = threading.Thread(target=run, daemon=True, name="tprune-pulse")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._over is not None and self._thread is not None:
            self._over.set()
            self._thread.join()
