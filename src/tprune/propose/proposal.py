"""A first family for a model that no table knows: found in a trace, verified, written as a Python file."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import PreTrainedModel

from tprune.core.known_tasks import task_of
from tprune.families.table import Table
from tprune.propose.attentions import attentions
from tprune.propose.attributes import read_numbers, ways
from tprune.propose.feed_forwards import feed_forwards
from tprune.propose.found import Found, FoundAttention, FoundStream, notes_of
from tprune.propose.inputs import small_inputs, small_model
from tprune.propose.streams import stream
from tprune.propose.templates import Block, Template, templates
from tprune.propose.text import Named, table_text
from tprune.propose.trace import Trace, trace
from tprune.propose.verify import Judge, first_tensor
from tprune.support.errors import InputError
from tprune.support.reporting import Report
from tprune.testing import check_agrees
from tprune.testing.common import in_double, randomise_

LARGE = 4_000_000  # parameters above which a model of transformers is not traced itself
Inputs = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


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
        if path.suffix != ".py" or not path.stem.isidentifier():
            raise InputError(f"{path}: expected the name of a Python module, such as {self.name_of_file}")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(self.text)
        except FileExistsError:
            raise InputError(f"{path} exists and is not replaced; name another file (--out)") from None
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        return path

    @property
    def name_of_file(self) -> str:
        """What the file is called if nothing else is said."""
        return file_of(self.name)


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
        model: with any weights, whose values do not matter. Of a large one of transformers a small copy is traced.
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
    named = _named(model)
    judge = _judge(_small(model, report) if inputs is None else model, inputs)
    seen = trace(_eager(judge.model), judge.run)
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


def find(model: nn.Module, seen: Trace) -> Found:
    """The blocks of a traced model, in its order, and what is no block that a row holds.

    Args:
        model: that was traced.
        seen: its trace.
    """
    notes = notes_of(seen)
    own, fed = tuple(attentions(model, seen, notes)), tuple(feed_forwards(model, seen, notes))
    return Found(own, fed, stream(model, seen, notes), tuple(notes))


def _small(model: nn.Module, report: Report) -> nn.Module:
    """A small copy of a large model of transformers, with random weights; another model as it is."""
    if not isinstance(model, PreTrainedModel) or sum(p.numel() for p in model.parameters()) <= LARGE:
        return model
    made: nn.Module = small_model(type(model), model.config)
    report(f"traced is a copy with {sum(p.numel() for p in made.parameters()):,} parameters and random weights")
    return made


def _judge(model: nn.Module, inputs: Inputs | None) -> Judge:
    twin = in_double(model)
    randomise_(twin)
    if inputs is None and not isinstance(twin, PreTrainedModel):
        raise InputError(
            f"{type(model).__name__} is no model of transformers; expected the inputs that it is called with"
        )
    if inputs is None:
        try:
            task = task_of(twin)
            batch = task.random(twin)
            check_agrees(twin, twin, batch, task=task)
            return Judge(twin, lambda of: task.run(of, batch).logits, task, batch)
        except Exception:  # no task, or one whose inputs this model does not take
            pass
    given = small_inputs(twin) if inputs is None and isinstance(twin, PreTrainedModel) else inputs
    return Judge(twin, _runner(given if given is not None else ()))


def _eager(model: nn.Module) -> nn.Module:
    """A copy whose attentions are computed operator by operator."""
    twin = copy.deepcopy(model)
    if isinstance(twin, PreTrainedModel):
        twin.set_attn_implementation("eager")
    return twin


def _runner(inputs: Inputs) -> Any:
    def wide(x: Tensor) -> Tensor:
        return x.double() if x.is_floating_point() else x

    if isinstance(inputs, Mapping):
        by_name = {name: wide(x) for name, x in inputs.items()}
        return lambda model: first_tensor(model(**by_name))
    listed = [wide(x) for x in ([inputs] if isinstance(inputs, Tensor) else inputs)]
    return lambda model: first_tensor(model(*listed))


def _named(model: nn.Module) -> Named:
    kind = getattr(type(model), "dense_class", type(model))
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__)
    if isinstance(model, PreTrainedModel):
        name = str(model.config.model_type).removeprefix("tprune_")
    if not re.fullmatch(r"[\w-]+", name):  # it is written into code
        raise InputError(f"model_type is {name!r:.80}; expected letters, digits, - and _")
    return Named(name.lower(), kind.__name__, getattr(transformers, kind.__name__, None) is kind)


def _in_layers(blocks: Sequence[Block], notes: list[str]) -> list[Block]:
    """The blocks that lie in layers, where any do: maps of heads beside them are no blocks."""
    layered = [block for block in blocks if re.search(r"\.\d+(\.|$)", block.module)]
    if layered:
        notes += [f"{b.module}: hidden units outside of the layers" for b in blocks if b not in layered]
    return layered or list(blocks)


def _where(template: Template) -> str:
    return template.named(template.found.module) + (
        f" and {len(template.numbers) - 1} more" if template.numbers[1:] else ""
    )


def table_of(text: str) -> Table:
    """The table that a proposed file defines; it is not entered.

    Args:
        text: of the file.
    """
    space: dict[str, Any] = {}
    exec(compile(text.rpartition("FAMILIES.enter(")[0], "<proposed family>", "exec"), space)  # written by table_text
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
        table = table_of(table_text(named, [variant], None, tolerance=_tolerance(judge)))
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
        text = table_text(named, kept, width, lines=lines, tolerance=tolerance, comments=notes)
        return text, table_of(text)

    if width is not None and (wrong := judge.wrong(made()[1], ["width"])):
        notes.append(f"width of the residual stream: {wrong}")
        width = None
    if kept:
        lines = True
        lines = not judge.wrong(made()[1], ["lines"])
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
