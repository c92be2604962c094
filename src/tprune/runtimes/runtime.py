"""What a runtime has to be able to do, and which there are.

One file each: ours here, others by entry point or `RUNTIMES`.

One kind lowers the graphs of a model, which are searched here (`GraphRuntime`); the other takes whole models and has a
search of its own (`ModelRuntime`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from tprune.core.graph import Dialect, TensorSpec
from tprune.core.precision import Precision
from tprune.runtimes.layout import Layout
from tprune.runtimes.products import Product, Use
from tprune.support.errors import InputError, TpruneError
from tprune.support.machine import check_threads
from tprune.support.registry import Registry

if TYPE_CHECKING:
    from tprune.families.graphs.graph import Graph  # torch, which running them does not need

Array = NDArray[Any]


class Session(Protocol):
    """The opened graphs of a model."""

    def run(self, graph: str, feeds: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        """Outputs of a graph, in the order asked for, from its inputs by name."""
        ...


@runtime_checkable
class Searching(Protocol):
    """An opened translation model that has a search of its own. Tokens are ids."""

    def search(self, ids: Sequence[Sequence[int]], beams: int) -> list[list[int]]:
        """The translations of one batch, without the start token, up to the end token; 1 beam is greedy search."""
        ...

    def scored(self, ids: Sequence[Sequence[int]], beams: int) -> list[tuple[list[int], float]]:
        """As `search`, each with what it was chosen by: summed log-probability / length^length_penalty.

        Probabilities are those among the tokens that are not forbidden. Where the end is forced, without it.
        """
        ...

    def forced(self, ids: Sequence[Sequence[int]], fed: Array) -> Array:
        """Logits `[B, T, V]` of cached steps that are fed the tokens `[B, T]`, which are the decoder's numbers."""
        ...


class Runtime(Protocol):
    """How a model is run for real: a `GraphRuntime` or a `ModelRuntime`.

    Tokenisers, the check against PyTorch and the timing are the same for all.
    """

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

    def supports(self, precision: Precision, skeleton: str) -> str | None:
        """Why it does not run models of a build in a precision, in a few words; None where it does.

        Args:
            precision: that it would compute in.
            skeleton: the name of the build, such as `encoder-decoder`.
        """
        ...

    def multiple(self, precision: Precision) -> int:
        """Sizes of matrices that are a multiple of it are as fast as they get; 1 where all are."""
        ...

    def toolchain(self) -> Mapping[str, str]:
        """What its files are made with, by package: the version that is installed."""
        ...


@runtime_checkable
class GraphRuntime(Runtime, Protocol):
    """A runtime that lowers graphs into a folder and runs them by name; searches are ours."""

    @property
    def dialect(self) -> Dialect:
        """How its graphs are to write attention."""
        ...

    def write(self, graphs: Sequence[Graph], folder: Path, precision: Precision) -> Sequence[Product]:
        """Writes what it executes into `folder` (no folders inside).

        Returns:
            in which precision it computes each product, where that is not `precision` alone; may be empty for fp32.

        Raises:
            InputError: the runtime cannot run one of them.
        """
        ...

    def open(self, folder: Path, layout: Layout, threads: int) -> Session:
        """Opens what `write` wrote.

        `layout.graphs` are the graphs' signatures, `threads` is how many cores one operation uses.

        Raises:
            InputError: a file is missing or cannot be read, or the runtime is not installed.
        """
        ...


@runtime_checkable
class ModelRuntime(Runtime, Protocol):
    """A runtime that takes whole models: the graph and the search are its own."""

    @property
    def phases(self) -> tuple[str, ...]:
        """What its models are timed by, such as whole sentences."""
        ...

    def check_model(self, model: Any, layout: Layout) -> None:
        """Before anything is measured or trained.

        Args:
            model: dense or pruned.
            layout: what the folder would say, such as how the model decodes.

        Raises:
            InputError: the runtime cannot run it: which layer, what was found, what it needs, and the nearest that it
                can run.
        """
        ...

    def write_model(self, model: Any, layout: Layout, folder: Path, precision: Precision) -> Sequence[Product]:
        """Writes what it executes into `folder` (no folders inside). Returns and raises as `GraphRuntime.write`."""
        ...

    def open_model(self, folder: Path, layout: Layout, threads: int) -> Searching:
        """Opens what `write_model` wrote. Arguments and errors as of `GraphRuntime.open`."""
        ...


