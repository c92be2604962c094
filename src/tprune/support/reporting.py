"""Progress a person can follow: a line per stage, and within training the step, its loss and the time left."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar

from rich.console import Console
from transformers import TrainerCallback

from tprune.support.activity import Pulse, current, doing
from tprune.support.errors import InputError, printable

P = ParamSpec("P")
T = TypeVar("T")
Report = Callable[[str], None]  # called with a line about each step
PACE = 20.0  # seconds between lines about long work; no silence is longer than 30


def silent(text: str) -> None:
    """A `Report` that tells nobody."""


class Progress(TrainerCallback):
    """Prints stages and the time left; a line every few seconds on a terminal, every 20 elsewhere.

    `plan` gives the stages still to come with their expected seconds, 0 where not yet known; while any is unknown, no
    time left is said. A stage's real pace corrects what is left of it.
    """

    def __init__(self, plan: dict[str, float], console: Console | None = None) -> None:
        self.plan, self.console = dict(plan), console or Console(stderr=True, highlight=False)
        self.every = 5.0 if sys.stderr.isatty() else PACE
        self.total, self.done = len(plan), 0
        self.name, self.started, self.said, self.first = "", time.monotonic(), 0.0, (0, 0.0)
        self.loss: float | None = None
        self.doing, self.pulse = "starting", Pulse(self._still)
        self.reckoned = self.started  # when the plan of the current stage was true

    def stage(self, name: str, what: str = "") -> None:
        """Announces a stage."""
        if name not in self.plan:
            raise InputError(f"no stage {name!r} is planned; planned are {', '.join(self.plan)}")
        self.done += 1
        self.name, self.said, self.loss = name, time.monotonic(), None
        self.reckoned = self.said
        self.doing = name + (f": {what}" if what else "")
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
        left = self.left() if all(self.plan.values()) else 0.0
        self.note(f"{elapsed}  {text}" + (f"  (about {_clock(left)} left)" if left else ""))

    def left(self) -> float:
        """Seconds of all stages to come, and of what is left of the current one."""
        current = self.plan.get(self.name, 0.0)
        return sum(self.plan.values()) - min(current, time.monotonic() - self.reckoned if current else 0.0)

    def note(self, text: str) -> None:
        """A line without the clock."""
        logging.getLogger("tprune.progress").info("%s", text)
        self.show(text)

    def show(self, text: str) -> None:
        """A line for the person alone: the log has it already."""
        self.pulse.heard()
        self.console.print(printable(text), markup=False, soft_wrap=True)

    def _still(self, what: str) -> None:
        """A line of the pulse, while nothing else is said."""
        self.say(f"      {current() or self.doing}")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remembers where training starts, and says so in a resumed run."""
        self.first = (state.global_step, time.monotonic())
        self.reckoned = time.monotonic()
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
        self.said = self.reckoned = now
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
        with doing(f"{what}: {calls} of {total}"):
            result = work(*args, **kwargs)
        calls += 1
        if time.monotonic() - said >= every:
            said = time.monotonic()
            report(f"{what}: {calls} of {total}")
        return result

    return counting


def duration(seconds: float) -> str:
    """A length of time in words.

    Example:
        >>> duration(20.0), duration(150.0), duration(7_000.0), duration(32_000.0)
        ('a minute', '2 minutes', '1.9 hours', '9 hours')
    """
    found = max(1, round(seconds / 60))
    if found >= 100:
        hours = seconds / 3600
        return f"{hours:.1f} hours" if hours < 5 else f"{hours:,.0f} hours"
    return "a minute" if found == 1 else f"{found:,} minutes"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
