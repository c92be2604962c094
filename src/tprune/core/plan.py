"""The plan: the frozen, printable, JSON record of what is pruned, how, how strongly, and, after selection, what is kept."""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tprune.core.coupling import Coupling, Groups, Role, View, bind, tensors_of
from tprune.core.known_methods import METHODS, default_method
from tprune.core.method import Method
from tprune.core.selection import Kept
from tprune.core.sites import site_from_json, site_from_name
from tprune.core.structure import Structure
from tprune.support.errors import InputError

KEYS = frozenset({"tprune_plan", "family", "fingerprint", "asked", "reached", "entries"})


class Mode(StrEnum):
    """How a penalty reaches the weights: through the gradient, beside the optimiser, or as a proximal step (exact zeros)."""

    GRADIENT = "gradient"
    DECOUPLED = "decoupled"
    PROXIMAL = "proximal"


class Realisation(StrEnum):
    """What pruned groups become: zeros, a smaller dense model, or a smaller matrix between a gather and a scatter."""

    MASKED = "masked"
    SHRUNK = "shrunk"
    GATHERED = "gathered"


@dataclass(frozen=True)
class Entry:
    """One coupling's line in the plan; `kept` holds flat group indices once they are selected."""

    coupling: Coupling
    groups: tuple[int, ...]
    method: Method = field(default_factory=default_method)
    mode: Mode = Mode.PROXIMAL
    strength: float = 0.0
    realisation: Realisation = Realisation.SHRUNK
    kept: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        try:  # their names will do, as in JSON
            object.__setattr__(self, "mode", Mode(self.mode))
            object.__setattr__(self, "realisation", Realisation(self.realisation))
        except ValueError as error:
            raise InputError(f"plan, coupling {self.coupling.name}: {error}") from None
        total = math.prod(self.groups)
        if self.kept is not None and (
            list(self.kept) != sorted(set(self.kept)) or any(not 0 <= k < total for k in self.kept)
        ):
            raise InputError(
                f"plan, coupling {self.coupling.name}: kept indices must be sorted, distinct and within 0..{total - 1}"
            )
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise InputError(f"plan, coupling {self.coupling.name}: strength must be a number ≥ 0, got {self.strength}")

    @property
    def keep(self) -> Tensor:
        """The keep mask, shaped as the groups. Everything is kept before selection."""
        mask = torch.ones(math.prod(self.groups), dtype=torch.bool)
        if self.kept is not None:
            mask[:] = False
            mask[list(self.kept)] = True
        return mask.reshape(self.groups)