@runtime_checkable
class Rounding(Protocol):
    """A runtime that makes the files of other precisions out of those of single precision, without lowering again."""

    def rounded(self, graphs: Sequence[Graph], source: Path, folder: Path, precision: Precision) -> Sequence[Product]:
        """As `write`, from the files that `write` left in `source` for the same graphs in single precision."""


@runtime_checkable
class Holding(Protocol):
    """A runtime that says how much memory a rounded matrix takes; of others it is bits and a scale for each output."""

    def held(self, use: Use, rows: int, numbers: int, precision: Precision) -> int:
        """Bytes, scales included.

        Args:
            use: what is done with the matrix.
            rows: how many outputs it has.
            numbers: how many it holds.
            precision: that it is rounded to.
        """
        ...


@runtime_checkable
class Checking(Protocol):
    """A runtime that can say in a moment whether it runs graphs; one without `check` says so when it writes."""

    def check(self, graphs: Sequence[Graph]) -> None:
        """Before anything is measured or trained.

        Raises `InputError` where `write` would, for a reason that is known already.
        """


@runtime_checkable
class Slow(Protocol):
    """A runtime that takes seconds to lower a graph, so that a latency table has fewer plans; others take a moment."""

    def seconds(self, precision: Precision) -> float:
        """Of processor time that lowering a graph takes, about."""


@runtime_checkable
class Restricted(Protocol):
    """A runtime that runs not all that can be cut; one without these runs whatever is left."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of couplings that may be cut."""
        ...

    @property
    def even(self) -> tuple[str, ...]:
        """Kinds of which all blocks of a stack have to keep equally many groups, and at least one."""
        ...


@runtime_checkable
class Selective(Protocol):
    """A runtime that lacks single features; one without `refuses` has all that its models may have."""

    def refuses(self, feature: str) -> str | None:
        """Why it does not run models that have a feature, in a few words; None where it does.

        Args:
            feature: a name of `tprune.runtimes.features.FEATURES`.
        """
        ...


@runtime_checkable
class ProcessorBound(Protocol):
    """A runtime of which some precisions need instructions that not every processor has."""

    def anywhere(self) -> Runtime:
        """The runtime as it is on a processor with all of these instructions."""
        ...


@runtime_checkable
class Elsewhere(Protocol):
    """A runtime whose files are written here, and run on other systems alone."""

    @property
    def runs_on(self) -> str:
        """The systems that run its files, as words."""
        ...


@runtime_checkable
class Shipping(Protocol):
    """A runtime whose exports go into bundles, which `tprune_runtime` replays on devices."""

    def oldest(self, folder: Path, layout: Layout) -> str:
        """The oldest version of the package that runs an exported folder."""
        ...

    def outputs(self, folder: Path, layout: Layout) -> Mapping[str, Sequence[TensorSpec]]:
        """The outputs of each graph, in order."""
        ...


PARTS = ("name", "package", "install", "supports", "multiple", "toolchain")
REFERENCE_NAMES = ("torch", "torch-compile")  # they run checkpoints, and are timed beside the others
REFERENCE = "reference.json"  # which checkpoint a folder stands for
GRAPH_PARTS, MODEL_PARTS = ("dialect", "write", "open"), ("phases", "check_model", "write_model", "open_model")
RUNTIMES: Registry[Runtime] = Registry(
    "runtime",
    "tprune.runtimes",
    {
        "onnxruntime": "tprune.runtimes.onnxruntime.engine:ONNXRUNTIME",
        "ctranslate2": "tprune.runtimes.ctranslate2.engine:CTRANSLATE2",
        "openvino": "tprune.runtimes.openvino.engine:OPENVINO",
        "executorch": "tprune.runtimes.executorch.engine:EXECUTORCH",
        "coreml": "tprune.runtimes.coreml.engine:COREML",
    },
)


