"""`tprune inspect --propose`: a first table for an architecture that no family here knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

from tprune.families.registry import family_of
from tprune.propose.inputs import small_model
from tprune.propose.proposal import Proposal, check_new, file_of, propose_family
from tprune.realise.model_files import content
from tprune.support.errors import InputError
from tprune.support.reporting import Report


def proposed(where: str, out: Path | None, report: Report) -> dict[str, Any]:
    """Writes the file, and says what is in it.

    Only the configuration of the model is read: a small copy with random weights shows the same.

    Args:
        where: a model's folder, or a hub id.
        out: the file; named after the model's type if not given.
        report: is told what is being done.

    Raises:
        InputError: the file exists or cannot be imported by its name, a family knows the model, no class of
            transformers is named, or nothing was verified.
    """
    kind, config = _described(where)
    model = small_model(kind, config)
    try:
        known = family_of(model).name
    except InputError:
        known = ""
    if known:
        raise InputError(f"{where}: the family {known!r} has a table for {kind.__name__}; leave out --propose")
    given = out or Path(file_of(str(config.model_type)))
    check_new(given, str(config.model_type))
    found = propose_family(model, report=report)
    kinds, unbuilt = _of_whole(where, found, kind, config)
    path = found.write(given)
    return {
        "file": str(path),
        "family": found.name,
        "verified": dict(found.kinds),
        "kinds": kinds,
        "unbuilt": unbuilt,
        "left_out": list(found.left_out),
    }


def _of_whole(
    where: str, found: Proposal, kind: type[PreTrainedModel], config: Any
) -> tuple[dict[str, int] | None, str]:
    """The couplings that the model itself has by the table of its small copy, counted by kind; no weights are made.

    None, and why, where the model cannot be built so. Raises `InputError` where the table does not fit it.
    """
    try:
        with torch.device("meta"):
            whole = kind(config)
    except Exception as error:  # of code that looks at values while it makes a model
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    try:
        kinds = Counter(coupling.kind for coupling in found.table.couplings(whole))
    except InputError as error:
        raise InputError(
            f"{where}: the table of a small copy of it does not fit the model itself ({error}); write one by hand: "
            "docs/add-your-own.md, A family"
        ) from None
    return {name: kinds[name] for name in found.kinds}, ""


def _described(where: str) -> tuple[type[PreTrainedModel], Any]:
    """The class of a model and its configuration. No code that it brings is run."""
    if Path(where).is_dir():
        said: dict[str, Any] = dict(content(Path(where) / "config.json"))
    else:
        try:
            said, _ = PreTrainedConfig.get_config_dict(where)
        except OSError as error:
            raise InputError(f"{where}: no model is there ({' '.join(str(error).split())[:160]})") from None
    names = said.get("architectures")
    if not names:
        raise InputError(
            f"{where}: its config.json names no architecture (architectures); in Python, "
            "tprune.propose_family(model, inputs) takes any module"
        )
    kind = getattr(transformers, str(names[0]), None)
    if not (isinstance(kind, type) and issubclass(kind, PreTrainedModel)):
        raise InputError(
            f"{where}: its architecture, {names[0]!r:.80}, is no class of transformers; in Python, "
            "tprune.propose_family(model, inputs) takes any module"
        )
    described: Any = kind.config_class  # type: ignore[attr-defined]  # every class of a model has one
    return kind, described.from_dict(said)


def proposed_text(found: Mapping[str, Any]) -> str:
    """What was written, for a person."""
    if found["kinds"] is not None:
        whole = f"the model itself has, by this table: {_counted(found['kinds'])}"
    else:
        whole = (
            f"the model itself cannot be built without its weights ({found['unbuilt']}), so whether the table fits it "
            "is not known: check it with --plugin and --check"
        )
    lines = [
        f"{found['file']}: verified on a small copy, by perturbing and cutting them: {_counted(found['verified'])}",
        whole,
    ]
    lines += [f"left out: {why}" for why in found["left_out"]]
    return "\n".join([*lines, f"use it with --plugin {found['file']}"])


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
