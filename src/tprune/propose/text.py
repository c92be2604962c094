"""The Python file of a family: rows written out, in the form that docs/add-your-own.md teaches."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tprune.core.sites import CROSS_ATTENTION, FEED_FORWARD
from tprune.families.fused import APART
from tprune.families.rows import CONV1D
from tprune.propose.expressions import WIDTH, call, name_of, opened_at, quoted, tuple_of
from tprune.propose.found import FoundAttention, FoundFeedForward, FoundStream
from tprune.propose.templates import LAYER, OPEN, Template

IMPORTS: Mapping[str, str] = {  # where each name that a table may use lies
    "Site": "tprune.core.sites",
    "bias": "tprune.core.views",
    "consumer": "tprune.core.views",
    "producer": "tprune.core.views",
    "Attention": "tprune.families.attention",
    "Projections": "tprune.families.attention",
    "Reads": "tprune.families.attention",
    "FeedForward": "tprune.families.feed_forward",
    "APART": "tprune.families.fused",
    "INTERLEAVED": "tprune.families.fused",
    "FusedAttention": "tprune.families.fused",
    "Limited": "tprune.families.limited",
    "FAMILIES": "tprune.families.registry",
    "Residual": "tprune.families.residual",
    "CONV1D": "tprune.families.rows",
    "gone": "tprune.families.rows",
    "Table": "tprune.families.table",
}
Form = tuple[str, str]  # of a view: its role and pattern; nothing for a name alone
PLAIN: Form = ("", "")


@dataclass(frozen=True)
class Named:
    """What a family is of.

    Attributes:
        name: of the family.
        kind: the class of its models.
        module: where that class is defined; empty where that says nothing to another process.
        imported: whether transformers has that class.
    """

    name: str
    kind: str
    module: str
    imported: bool

    @property
    def belongs(self) -> str:
        """An expression: whether a model is of the family."""
        if self.imported:
            return f"isinstance(model, {self.kind})"
        what, said = "kind.__qualname__", quoted(self.kind)
        if self.module:
            what, said = f"(kind.__module__, {what})", f"({quoted(self.module)}, {said})"
        return f"any({what} == {said} for kind in type(model).__mro__)"


@dataclass(frozen=True)
class FamilyFile:
    """The Python file of a family.

    Attributes:
        definition: its imports, its rows, and its table, which is called `FAMILY`.
        entry: the line that makes the table known.
    """

    definition: str
    entry: str

    @property
    def text(self) -> str:
        """All of it."""
        return f"{self.definition}{self.entry}\n"


def family_file(
    named: Named,
    blocks: Sequence[Template],
    stream: FoundStream | None,
    *,
    lines: bool = False,
    tolerance: float = 1e-10,
    comments: Sequence[str] = (),
) -> FamilyFile:
    """The file of a family.

    Args:
        named: what the family is of.
        blocks: the rows of its layers.
        stream: the row of the residual stream, if it has one.
        lines: whether single lines of its maps can be cut.
        tolerance: see `tprune.families.table.Table`.
        comments: what is left out, and why.
    """
    body = [line for prefix in dict.fromkeys(b.prefix for b in blocks) for line in _layers(prefix, blocks)]
    body += _stream(stream, blocks) if stream is not None else []
    body += [] if body else ["yield from ()"]
    body += _comments(comments)
    options = ["lines=False"] if not lines else []
    options += [f"tolerance={tolerance:g}"] if tolerance != 1e-10 else []
    table = call("Table", [quoted(named.name), f"lambda model: {named.belongs}", "rows", *options], "FAMILY = ")
    entry = f"FAMILIES.enter({quoted(named.name)}, FAMILY)"
    code = ["def rows(model):", *(f"    {line}" if line else "" for line in body), "", "", *table]
    title = f"{named.kind.rpartition('.')[2]}: a first table, as `tprune inspect --propose` found and verified it."
    head = [f'"""{title}"""', ""]
    theirs = [f"from transformers import {named.kind}", ""] if named.imported else []
    imports = _imports("\n".join([*code, entry]))
    return FamilyFile("\n".join([*head, *theirs, *imports, "", "", *code, ""]), entry)


def _imports(code: str) -> list[str]:
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    modules: dict[str, list[str]] = {}
    for name, module in IMPORTS.items():
        if name in used:
            modules.setdefault(module, []).append(name)
    return [f"from {module} import {', '.join(sorted(names))}" for module, names in modules.items()]


def _comments(comments: Iterable[str]) -> list[str]:
    found: list[str] = []
    for comment in comments:
        line = "#"
        for word in comment.split():
            if len(line) + len(word) >= WIDTH - 4:
                found.append(line)
                line = "#  "
            line += f" {word}"
        found.append(line)
    return found


def _layers(prefix: str, blocks: Sequence[Template]) -> list[str]:
    own = [block for block in blocks if block.prefix == prefix]
    if not prefix:
        return [line for block in own for line in _row(block, str(block.numbers[0] + block.offset))]
    offset = own[0].offset
    every = sorted({number for block in own for number in block.numbers})
    found = [
        f"for number in range(len(model.get_submodule({quoted(prefix)}))):",
        f"    layer = {opened_at('number', '', f'{prefix}.')}",
    ]
    for block in own:
        number = f"{offset} + number" if offset else "number"
        rows = _row(block, number)
        if list(block.numbers) != every or every != list(range(len(every))):
            rows = [f"if number in {tuple_of([str(n) for n in block.numbers])}:", *(f"    {row}" for row in rows)]
        found += [f"    {row}" for row in rows]
    return found


def _row(block: Template, number: str) -> list[str]:
    site = f'Site("{block.stack}", {number}, "{block.block}")'
    if isinstance(block.found, FoundFeedForward):
        return _yielded(block, "FeedForward", _feed_forward(block, block.found, site))
    return _attention(block, block.found, site)


def _yielded(block: Template, name: str, args: Sequence[str]) -> list[str]:
    if not block.without:
        return call(name, args, "yield ")
    rows = call(name, args, "row = ")
    return [*rows, f"yield Limited(row, {tuple_of([quoted(kind) for kind in block.without])})"]


def _feed_forward(block: Template, found: FoundFeedForward, site: str) -> list[str]:
    args = [site, name_of(found.module), tuple_of([name_of(up) for up in found.ups]), name_of(found.down)]
    if found.layer and block.block == FEED_FORWARD:
        args.append(f"layer={'layer' if found.layer == OPEN else name_of(found.layer)}")
    return args + _held(found.parts, found.held is CONV1D)


def _held(parts: int, conv1d: bool) -> list[str]:
    return (["held=CONV1D"] if conv1d else []) + ([f"parts={parts}"] if parts > 1 else [])


def _attention(block: Template, found: FoundAttention, site: str) -> list[str]:
    module = "cross" if block.block.startswith(CROSS_ATTENTION) else "attention"
    slots = [f"{slot}={quoted(name)}" for slot, name in block.reads.items() if (slot, name) != ("dim", "head_dim")]
    reads = f"Reads({', '.join(slots)})"
    heads, kv = (_count(block, found, slot) for slot in ("heads", "kv"))
    args = [site, module, *_maps(found, module), heads]
    if not found.order:
        args += [kv, reads, *(["rotary=True"] if not found.inside else ["even=True"] if block.even else [])]
        args += [f"norms={tuple_of([name_of(norm) for norm in found.norms])}"] if found.norms else []
    else:
        args += ["APART" if found.order == APART else "INTERLEAVED", reads, *_held(1, found.held is CONV1D)]
        args += [f"kv={kv}"] if found.kv != found.heads else []
    args += [f"returns={block.returns}"] if block.returns != 2 else []
    rows = _yielded(block, "FusedAttention" if found.order else "Attention", args)
    start = f"{module} = {name_of(found.module)}"
    inside = [f"held = model.get_submodule({module})", *rows]
    return [start, f"if not gone(model, {module}):", *(f"    {row}" for row in inside)]


def _maps(found: FoundAttention, module: str) -> list[str]:
    def short(name: str) -> str:
        inside = name.startswith(f"{found.module}.")
        return opened_at(module, name[len(found.module) :]) if inside else name_of(name)

    if found.order:
        return [short(found.maps[0]), short(found.maps[3])]
    if all(name.startswith(f"{found.module}.") for name in found.maps):
        names = ", ".join(quoted(name[len(found.module) + 1 :]) for name in found.maps)
        return [f'Projections(*(f"{{{module}}}.{{name}}" for name in ({names})))']
    return call("Projections", [short(name) for name in found.maps])


def _count(block: Template, found: FoundAttention, slot: str) -> str:
    """How many heads a model has, pruned or not: as its code reads it, or from the shape of a map."""
    if slot in block.reads and not (slot == "kv" and found.kv == found.heads):
        return f"held.{block.reads[slot]}"
    if slot == "kv" and found.kv == found.heads:
        return _count(block, found, "heads")
    shape = 1 - found.held.outputs if found.order else found.held.outputs
    name = name_of(found.maps[3] if found.order else found.maps[0 if slot == "heads" else 1])
    if found.order and slot == "kv":
        qkv, o = name_of(found.maps[0]), name
        more = f"model.get_submodule({qkv}).weight.shape[0] - model.get_submodule({o}).weight.shape[1]"
        return f"({more}) // (2 * held.{block.reads['dim']})"
    return f"model.get_submodule({name}).weight.shape[{shape}] // held.{block.reads['dim']}"


def _stream(stream: FoundStream, blocks: Sequence[Template]) -> list[str]:
    found: list[str] = []
    prefixes = {match["prefix"] for name in _all(stream) if (match := LAYER.match(name))}
    counts = {prefix: _layers_of(prefix, stream, blocks) for prefix in sorted(prefixes)}
    named = {prefix: f"layers{number or ''}" for number, prefix in enumerate(p for p in counts if counts[p] > 1)}
    for prefix, name in named.items():
        layers = opened_at("n", "", f"{prefix}.")
        found.append(f"{name} = [{layers} for n in range(len(model.get_submodule({quoted(prefix)})))]")
    args: list[str] = []
    for what in ("embeddings", "norms", "writers", "readers", "conv1d"):
        items = [(PLAIN, name) for name in getattr(stream, what)]
        if items or what != "conv1d":
            args += _items(what, items, counts, named)
    if stream.tensors:
        views = [((view.role, view.pattern), view.tensor) for view in stream.tensors]
        args += _items("tensors", views, counts, named)
    args += ["rms=True"] if stream.rms else []
    args += [f"offset={stream.offset}"] if stream.rms and stream.offset else []
    return [
        *found,
        "yield Residual(",
        *(f"    {line}," if not line.endswith(("(", ",")) else f"    {line}" for line in args),
        ")",
    ]


def _all(stream: FoundStream) -> list[str]:
    names = [*stream.embeddings, *stream.norms, *stream.writers, *stream.readers]
    return names + [view.tensor for view in stream.tensors]


def _layers_of(prefix: str, stream: FoundStream, blocks: Sequence[Template]) -> int:
    numbers = {int(m["number"]) for name in _all(stream) if (m := LAYER.match(name)) and m["prefix"] == prefix}
    numbers |= {number for block in blocks if block.prefix == prefix for number in block.numbers}
    return max(numbers) + 1 if numbers == set(range(len(numbers))) else 0


def _items(
    what: str, items: Sequence[tuple[Form, str]], counts: Mapping[str, int], named: Mapping[str, str]
) -> list[str]:
    """A tuple of names, those that all layers have as one comprehension."""
    layered: dict[tuple[Form, str, str], set[int]] = {}
    for form, name in items:
        if (match := LAYER.match(name)) and match["prefix"] in named:
            rest = name[match.end("number") :]
            layered.setdefault((form, match["prefix"], rest), set()).add(int(match["number"]))
    whole = {key for key, numbers in layered.items() if len(numbers) == counts[key[1]]}
    said: dict[str, None] = {}
    for form, name in items:
        match = LAYER.match(name)
        key = (form, match["prefix"], name[match.end("number") :]) if match else None
        if key in whole and key is not None:
            said[f"*({_formed(form, opened_at('layer', key[2]))} for layer in {named[key[1]]})"] = None
        else:
            said[_formed(form, quoted(name))] = None
    return (
        [f"{what}={tuple_of(list(said))}"]
        if sum(map(len, said)) < 70
        else [f"{what}=(", *(f"    {s}," for s in said), "),"]
    )


def _formed(form: Form, name: str) -> str:
    role, pattern = form
    return f"{role}({name}, {quoted(pattern)})" if role else name
