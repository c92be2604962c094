"""What a runtime has to be able to do, and which there are: one file each, ours here, others by entry point or `RUNTIMES`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tprune.core.caches import Caches
from tprune.runtimes.artefact import Layout
from tprune.runtimes.decoding import Ints, Steps
from tprune.support.errors import InputError, TpruneError
from tprune.support.registry import Registry


class State(Steps, Protocol):
    """A batch that is being decoded, in the decoder's numbers of tokens (`Layout.numbers`, `Layout.tokens`)."""

    def peek(self, tokens: Ints) -> Any:
        """The work of the step that `logits` takes, without taking it: what a decoder step is timed by."""


class Engine(Protocol):
    """An opened model."""

    def start(self, rows: Ints, mask: Ints) -> State:
        """Runs the encoder on one padded batch, token ids and 1 where there is a token, both `[N, length]`."""
        ...


class Runtime(Protocol):
    """How a model is run for real. Searches, tokenisers, the check against PyTorch and the timing are the same for all."""

    @property
    def name(self) -> str:
        """On the command line, and in the exported folder."""
        ...

    @property
    def package(self) -> str:
        """The installed package whose version counts."""
        ...

    @property
    def install(self) -> str:
        """How to get it."""
        ...

    @property
    def precisions(self) -> tuple[str, ...]:
        """What it computes in."""
        ...

    def write(self, model: Any, folder: Path, rows: Sequence[int]) -> tuple[Caches, Caches]:
        """Writes the model's files into `folder` (no folders inside); its decoder knows the tokens `rows`, all if there are none.

        Returns the sizes of the caches of cross and of self-attention, for `Layout`; empty where the engine does not ask.

        Raises:
            InputError: the runtime cannot run this model.
        """
        ...

    def open(self, folder: Path, layout: Layout, threads: int) -> Engine:
        """Opens what `write` wrote; `threads` is how many cores one operation uses.

        Raises:
            InputError: a file is missing or cannot be read, or the runtime is not installed.
        """
        ...


@runtime_checkable
class Checking(Protocol):
    """A runtime that can say in a moment whether it runs a model; one without `check` says so when it writes."""

    def check(self, model: Any) -> None:
        """Before anything is measured or trained. Raises `InputError` where `write` would, for a reason that is known already."""


PARTS = ("name", "package", "install", "precisions", "write", "open")
RUNTIMES: Registry[Runtime] = Registry(
    "runtime", "tprune.runtimes", {"onnxruntime": "tprune.runtimes.onnxruntime.engine:ONNXRUNTIME"}
)


def runtimes() -> tuple[Runtime, ...]:
    """All runtimes: ours, those entered in `RUNTIMES`, and those of installed packages (entry points `tprune.runtimes`).

    Raises:
        InputError: what was entered is no runtime, or is called otherwise than it was entered.
    """
    for name, one in RUNTIMES.items():
        if lacks := [part for part in PARTS if not hasattr(one, part)]:
            raise InputError(
                f"{one!r} was entered as a runtime, but has no {lacks[0]}; see tprune.runtimes.runtime.Runtime"
            )
        if one.name != name:
            raise InputError(f"a runtime called {one.name!r} was entered as {name!r}; expected the same name")
    return tuple(RUNTIMES.values())


@contextmanager
def blamed(runtime: Runtime) -> Iterator[None]:
    """Errors of a plugin's runtime are said to be its own."""
    try:
        yield
    except Exception as error:
        if isinstance(error, TpruneError) or (runtime is RUNTIMES.get(runtime.name) and runtime.name in RUNTIMES.ours):
            raise
        said = " ".join(str(error).split())[:300]
        raise InputError(f"runtime {runtime.name}: {type(error).__name__}: {said}") from error


def runtime_named(name: str) -> Runtime:
    """The runtime of a name.

    Raises:
        InputError: naming those there are.

    Example:
        >>> runtime_named("onnxruntime").precisions
        ('fp32',)
    """
    runtimes()
    return RUNTIMES.named(name)
