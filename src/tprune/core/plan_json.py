"""Plans as JSON text. What is wrong with a text is said with its place."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from tprune.core import method_json
from tprune.core.coupling import Coupling, Role, View
from tprune.core.entry import Entry, Mode, kept_of
from tprune.core.precision import Precision
from tprune.core.sites import site_from_json, site_from_name
from tprune.core.structure import Structure
from tprune.support.errors import InputError

VERSION = 1
KEYS = frozenset({"tprune_plan", "family", "fingerprint", "asked", "reached", "entries"})
PRECISION = "precision"  # the key of one that the selection chose
TENSORS = "tensors"  # the key that names the file with the masks, where they are not in the text
APART = "tensor"  # stands for kept indices that are in that file
Masks = Callable[[object], Mapping[str, Tensor]]


class Content(NamedTuple):
    """The fields of a plan."""

    family: str
    fingerprint: str
    entries: tuple[Entry, ...]
    asked: Mapping[str, float]
    reached: Mapping[str, float]
    precision: Precision | None = None


def to_data(content: Content, tensors: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A plan as JSON has it.

    Args:
        content: its fields.
        tensors: where what is kept lies, if not here: see `tprune.core.plan_files`.
    """
    return {
        "tprune_plan": VERSION,
        "family": content.family,
        "fingerprint": content.fingerprint,
        "asked": dict(content.asked),
        "reached": dict(content.reached),
        **({} if (chosen := content.precision) is None else {PRECISION: _precision_to_json(chosen)}),
        **({} if tensors is None else {TENSORS: dict(tensors)}),
        "entries": [_entry_to_json(entry, apart=tensors is not None) for entry in content.entries],
    }


def to_text(content: Content, tensors: Mapping[str, str] | None = None) -> str:
    """A plan as JSON text; see `to_data`."""
    return json.dumps(to_data(content, tensors), indent=1)


def from_text(text: str, where: str, masks: Masks | None = None) -> Content:
    """Reads a plan back.

    Args:
        text: JSON.
        where: it is from, for messages.
        masks: gives the keep masks of a plan whose text only names their file.

    Raises:
        InputError: the text is no plan; says where.
    """
    data = _checked(_parsed(text, where), where)
    if TENSORS in data and masks is None:
        raise InputError(f"{where}: what it keeps lies in a file beside it; read both with Plan.load(path)")
    found = masks(data[TENSORS]) if TENSORS in data and masks is not None else {}
    try:
        entries = tuple(_entry_from_json(entry, found) for entry in data["entries"])
        precision = _precision_from_json(data[PRECISION]) if PRECISION in data else None
        return Content(data["family"], data["fingerprint"], entries, data["asked"], data["reached"], precision)
    except (KeyError, TypeError, AttributeError) as error:
        missing = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:300]
        raise InputError(f"{where}: malformed ({missing}); expected a plan.json that tprune wrote") from None
    except RecursionError:
        raise InputError(f"{where}: malformed (nested too deeply); expected a plan.json that tprune wrote") from None
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: no JSON ({error})") from None


def _checked(data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, dict) or data.get("tprune_plan") != VERSION:
        raise InputError(f"{where}: not a tprune plan of version {VERSION}")
    if unknown := set(data) - KEYS - {TENSORS, PRECISION}:
        raise InputError(f"{where}: unknown key {sorted(unknown)[0]!r}; expected {', '.join(sorted(KEYS))}")
    for key in ("asked", "reached"):
        sizes = data.get(key)
        if not isinstance(sizes, dict) or any(type(size) not in (int, float) for size in sizes.values()):
            raise InputError(f"{where}: {key} is {reprlib.repr(sizes)}; expected numbers by unit")
    for key in ("family", "fingerprint"):
        if not isinstance(data.get(key), str):
            raise InputError(f"{where}: {key} is {reprlib.repr(data.get(key))}; expected text")
    return data


def _precision_to_json(precision: Precision) -> dict[str, Any]:
    return {"name": precision.name, "exceptions": list(precision.exceptions)}


def _precision_from_json(data: dict[str, Any]) -> Precision:
    exceptions = data["exceptions"]
    if not isinstance(exceptions, list) or any(type(name) is not str for name in exceptions):
        raise InputError(f"precision: exceptions are {reprlib.repr(exceptions)}; expected names of weights")
    return Precision(data["name"], tuple(exceptions))


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _entry_to_json(entry: Entry, apart: bool) -> dict[str, Any]:
    c = entry.coupling
    kept = APART if apart and entry.kept is not None else entry.kept
    return {
        "coupling": c.name,
        "kind": c.kind,
        "site": c.site,
        "closed": c.closed,
        **({"needed": True} if c.needed else {}),
        "groups": list(entry.groups),
        "views": [_view_to_json(view) for view in c.views],
        "method": method_json.to_json(entry.method, f"coupling {c.name}: method"),
        "mode": entry.mode,
        "strength": entry.strength,
        "realisation": entry.realisation,
        "kept": kept,
    }


def _view_to_json(view: View) -> dict[str, Any]:
    return {
        "param": view.param,
        "pattern": view.structure.pattern,
        "sizes": dict(view.structure.sizes),
        "role": view.role,
        "rows": view.rows,
    }


def _view_from_json(data: dict[str, Any]) -> View:
    part = None if data["rows"] is None else slice(*data["rows"])
    return View(data["param"], Structure(data["pattern"], data["sizes"]), Role(data["role"]), part)


def _entry_from_json(data: dict[str, Any], masks: Mapping[str, Tensor]) -> Entry:
    views = tuple(_view_from_json(view) for view in data["views"])
    name = data["coupling"]
    try:
        method = method_json.from_json(data["method"])
        # older plans hold no sites
        site = site_from_json(data["site"]) if "site" in data else site_from_name(name)
    except InputError as error:
        raise InputError(f"coupling {name}: {error}") from None
    coupling = Coupling(name, views, data["closed"], data["kind"], site, _needed(data, name))
    groups = _whole(data["groups"], name)
    kept = _kept_from_json(data["kept"], name, groups, masks)
    return Entry(coupling, groups, method, Mode(data["mode"]), float(data["strength"]), data["realisation"], kept)


def _needed(data: Mapping[str, Any], name: str) -> bool:
    """Whether one of the groups has to stay; most entries, and all of older plans, say nothing of it."""
    needed: object = data.get("needed", False)
    if not isinstance(needed, bool):
        raise InputError(f"coupling {name}: needed is {reprlib.repr(needed)}; expected true or false")
    return needed


def _kept_from_json(
    kept: Any, name: str, groups: tuple[int, ...], masks: Mapping[str, Tensor]
) -> tuple[int, ...] | None:
    if kept is None:
        return None
    if kept != APART:
        return _whole(kept, name)
    if name not in masks:
        raise InputError(f"coupling {name}: the file of tensors holds nothing of it")
    if tuple(masks[name].shape) != groups:
        raise InputError(f"coupling {name}: its mask has shape {tuple(masks[name].shape)}; expected {groups}")
    return kept_of(masks[name])


def _whole(numbers: Sequence[Any], name: str) -> tuple[int, ...]:
    if any(type(number) is not int or number < 0 for number in numbers):
        raise InputError(f"coupling {name}: groups and kept are lists of whole numbers ≥ 0")
    return tuple(numbers)
