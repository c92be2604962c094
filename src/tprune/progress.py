"""Progress a person can follow: a line per stage, and within training the step, its loss and the time left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from rich.console import Console
from transformers import TrainerCallback

from tprune.errors import InputError, printable

P = ParamSpec("P")
T = TypeVar("T")
Report = Callable[[str], None]  # is told about each step
PACE = 30.0  # seconds between lines about long work


class Progress(TrainerCallback):
    """Prints stages and the time left; a line every few seconds on a terminal, every half minute elsewhere.

    `plan` gives the stages still to come with their expected seconds; a stage's real pace corrects what is left of it.
    """

    def __init__(self, plan: dict[str, float], console: Console | None = None) -> None:
        self.plan, self.console = dict(plan), console or Console(stderr=True, highlight=False)
        self.every = 5.0 if sys.stderr.isatty() else PACE
        self.total, self.done = len(plan), 0
        self.name, self.started, self.said, self.first = "", time.monotonic(), 0.0, (0, 0.0)
        self.loss: float | None = None

    def stage(self, name: str, what: str = "") -> None:
        """Announces a stage."""
        if name not in self.plan:
            raise InputError(f"no stage {name!r} is planned; planned are {', '.join(self.plan)}")
        self.done += 1
        self.name, self.said, self.loss = name, time.monotonic(), None
        self.say(f"[{self.done}/{self.total}] {name}" + (f": {what}" if what else ""))

    def skip(self, names: Iterable[str]) -> None:
        """Takes stages that are done already out of what is to come."""
        for name in names:
            if self.plan.pop(name, None) is not None:
                self.total -= 1

    def finished(self) -> None:
        """Drops the current stage from what is left."""
        self.plan.pop(self.name, None)

    def say(self, text: str) -> None:
        """One line, with the minutes since the start and the time left in all."""
        elapsed = _clock(time.monotonic() - self.started)
        left = sum(self.plan.values())
        self.note(f"{elapsed}  {text}" + (f"  (about {_clock(left)} left)" if left else ""))

    def note(self, text: str) -> None:
        """A line without the clock."""
        logging.getLogger("tprune.progress").info("%s", text)
        self.show(text)

    def show(self, text: str) -> None:
        """A line for the person alone: the log has it already."""
        self.console.print(printable(text), markup=False, soft_wrap=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remembers where training starts, and says so in a resumed run."""
        self.first = (state.global_step, time.monotonic())
        if state.global_step and self.name in self.plan:
            self.plan[self.name] *= 1 - state.global_step / max(1, state.max_steps)
            self.say(f"      goes on from step {state.global_step}/{state.max_steps}")

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Remembers the last loss."""
        if logs and "loss" in logs:
            self.loss = float(logs["loss"])

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Says where training is, now and then."""
        now = time.monotonic()
        if now - self.said < self.every:
            return
        start, since = self.first
        pace = (now - since) / max(1, state.global_step - start)
        self.plan[self.name] = pace * (state.max_steps - state.global_step)
        self.said = now
        loss = "" if self.loss is None else f", loss {self.loss:.2f}"
        self.say(f"      step {state.global_step}/{state.max_steps}{loss}")


def counted(work: Callable[P, T], total: int, report: Report, what: str, every: float = PACE) -> Callable[P, T]:
    """The same function; it reports now and then how often it was called, where it was to be called `total` times.

    Example:
        >>> double = counted(lambda x: 2 * x, 3, print, "numbers doubled", every=0.0)
        >>> double(4)
        numbers doubled: 1 of 3
        8
    """
    calls, said = 0, time.monotonic()

    def counting(*args: P.args, **kwargs: P.kwargs) -> T:
        nonlocal calls, said
        result = work(*args, **kwargs)
        calls += 1
        if time.monotonic() - said >= every:
            said = time.monotonic()
            report(f"{what}: {calls} of {total}")
        return result

    return counting


def minutes(seconds: float) -> str:
    """A length of time in words.

    Example:
        >>> minutes(20.0), minutes(150.0)
        ('a minute', '2 minutes')
    """
    found = max(1, round(seconds / 60))
    return "a minute" if found == 1 else f"{found:,} minutes"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
