"""What a runtime has to be able to do, and which there are: one file each, ours here, others by entry point or `RUNTIMES`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tprune.errors import InputError, TpruneError
from tprune.runtimes.folder import Caches, Layout
from tprune.runtimes.search import Ints, Steps


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
RUNTIMES: list[Runtime] = []  # entered by modules that a user imports


def runtimes() -> tuple[Runtime, ...]:
    """All runtimes: ours, those entered in `RUNTIMES`, and those of installed plugins (entry points `tprune.runtimes`).

    Raises:
        InputError: what was entered is no runtime, or has the name of another one.
    """
    from importlib.metadata import entry_points

    from tprune.runtimes.onnx_runtime import ONNXRUNTIME

    found = (ONNXRUNTIME, *RUNTIMES, *(point.load() for point in entry_points(group="tprune.runtimes")))
    for one in found:
        if lacks := [part for part in PARTS if not hasattr(one, part)]:
            raise InputError(
                f"{one!r} was entered as a runtime, but has no {lacks[0]}; see tprune.runtimes.runtime.Runtime"
            )
    names = [one.name for one in found]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two runtimes are called {twice[0]!r}; a plugin's needs a name of its own")
    return found


@contextmanager
def blamed(runtime: Runtime) -> Iterator[None]:
    """Errors of a plugin's runtime are said to be its own."""
    from tprune.runtimes.onnx_runtime import ONNXRUNTIME

    try:
        yield
    except Exception as error:
        if isinstance(error, TpruneError) or runtime is ONNXRUNTIME:
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
    known = {runtime.name: runtime for runtime in runtimes()}
    if name not in known:
        raise InputError(f"runtime {name!r}; expected one of {', '.join(sorted(known))}")
    return known[name]
