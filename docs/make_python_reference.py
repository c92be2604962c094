"""Writes docs/reference/python.md: every public name with its signature and what its docstring says (a test compares).

python docs/make_python_reference.py
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tprune
from tprune.core.known_constraints import CONSTRAINTS
from tprune.core.known_methods import METHODS
from tprune.core.known_realisations import REALISATIONS
from tprune.core.known_tasks import TASKS
from tprune.families.registry import FAMILIES
from tprune.runtimes.runtime import RUNTIMES
from tprune.support.papers import papers_of

PAGE = Path(__file__).parent / "reference" / "python.md"
HOUSE = Path(tprune.__file__).parent
REGISTRIES = {
    "tprune.core.known_methods.METHODS": METHODS,
    "tprune.core.known_constraints.CONSTRAINTS": CONSTRAINTS,
    "tprune.core.known_realisations.REALISATIONS": REALISATIONS,
    "tprune.core.known_tasks.TASKS": TASKS,
    "tprune.families.registry.FAMILIES": FAMILIES,
    "tprune.runtimes.runtime.RUNTIMES": RUNTIMES,
}
ROOMS = {  # the rooms that the names of `tprune` come from
    "core": "Structures, couplings, plans and selections",
    "families": "Couplings of a model",
    "propose": "First tables of new architectures",
    "methods": "Methods",
    "budget": "Budgets",
    "costs": "Latency",
    "realise": "Realisation",
    "vocabulary": "Vocabulary",
    "data": "Data",
    "recipe": "Settings of a run",
    "run": "Runs and models",
    "support": "Errors",
}
EXTENSIONS = {  # what the author of an extension needs: all public names of these modules
    "Registry and papers": "support.registry support.papers",
    "Kinds and sites": "core.kinds core.sites",
    "Methods": "core.method",
    "Constraints": "core.constraint",
    "Scores": "scores.second_order scores.reconstruction scores.calibration scores.readers",
    "Families": "core.family families.registry families.table families.rows families.attention families.fused "
    "families.feed_forward families.residual families.channels families.limited",
    "Realisations": "core.realisation core.known_realisations",
    "Tasks": "core.task core.known_tasks core.data core.score",
    "Graphs and runtimes": "core.graph runtimes.runtime",
    "Conformance checks": "testing.common testing.structure testing.coupling testing.method testing.constraint "
    "testing.family testing.realisation testing.task testing.runtime",
}
SECTION = re.compile(r"^(Args|Attributes|Returns|Yields|Raises|Example|References):$", re.MULTILINE)
RUNTIME = "tprune_runtime."
WIDTH = 100  # a longer signature takes one line a parameter

BASES: dict[ast.ClassDef, list[ast.ClassDef]] = {}  # those of the same module

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.ClassDef | Function


@dataclass(frozen=True)
class Public:
    """A public name: where it is defined and what it is imported from."""

    module: str
    source: str
    node: Definition

    @property
    def name(self) -> str:
        """The name itself."""
        return self.node.name

    @property
    def room(self) -> str:
        """The room that it lies in; errors that the runtime package has, too, stand beside the others."""
        return "support" if self.source.startswith(RUNTIME) else self.source.partition(".")[0]

    @property
    def doc(self) -> str:
        """Its docstring, without indentation."""
        return inspect.cleandoc(ast.get_docstring(self.node) or "")


def file_of(module: str) -> Path:
    """The file of a module of `tprune`, or of the runtime package."""
    return (HOUSE.parent if module.startswith(RUNTIME) else HOUSE) / f"{module.replace('.', '/')}.py"


@cache
def definitions(module: str) -> Mapping[str, Definition]:
    """The public classes and functions that a module of `tprune` defines, by name."""
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in classes.values():
        BASES[node] = [classes[base.id] for base in node.bases if isinstance(base, ast.Name) and base.id in classes]
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")}


def main_names() -> tuple[Public, ...]:
    """The names of `tprune` itself."""
    homes = sorted((home_of(tprune._MODULES[name], name), name) for name in tprune.__all__)
    return tuple(Public("tprune", home, definitions(home)[name]) for home, name in homes)


def home_of(module: str, name: str) -> str:
    """The module that defines a name which `module` may only pass on."""
    if name in definitions(module):
        return module
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    passed = [
        node for node in tree.body if isinstance(node, ast.ImportFrom) and name in {each.name for each in node.names}
    ]
    return home_of((passed[0].module or "").removeprefix("tprune."), name)


def extension_names(section: str) -> tuple[Public, ...]:
    """The names of one section for extensions; those that `tprune` itself exports are described there."""
    from tprune import testing

    found = []
    for module in EXTENSIONS[section].split():
        for name, node in definitions(module).items():
            if module.startswith("testing."):
                found += [Public("tprune.testing", module, node)] if name in testing.__all__ else []
            elif name not in tprune.__all__:
                found.append(Public(f"tprune.{module}", module, node))
    return tuple(found)


def public_names() -> tuple[Public, ...]:
    """All names that stand on the page."""
    return (*main_names(), *(each for section in EXTENSIONS for each in extension_names(section)))


def page() -> str:
    """The page."""
    lines = ["# Python reference", "", "Made from docstrings by `python docs/make_python_reference.py`.", ""]
    lines += ["First the names of `tprune` itself, then what the author of an [extension](../add-your-own.md) needs."]
    for room, title in ROOMS.items():
        lines += ["", f"## {title}"]
        lines += [line for each in main_names() if each.room == room for line in entry(each)]
    lines += ["", "## Extensions: registries", "", *registry_lines()]
    for section in EXTENSIONS:
        lines += ["", f"## Extensions: {section[0].lower()}{section[1:]}"]
        lines += [line for each in extension_names(section) for line in entry(each)]
    return "\n".join(lines) + "\n"


def registry_lines() -> Iterator[str]:
    """The registries: where they are, the entry points that packages use, and what tprune enters."""
    yield from ("| registry | entry points | holds |", "|---|---|---|")
    for path, registry in REGISTRIES.items():
        yield f"| `{path}` | `{registry.group}` | {', '.join(f'`{name}`' for name in registry.ours)} |"


def entry(public: Public) -> Iterator[str]:
    """One name: import, signature, docstring, papers, members."""
    yield from ("", f"### {public.name}", "", "```text", f"from {public.module} import {public.name}")
    called = [] if parameters(public.node) is None else ["", *signature(public.node).splitlines()]
    yield from (*called, "```", "")
    yield from docstring(public.doc)
    for base in ancestors(public.node):
        inherited = dict(sections(inspect.cleandoc(ast.get_docstring(base) or "")))["Attributes"]
        yield from ("", f"**Attributes of every {base.name}**", "")
        yield from (f"- `{key}`: {said}" for key, said in items(inherited))
    if papers := papers_of_name(public):
        yield from ("", f"Papers: {'; '.join(papers)}.")
    if isinstance(public.node, ast.ClassDef):
        yield from members(public.node)


def members(node: ast.ClassDef) -> Iterator[str]:
    """The public methods and properties of a class, each with what it does."""
    methods = [each for each in node.body if isinstance(each, Function) and not each.name.startswith("_")]
    if methods:
        yield ""
    for each in methods:
        doc = inspect.cleandoc(ast.get_docstring(each) or "")
        shown = each.name if decorated(each, "property") else signature(each, wrap=False)
        yield f"- `{shown}`"
        yield from (f"    {line}".rstrip() for line in ("", *docstring(doc)))


def decorated(node: Definition, name: str) -> bool:
    """Whether a decorator has a name."""
    return any(re.match(rf"(\w+\.)*{name}\b", ast.unparse(each)) for each in node.decorator_list)


def fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """The fields of a dataclass or named tuple, with their text."""
    found = {name: text for base in BASES.get(node, []) for name, text in fields(base)}
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id[0] != "_":
            if "ClassVar" in ast.unparse(line.annotation) or "init=False" in ast.unparse(line):
                continue
            value, name = default(line.value), line.target.id
            found[name] = f"{name}: {ast.unparse(line.annotation)}{value and f' = {value}'}"
    yield from found.items()


def default(value: ast.expr | None) -> str:
    """A field's default as one would type it; empty where it has none."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func) not in ("field", "Field"):
        return "" if value is None else ast.unparse(value)
    named = {word.arg: word.value for word in value.keywords}
    if factory := named.get("default_factory"):
        return {"dict": "{}", "list": "[]"}.get(ast.unparse(factory), f"{ast.unparse(factory)}()")
    given = value.args[0] if value.args else named.get("default")
    return "" if given is None else ast.unparse(given)