@dataclass(frozen=True)
class Plan:
    """What is pruned and how, one entry a coupling.

    Attributes:
        family: the model family whose table the couplings come from.
        fingerprint: of the names and shapes of the model's tensors; a plan fits only models with the same.
        entries: one per coupling.
        asked: what the user asked for, and `reached`, once selected.

    Example:
        >>> Plan.from_json(Plan("marian", "0" * 16, ()).to_json()) == Plan("marian", "0" * 16, ())
        True
    """

    family: str
    fingerprint: str
    entries: tuple[Entry, ...]
    asked: Mapping[str, float] = field(default_factory=dict)
    reached: Mapping[str, float] = field(default_factory=dict)

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
            dataclasses.replace(e, kept=tuple(kept[e.coupling.name].flatten().nonzero().flatten().tolist()))
            if e.coupling.name in kept else e
            for e in self.entries
        )  # fmt: skip
        return dataclasses.replace(self, entries=entries, asked=dict(asked), reached=dict(reached))

    def bind(self, model: nn.Module) -> list[Groups]:
        """Binds the couplings to a model.

        Raises:
            InputError: the model is not the one the plan was made for.
        """
        found = fingerprint(model)
        if found != self.fingerprint:
            raise InputError(
                f"the plan was made for a model with fingerprint {self.fingerprint}, this one has {found}: {self._unlike(model)}"
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

    def to_json(self) -> str:
        """The plan as JSON text."""
        return json.dumps(
            {
                "tprune_plan": 1, "family": self.family, "fingerprint": self.fingerprint, "asked": dict(self.asked),
                "reached": dict(self.reached), "entries": [_entry_to_json(entry) for entry in self.entries],
            },
            indent=1,
        )  # fmt: skip

    @staticmethod
    def from_json(text: str, where: str = "plan") -> Plan:
        """Reads a plan back. Raises `InputError` saying where the text is no plan."""
        try:
            data = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: no JSON ({error})") from None
        if not isinstance(data, dict) or data.get("tprune_plan") != 1:
            raise InputError(f"{where}: not a tprune plan of version 1")
        if unknown := set(data) - KEYS:
            raise InputError(f"{where}: unknown key {sorted(unknown)[0]!r}; expected {', '.join(sorted(KEYS))}")
        for key in ("asked", "reached"):
            sizes = data.get(key)
            if not isinstance(sizes, dict) or any(type(size) not in (int, float) for size in sizes.values()):
                raise InputError(f"{where}: {key} is {reprlib.repr(sizes)}; expected numbers by unit")
        for key in ("family", "fingerprint"):
            if not isinstance(data.get(key), str):
                raise InputError(f"{where}: {key} is {reprlib.repr(data.get(key))}; expected text")
        try:
            entries = tuple(_entry_from_json(entry) for entry in data["entries"])
            return Plan(data["family"], data["fingerprint"], entries, data["asked"], data["reached"])
        except (KeyError, TypeError, AttributeError) as error:
            missing = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:300]
            raise InputError(f"{where}: malformed ({missing}); expected a plan.json that tprune wrote") from None
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None

    @staticmethod
    def load(path: str | Path) -> Plan:
        """Reads a plan file. Raises `InputError` naming the file."""
        try:
            return Plan.from_json(Path(path).read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from None

    def __str__(self) -> str:
        rows = [("coupling", "groups", "kept", "structure", "method", "mode", "strength", "realisation")]
        for e in self.entries:
            total = math.prod(e.groups)
            kept = "-" if e.kept is None else f"{len(e.kept)} ({len(e.kept) / total:.0%})"
            shape = "x".join(map(str, e.groups)) or "1"
            rows.append((
                e.coupling.name, shape, kept, e.coupling.views[0].structure.pattern, _method_name(e.method),
                e.mode, f"{e.strength:g}", e.realisation,
            ))  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        asked = ", ".join(
            f"{k}: asked {v:,.4g}, reached {self.reached.get(k, math.nan):,.4g}" for k, v in self.asked.items()
        )
        return "\n".join([*lines, *([asked] if asked else [])])


def fingerprint(model: nn.Module) -> str:
    """A short hash of the names and shapes of all tensors of a model."""
    shapes = sorted((name, tuple(tensor.shape)) for name, tensor in tensors_of(model).items())
    return sha256(repr(shapes).encode()).hexdigest()[:16]


def make_plan(
    model: nn.Module,
    family: str,
    couplings: Sequence[Coupling],
    *,
    method: Method | None = None,
    mode: Mode = Mode.PROXIMAL,
    strengths: Mapping[str, float] | float = 0.0,
) -> Plan:
    """A plan that treats all couplings alike, but for their strengths; open couplings are gathered, closed ones shrunk."""
    entries = []
    for groups in bind(couplings, model):
        coupling = groups.coupling
        strength = strengths if isinstance(strengths, int | float) else strengths[coupling.name]
        realisation = Realisation.SHRUNK if coupling.closed else Realisation.GATHERED
        entries.append(Entry(coupling, groups.shape, method or default_method(), mode, float(strength), realisation))
    return Plan(family, fingerprint(model), tuple(entries))


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _method_name(method: Method) -> str:
    for name, kind in METHODS.items():
        if type(method) is kind:
            return name
    raise InputError(f"method {method!r} has no name in plans; known are {', '.join(METHODS)}")


def _entry_to_json(entry: Entry) -> dict[str, Any]:
    c = entry.coupling
    method: Any = entry.method  # a dataclass, which a protocol cannot say
    return {
        "coupling": c.name, "kind": c.kind, "site": c.site, "closed": c.closed, "groups": list(entry.groups),
        "views": [
            {"param": v.param, "pattern": v.structure.pattern, "sizes": dict(v.structure.sizes), "role": v.role, "rows": v.rows}
            for v in c.views
        ],
        "method": {"name": _method_name(entry.method), **dataclasses.asdict(method)},
        "mode": entry.mode, "strength": entry.strength, "realisation": entry.realisation,
        "kept": None if entry.kept is None else list(entry.kept),
    }  # fmt: skip


def _entry_from_json(data: dict[str, Any]) -> Entry:
    views = tuple(
        View(
            v["param"],
            Structure(v["pattern"], v["sizes"]),
            Role(v["role"]),
            None if v["rows"] is None else slice(*v["rows"]),
        )
        for v in data["views"]
    )
    described = dict(data["method"])
    name = described.pop("name")
    if name not in METHODS:
        raise InputError(f"coupling {data['coupling']}: unknown method {name!r}; known are {', '.join(METHODS)}")
    if any(type(number) is not int or number < 0 for number in [*data["groups"], *(data["kept"] or [])]):
        raise InputError(f"coupling {data['coupling']}: groups and kept are lists of whole numbers ≥ 0")
    try:  # older plans hold no sites
        site = site_from_json(data["site"]) if "site" in data else site_from_name(data["coupling"])
    except InputError as error:
        raise InputError(f"coupling {data['coupling']}: {error}") from None
    return Entry(
        Coupling(data["coupling"], views, data["closed"], data["kind"], site), tuple(data["groups"]), METHODS[name](**described),
        Mode(data["mode"]), float(data["strength"]), Realisation(data["realisation"]),
        None if data["kept"] is None else tuple(data["kept"]),
    )  # fmt: skip
