"""The plan: the frozen, printable record in JSON of what is pruned, how and how strongly, and of what is kept."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from torch import nn

from tprune.core import plan_files
from tprune.core.coupling import Coupling, Groups, bind, tensors_of
from tprune.core.entry import Entry as Entry
from tprune.core.entry import Mode as Mode
from tprune.core.entry import kept_of
from tprune.core.known_methods import METHODS, default_method
from tprune.core.known_realisations import usual_realisation
from tprune.core.method import Method
from tprune.core.method_json import name_of
from tprune.core.plan_json import Content, from_text, to_text
from tprune.core.precision import Precision
from tprune.core.selection import Kept
from tprune.support.errors import InputError


@dataclass(frozen=True)
class Plan:
    """What is pruned and how, one entry a coupling.

    Attributes:
        family: the model family whose table the couplings come from.
        fingerprint: of the names and shapes of the model's tensors; a plan fits only models with the same.
        entries: one per coupling.
        asked: sizes that the user asked for, by name; empty before selection.
        reached: sizes that the selection has, by name; empty before selection.
        precision: that the pruned model is to compute in, where the selection chose it; else None.

    Example:
        >>> Plan.from_json(Plan("marian", "0" * 16, ()).to_json()) == Plan("marian", "0" * 16, ())
        True
    """

    family: str
    fingerprint: str
    entries: tuple[Entry, ...]
    asked: Mapping[str, float] = field(default_factory=dict)
    reached: Mapping[str, float] = field(default_factory=dict)
    precision: Precision | None = None

    @property
    def couplings(self) -> tuple[Coupling, ...]:
        """The couplings of all entries."""
        return tuple(entry.coupling for entry in self.entries)

    @property
    def selected(self) -> bool:
        """Whether every entry says what it keeps."""
        return all(entry.kept is not None for entry in self.entries)

    def with_kept(self, kept: Kept, asked: Mapping[str, float], reached: Mapping[str, float]) -> Plan:
        """The plan after selection. Raises `InputError` for a coupling that is not in the plan."""
        if unknown := set(kept) - {entry.coupling.name for entry in self.entries}:
            raise InputError(f"plan: no coupling {sorted(unknown)[0]!r}")
        entries = tuple(
            dataclasses.replace(e, kept=kept_of(kept[e.coupling.name])) if e.coupling.name in kept else e
            for e in self.entries
        )
        return dataclasses.replace(self, entries=entries, asked=dict(asked), reached=dict(reached))

    def bind(self, model: nn.Module) -> list[Groups]:
        """Binds the couplings to a model.

        Raises:
            InputError: the model is not the one the plan was made for.
        """
        found = fingerprint(model)
        if found != self.fingerprint:
            raise InputError(
                f"the plan was made for a model with fingerprint {self.fingerprint}, this one has {found}: "
                f"{self._unlike(model)}"
            )
        return bind(self.couplings, model)

    def _unlike(self, model: nn.Module) -> str:
        """The first thing in which a model differs from the plan's."""
        tensors = tensors_of(model)
        for entry in self.entries:
            if missing := [view.param for view in entry.coupling.views if view.param not in tensors]:
                return f"it has no {missing[0]}"
            try:
                shape = bind([entry.coupling], model)[0].shape
            except InputError as error:
                return str(error)
            if shape != entry.groups:
                return (
                    f"{entry.coupling.name} has {math.prod(shape)} groups, in the plan it has {math.prod(entry.groups)}"
                )
        return "what the plan cuts is alike, but other tensors differ in name or shape"

    def only(self, wanted: Callable[[Entry], bool]) -> Plan:
        """The plan with some of its entries."""
        return dataclasses.replace(self, entries=tuple(entry for entry in self.entries if wanted(entry)))

    def to_json(self) -> str:
        """The whole plan as JSON text, however long. Raises `InputError` for a method that has no name in plans."""
        return to_text(self._content)

    @staticmethod
    def from_json(text: str, where: str = "plan") -> Plan:
        """Reads a plan back. Raises `InputError` saying where the text is no plan."""
        return Plan(*from_text(text, where))

    def save(self, path: str | Path) -> Path:
        """Writes the plan to a file, and where it keeps very many groups, its masks to one beside it (`.safetensors`).

        Args:
            path: of the JSON file; of a folder, `plan.json` in it.

        Returns:
            The path of the JSON file, which `load` takes.

        Raises:
            InputError: it cannot be written, or a method has no name in plans.
        """
        file = Path(path, plan_files.FILE) if Path(path).is_dir() else Path(path)
        try:
            return plan_files.write(self._content, file)[0]
        except OSError as error:
            raise InputError(f"{file}: cannot be written ({error.strerror or error})") from None

    @staticmethod
    def load(path: str | Path) -> Plan:
        """Reads a plan from its JSON file, or from a folder with a `plan.json`; masks beside it are read with it.

        Raises:
            InputError: naming the file that is missing, damaged or no plan.
        """
        return Plan(*plan_files.read(Path(path)))

    @property
    def _content(self) -> Content:
        return Content(self.family, self.fingerprint, self.entries, self.asked, self.reached, self.precision)

    def __str__(self) -> str:
        rows = [("coupling", "groups", "kept", "structure", "method", "mode", "strength", "realisation")]
        for e in self.entries:
            total = math.prod(e.groups)
            kept = "-" if e.kept is None else f"{len(e.kept)} ({len(e.kept) / total:.0%})"
            shape = "x".join(map(str, e.groups)) or "1"
            rows.append(
                (
                    e.coupling.name,
                    shape,
                    kept,
                    e.coupling.views[0].structure.pattern,
                    name_of(e.method),
                    e.mode,
                    f"{e.strength:g}",
                    e.realisation,
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        asked = ", ".join(
            f"{k}: asked {v:,.4g}, reached {self.reached.get(k, math.nan):,.4g}" for k, v in self.asked.items()
        )
        chosen = [] if self.precision is None else [f"precision: {self.precision}"]
        return "\n".join([*lines, *([asked] if asked else []), *chosen])


def fingerprint(model: nn.Module) -> str:
    """A short hash of the names and shapes of all tensors of a model."""
    shapes = sorted((name, tuple(tensor.shape)) for name, tensor in tensors_of(model).items())
    return sha256(repr(shapes).encode()).hexdigest()[:16]


def make_plan(
    model: nn.Module,
    family: str,
    couplings: Sequence[Coupling],
    *,
    method: Method | str | None = None,
    mode: Mode = Mode.PROXIMAL,
    strengths: Mapping[str, float] | float = 0.0,
) -> Plan:
    """A plan that treats all couplings the same, but for their strengths.

    Open couplings are gathered, closed ones shrunk.

    Args:
        model: what is to be pruned.
        family: whose table the couplings come from.
        couplings: of the model, as `tprune.couplings(model, kinds)` gives them.
        method: an object of a method's class, or its name; Hoyer-square at the optimiser's pace if not given.
        mode: how it reaches the weights.
        strengths: λ, one for all, or by the couplings' names.

    Raises:
        InputError: a coupling does not fit the model, a method or mode is unknown, or a coupling has no strength.

    Example:
        >>> from tprune.core.coupling import consumer, producer
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> units = Coupling("units", (producer("0.weight", "u i -> u"), consumer("2.weight", "o u -> u")))
        >>> plan = make_plan(net, "by hand", [units], strengths=0.1)
        >>> plan.entries[0].groups, plan.entries[0].strength
        ((3,), 0.1)
    """
    chosen, entries = _method(method), []
    for groups in bind(_couplings(couplings), model):
        coupling = groups.coupling
        strength = strengths if isinstance(strengths, int | float) else strengths.get(coupling.name)
        if strength is None:
            raise InputError(f"strengths: nothing for coupling {coupling.name}; expected a number for each coupling")
        realisation = usual_realisation(coupling.closed)
        entries.append(Entry(coupling, groups.shape, chosen, mode, float(strength), realisation))
    if not isinstance(strengths, int | float) and (odd := sorted(set(strengths) - {e.coupling.name for e in entries})):
        raise InputError(f"strengths: no coupling {odd[0]!r} in the plan")
    return Plan(family, fingerprint(model), tuple(entries))


def _method(method: Method | str | None) -> Method:
    if isinstance(method, type):
        raise InputError(f"method {method.__name__} is a class; expected one of its objects, {method.__name__}(...)")
    if isinstance(method, str):
        return METHODS.named(method)()
    return method or default_method()


def _couplings(couplings: Sequence[Coupling]) -> Sequence[Coupling]:
    for each in couplings:
        if not isinstance(each, Coupling):
            raise InputError(
                f"couplings holds {each!r}; expected couplings, as tprune.couplings(model, kinds) gives them"
            )
    return couplings
