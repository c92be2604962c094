"""A first family for a model that no table knows: found in a trace, verified, written as a Python file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from tprune.families.table import Table
from tprune.propose.attentions import attentions
from tprune.propose.attributes import read_numbers, ways
from tprune.propose.feed_forwards import feed_forwards
from tprune.propose.found import Findings, FoundAttention, FoundStream, notes_of
from tprune.propose.streams import stream
from tprune.propose.subject import Inputs, eager, judge_of, named_of, small_copy
from tprune.propose.templates import LAYER, Block, Template, templates
from tprune.propose.text import FamilyFile, Named, family_file
from tprune.propose.trace import Trace, trace
from tprune.propose.verify import Judge
from tprune.support.errors import InputError
from tprune.support.reporting import Report


@dataclass(frozen=True)
class Proposal:
    """A first table.

    Attributes:
        name: of the family.
        text: of the Python file.
        table: what the file defines.
        kinds: of couplings that were verified, with how many of each there are.
        left_out: what was not verified, and why; comments of the file.
    """

    name: str
    text: str
    table: Table
    kinds: Mapping[str, int]
    left_out: tuple[str, ...]

    def write(self, out: str | Path) -> Path:
        """Writes the file. Raises `InputError` where it exists, or where no couplings were verified.

        Args:
            out: a new file, whose name a plugin can be imported by.
        """
        path = Path(out)
        if not self.kinds:
            raise InputError(
                f"{self.name}: nothing could be verified ({'; '.join(self.left_out)[:400]}); wrote nothing"
            )
        check_new(path, self.name)
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self.text)
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        return path

    @property
    def name_of_file(self) -> str:
        """What the file is called if nothing else is said."""
        return file_of(self.name)


def check_new(path: Path, name: str) -> None:
    """Raises `InputError` for a file that exists, or whose name is none of a module.

    Args:
        path: where a family is to be written.
        name: of the family.
    """
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise InputError(f"{path}: expected the name of a Python module, such as {file_of(name)}")
    if path.exists():
        raise _exists(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")


def _exists(path: Path) -> InputError:
    return InputError(f"{path} exists and is not replaced; name another file (--out)")


def file_of(name: str) -> str:
    """What the file of a family is called, which can be imported.

    Args:
        name: of the family.

    Example:
        >>> file_of("xlm-roberta")
        'xlm_roberta_family.py'
    """
    return f"{re.sub(r'[^0-9a-zA-Z_]', '_', name)}_family.py"


def propose_family(model: nn.Module, inputs: Inputs | None = None, *, report: Report = lambda text: None) -> Proposal:
    """A first table for a model of an architecture that no family knows.

    One forward pass of a copy is watched: operations join axes, views split them into heads, products pair the axes of
    weights. From what belongs together come rows, and each row is verified: every coupling is perturbed, groups are cut
    at random, and the smaller model is compared with the masked one, also after saving and loading.

    Args:
        model: with any weights, whose values do not matter. Of a large one of transformers a small copy is traced,
            unless inputs are given, which a copy may not take.
        inputs: what it is called with: a tensor, several, or tensors by name. If not given, those of its task, or
            random texts or images for other models of transformers.
        report: is told what is being done.

    Raises:
        InputError: the model cannot be traced, or no inputs are known; says what to do next.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        >>> propose_family(net, torch.ones(2, 4)).kinds["ffn"]
        1
    """
    named = named_of(model)
    judge = judge_of(small_copy(model, report) if inputs is None else model, inputs, report)
    seen = trace(eager(judge.model), judge.run)
    found = find(judge.model, seen)
    report(f"{len(found.attentions)} attentions and {len(found.feed_forwards)} feed-forward blocks found; verifying")
    blocks: Sequence[Block] = (*found.attentions, *found.feed_forwards)
    notes, kept = list(found.notes), list[Template]()
    for template in templates(judge.model, _in_layers(blocks, notes), seen.returns):
        fitting = _verified(judge, named, template, notes)
        if fitting is not None:
            kept.append(fitting)
            report(f"verified: {fitting.block} of {_where(fitting)}")
    return _proposal(judge, named, kept, found.stream, notes)


def find(model: nn.Module, seen: Trace) -> Findings:
    """The blocks of a traced model, in its order, and what is no block that a row holds.

    Args:
        model: that was traced.
        seen: its trace.
    """
    notes = notes_of(seen)
    own, fed = tuple(attentions(model, seen, notes)), tuple(feed_forwards(model, seen, notes))
    return Findings(own, fed, stream(model, seen, notes), tuple(notes))


def _in_layers(blocks: Sequence[Block], notes: list[str]) -> list[Block]:
    """The blocks that lie in layers, where any do: maps of heads beside them are no blocks."""
    layered = [block for block in blocks if LAYER.match(block.module)]
    if layered:
        notes += [f"{b.module}: hidden units outside of the layers" for b in blocks if b not in layered]
    return layered or list(blocks)


def _where(template: Template) -> str:
    return template.named(template.found.module) + (
        f" and {len(template.numbers) - 1} more" if template.numbers[1:] else ""
    )


def table_of(file: FamilyFile) -> Table:
    """The table that a proposed file defines; it is not entered.

    Args:
        file: that is proposed.
    """
    space: dict[str, Any] = {}
    exec(compile(file.definition, "<proposed family>", "exec"), space)  # written by family_file
    table: Table = space["FAMILY"]
    return table


def _variants(judge: Judge, template: Template) -> Iterator[Template]:
    """The ways in which a template may be right, the most that can be cut first."""
    if not isinstance(template.found, FoundAttention):
        yield template
        return
    name, found = template.named(template.found.module), template.found
    held = {key: value for key, value in vars(judge.model.get_submodule(name)).items() if type(value) is int}
    read = read_numbers(judge.model, judge.run, [name])[name]
    for reads in ways(read, held, found.heads, found.kv, found.dim):
        for even in (False, True) if found.inside and not found.order and "heads" in reads else (True,):
            yield replace(template, reads=reads, even=even)


def _verified(judge: Judge, named: Named, template: Template, notes: list[str]) -> Template | None:
    """The first variant whose couplings are right, without the kinds that are not; None where none is."""
    main = "heads" if isinstance(template.found, FoundAttention) else "ffn"
    first = ""
    for variant in _variants(judge, template):
        table = table_of(family_file(named, [variant], None, tolerance=_tolerance(judge)))
        try:
            kinds = [kind for kind in dict.fromkeys(c.kind for c in table.couplings(judge.model)) if kind != "lines"]
        except InputError as error:
            first = first or str(error)
            continue
        inner = [kind for kind in kinds if kind in ("qk", "vo")]
        wrong = judge.wrong(table, [main]) or (judge.wrong(table, inner) if inner else "")
        first = first or wrong
        if not wrong:
            return _without(judge, table, variant, [kind for kind in kinds if kind not in (main, *inner)], notes)
    first = first or "its module has no attribute that says how wide a head is"
    notes.append(f"{main} of {_where(template)}: {first}")
    return None


def _without(judge: Judge, table: Table, variant: Template, kinds: Sequence[str], notes: list[str]) -> Template:
    left = {kind: wrong for kind in kinds if (wrong := judge.wrong(table, [kind]))}
    notes += [f"{kind} of {_where(variant)}: {wrong}" for kind, wrong in left.items()]
    return replace(variant, without=tuple(left))


def _tolerance(judge: Judge) -> float:
    """Norms by the root mean square, and some attentions, are computed in single precision whatever the model is in."""
    return 1e-6 if isinstance(judge.model, PreTrainedModel) else 1e-10


def _proposal(
    judge: Judge, named: Named, kept: Sequence[Template], width: FoundStream | None, notes: list[str]
) -> Proposal:
    """The whole table, checked once more together."""
    tolerance, lines = _tolerance(judge), False

    def made() -> tuple[str, Table]:
        file = family_file(named, kept, width, lines=lines, tolerance=tolerance, comments=notes)
        return file.text, table_of(file)

    if width is not None and (wrong := judge.wrong(made()[1], ["width"])):
        notes.append(f"width of the residual stream: {wrong}")
        width = None
    if kept:
        lines = True
        if wrong := judge.wrong(made()[1], ["lines"]):
            notes.append(f"lines of single maps: {wrong}")
            lines = False
    text, table = made()
    with torch.no_grad():
        couplings = table.couplings(judge.model)
    kinds = list(dict.fromkeys(coupling.kind for coupling in couplings))
    counts = {kind: sum(coupling.kind == kind for coupling in couplings) for kind in kinds}
    closed = [kind for kind in kinds if kind != "lines"]
    if len(closed) > 1 and (wrong := judge.wrong(table, closed)):
        raise InputError(
            f"{named.kind}: what was verified kind by kind ({', '.join(closed)}) does not hold together ({wrong}); "
            "write the table by hand: docs/add-your-own.md, A family"
        )
    return Proposal(named.name, text, table, counts, tuple(notes))