def runtimes() -> tuple[Runtime, ...]:
    """All runtimes: ours, those entered in `RUNTIMES`, and those of packages (entry points `tprune.runtimes`).

    Raises:
        InputError: what was entered is no runtime, or is called otherwise than it was entered.
    """
    for name, one in RUNTIMES.items():
        own = MODEL_PARTS if any(hasattr(one, part) for part in MODEL_PARTS) else GRAPH_PARTS
        if lacks := [part for part in (*PARTS, *own) if not hasattr(one, part)]:
            raise InputError(
                f"{one!r} was entered as a runtime, but has no {lacks[0]}; see tprune.runtimes.runtime.Runtime"
            )
        if one.name != name:
            raise InputError(f"a runtime called {one.name!r} was entered as {name!r}; expected the same name")
    return tuple(RUNTIMES.values())


@contextmanager
def blamed(runtime: Runtime) -> Iterator[None]:
    """Errors of a plugin's runtime are said to be its own.

    Args:
        runtime: the runtime whose code runs inside.

    Raises:
        InputError: in place of any error of a plugin's runtime; says which runtime it was.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, TpruneError) or (runtime is RUNTIMES.get(runtime.name) and runtime.name in RUNTIMES.ours):
            raise
        said = " ".join(str(error).split())[:300]
        raise InputError(f"runtime {runtime.name}: {type(error).__name__}: {said}") from error


def runtime_named(name: str) -> Runtime:
    """The runtime of a name.

    Args:
        name: as on the command line.

    Raises:
        InputError: naming those there are.

    Example:
        >>> from tprune.core.precision import FP32
        >>> runtime_named("onnxruntime").supports(FP32, "encoder-decoder") is None
        True
    """
    runtimes()
    return RUNTIMES.named(name)


def opened(folder: Path, layout: Layout, threads: int) -> Session | Searching:
    """An exported folder, by the runtime that it is for: its graphs, or a translation model that searches itself.

    Args:
        folder: an exported folder.
        layout: what the folder holds.
        threads: of one operation.

    Raises:
        InputError: there are not as many cores as `threads`, the runtime is not known here, or a file cannot be used.
    """
    check_threads(threads)
    try:
        runtime = _reference(folder, layout.runtime) or runtime_named(layout.runtime)
    except InputError as error:
        raise InputError(f"{folder}: exported for {error}; a plugin's needs its --plugin here too") from None
    with blamed(runtime):
        if isinstance(runtime, ModelRuntime):
            return runtime.open_model(folder, layout, threads)
        return graph_runtime(runtime).open(folder, layout, threads)


def _reference(folder: Path, name: str) -> Runtime | None:
    """PyTorch, where a folder stands for a checkpoint; a plugin may have a runtime of the same name."""
    if not (folder / REFERENCE).exists() or name not in REFERENCE_NAMES:
        return None
    from tprune.runtimes.reference.engine import REFERENCES  # torch, which other runtimes do not need

    return REFERENCES[name]


def check_runs(runtime: Runtime) -> None:
    """Whether what a runtime writes can be run, compared and timed on this system.

    Args:
        runtime: of any kind.

    Raises:
        InputError: its files run elsewhere.
    """
    if isinstance(runtime, Elsewhere):
        raise InputError(
            f"runtime {runtime.name} runs on {runtime.runs_on}, so nothing can be timed or scored in it here; use "
            f"another runtime, and then `tprune export --runtime {runtime.name}`"
        )


def graph_runtime(runtime: Runtime) -> GraphRuntime:
    """A runtime that lowers graphs.

    Args:
        runtime: of either kind.

    Raises:
        InputError: it takes whole models.
    """
    if isinstance(runtime, GraphRuntime):
        return runtime
    raise InputError(f"runtime {runtime.name} takes whole models; expected one that runs graphs")