def ancestors(node: Definition) -> Iterator[ast.ClassDef]:
    """The bases of a class in its module, and theirs, that say something of their fields."""
    for base in BASES.get(node, []) if isinstance(node, ast.ClassDef) else ():
        yield from ancestors(base)
        if "Attributes:" in (ast.get_docstring(base) or ""):
            yield base


def parameters(node: Definition) -> list[tuple[str, str]] | None:
    """The parameters of a function or of a class's constructor with their text; None for what nobody calls."""
    if isinstance(node, ast.ClassDef):
        bases = " ".join(ast.unparse(base) for base in node.bases)
        if re.search(r"\b(Protocol|StrEnum|Enum|\w*Error|Exception)\b", bases):
            return None
        own = next((each for each in node.body if isinstance(each, Function) and each.name == "__init__"), None)
        return list(fields(node)) if own is None else parameters(own)
    given, found = node.args, []
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    for arg, value in zip(positional, defaults, strict=True):
        found.append(one(arg, value))
    if given.vararg:
        found.append((given.vararg.arg, f"*{one(given.vararg, None)[1]}"))
    elif given.kwonlyargs:
        found.append(("", "*"))
    found += [one(arg, value) for arg, value in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        found.append((given.kwarg.arg, f"**{one(given.kwarg, None)[1]}"))
    return [each for each in found if each[0] not in ("self", "cls")]


def one(arg: ast.arg, value: ast.expr | None) -> tuple[str, str]:
    """A parameter's name and its text."""
    kind = f": {ast.unparse(arg.annotation)}" if arg.annotation else ""
    default = "" if value is None else f" = {ast.unparse(value)}" if kind else f"={ast.unparse(value)}"
    return arg.arg, f"{arg.arg}{kind}{default}"


def signature(node: Definition, *, wrap: bool = True) -> str:
    """How it is called."""
    texts = [text for _, text in parameters(node) or []]
    back = f" -> {ast.unparse(node.returns)}" if isinstance(node, Function) and node.returns else ""
    line = f"{node.name}({', '.join(texts)}){back}"
    if not wrap or len(line) <= WIDTH:
        return line
    return "\n".join([f"{node.name}(", *(f"    {text}," for text in texts), f"){back}"])


def sections(doc: str) -> Iterator[tuple[str, str]]:
    """The parts of a docstring: first, under the name "", the text before all sections."""
    parts = SECTION.split(doc)
    yield "", parts[0].strip()
    for name, text in zip(parts[1::2], parts[2::2], strict=True):
        yield name, inspect.cleandoc(text)


def items(text: str) -> Iterator[tuple[str, str]]:
    """The names of an `Args`, `Attributes` or `Raises` section with what is said of them."""
    for found in re.finditer(r"^(\*{0,2}[\w.]+(?:, \*{0,2}[\w.]+)*): ?(.*(?:\n[ \t]+.*)*)", text, re.MULTILINE):
        yield found[1], " ".join(found[2].split())


def docstring(doc: str) -> Iterator[str]:
    """A docstring in Markdown."""
    for name, text in sections(doc):
        if not name:
            yield from text.splitlines()
        elif name == "Example":
            yield from ("", "```pycon", *text.splitlines(), "```")
        elif listed := list(items(text)):
            yield from ("", f"**{name}**", "", *(f"- `{key}`: {said}" for key, said in listed))
        else:
            yield from ("", f"**{name}**", "", *text.splitlines())


def papers_of_name(public: Public) -> tuple[str, ...]:
    """First author, year and title of the papers that a name carries."""
    thing = getattr(
        importlib.import_module(public.source if public.source.startswith(RUNTIME) else f"tprune.{public.source}"),
        public.name,
    )
    return tuple(short(entry_) for entry_ in papers_of([thing]))


def short(bibtex: str) -> str:
    """A BibTeX entry in words: authors' family names, year, title."""
    found = {
        key: re.search(rf"^\s*.*\b{key} = \{{(.*?)\}}(?:,|$)", bibtex, re.MULTILINE)
        for key in ("author", "title", "year")
    }
    value = {key: match[1].replace("{", "").replace("}", "") if match else "" for key, match in found.items()}
    names = [name.partition(",")[0] for name in value["author"].split(" and ")]
    who = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{who} ({value['year']}), {value['title']}"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
