"""Which family a model is of. A family's table of couplings is the source of truth about its architecture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn

from tprune.core.coupling import Coupling
from tprune.core.family import Family
from tprune.families.plain import check_plain
from tprune.support.errors import InputError
from tprune.support.registry import Registry
from tprune.support.texts import check_list

METHODS = ("matches", "couplings", "build", "drops_empty", "inherit")
NEXT = (
    "for another, `tprune inspect MODEL --propose` writes a first table, or write a table of its blocks by hand: "
    "docs/add-your-own.md, A family"
)


class Families(Registry[Family]):
    """The families by name. Those of others are checked when they are entered, or first asked for."""

    def enter(self, name: str, thing: Family) -> None:
        """See `Registry.enter`. Raises `InputError` naming the members that it lacks, too."""
        check_members(name, thing)
        super().enter(name, thing)

    def __getitem__(self, name: str) -> Family:
        found = super().__getitem__(name)
        if name not in self.ours:
            check_members(name, found)
        return found


def check_members(name: str, family: object) -> None:
    """Raises `InputError` unless a family has all that `tprune.core.family.Family` lists, naming what it lacks.

    Args:
        name: that it is entered under, for the message.
        family: what is to be checked.
    """
    lacks = [method for method in METHODS if not callable(getattr(family, method, None))]
    kinds: Mapping[str, type | tuple[type, ...]] = {"name": str, "tolerance": (int, float)}
    lacks += [member for member, kind in kinds.items() if not isinstance(getattr(family, member, None), kind)]
    if isinstance(family, type) or lacks:
        what = f"the class {family.__name__}" if isinstance(family, type) else f"a {type(family).__name__}"
        without = f" without {', '.join(lacks)}" if lacks else ""
        raise InputError(
            f"family {name!r}: is {what}{without}; expected a tprune.families.table.Table, or an object with the "
            "members of tprune.core.family.Family"
        )


FAMILIES = Families(
    "family",
    "tprune.families",
    {
        "marian": "tprune.families.marian:MARIAN",
        "bart": "tprune.families.bart:BART",
        "bert": "tprune.families.bert:BERT",
        "roberta": "tprune.families.roberta:ROBERTA",
        "xlm-roberta": "tprune.families.roberta:XLM_ROBERTA",
        "camembert": "tprune.families.roberta:CAMEMBERT",
        "distilbert": "tprune.families.distilbert:DISTILBERT",
        "electra": "tprune.families.electra:ELECTRA",
        "albert": "tprune.families.albert:ALBERT",
        "modernbert": "tprune.families.modernbert:MODERNBERT",
        "vit": "tprune.families.vit:VIT",
        "deit": "tprune.families.vit:DEIT",
        "clip": "tprune.families.clip:CLIP",
        "clip_text_model": "tprune.families.clip:CLIP_TEXT",
        "clip_vision_model": "tprune.families.clip:CLIP_VISION",
        "llama": "tprune.families.llama:LLAMA",
        "mistral": "tprune.families.mistral:MISTRAL",
        "qwen2": "tprune.families.qwen2:QWEN2",
        "qwen3": "tprune.families.qwen3:QWEN3",
        "gemma": "tprune.families.gemma:GEMMA",
        "gemma2": "tprune.families.gemma2:GEMMA2",
        "smollm3": "tprune.families.smollm3:SMOLLM3",
        "mixtral": "tprune.families.mixtral:MIXTRAL",
        "phi3": "tprune.families.phi3:PHI3",
        "gpt2": "tprune.families.gpt2:GPT2",
        "gpt_neox": "tprune.families.gpt_neox:GPT_NEOX",
        "opt": "tprune.families.opt:OPT",
        "resnet": "tprune.families.resnet:RESNET",
        "t5": "tprune.families.t5:T5",
        "mt5": "tprune.families.t5:MT5",
        "mbart": "tprune.families.mbart:MBART",
        "m2m_100": "tprune.families.m2m_100:M2M100",
        "pegasus": "tprune.families.pegasus:PEGASUS",
        "whisper": "tprune.families.whisper:WHISPER",
        "wav2vec2": "tprune.families.wav2vec2:WAV2VEC2",
        "torch_transformer": "tprune.families.torch_transformer:TORCH_TRANSFORMER",  # after all of transformers
    },
)


_TRIED: ContextVar[Family | None] = ContextVar("tried", default=None)


@contextmanager
def trying(family: Family) -> Iterator[None]:
    """Inside, the models that a family matches are of that family, whatever else is known.

    Args:
        family: that is tried before it is entered.
    """
    before = _TRIED.set(family)
    try:
        yield
    finally:
        _TRIED.reset(before)


def family_of(model: Any) -> Family:
    """The family of a model. Raises `InputError` naming the supported ones, and what to do next.

    Args:
        model: any module.
    """
    tried = _TRIED.get()
    if tried is not None and tried.matches(model):
        return tried
    for family in FAMILIES.values():
        if family.matches(model):
            return family
    if isinstance(model, nn.Module):
        check_plain(model)  # around a model that is known there may be others
    raise InputError(f"{type(model).__name__} is of no supported family; supported are: {', '.join(FAMILIES)}; {NEXT}")


def couplings(model: nn.Module, kinds: Iterable[str] | None = None) -> tuple[Coupling, ...]:
    """The couplings of a model, all or those of some kinds.

    Kinds are `ffn`, `heads`, `qk`, `vo`, `sublayer`, `width`, `lines` and `channels`.

    Args:
        model: of a supported family.
        kinds: the wanted kinds; all if not given.

    Raises:
        InputError: the model's family is not supported, it has no coupling of an asked kind, or it has adapters or
            quantized weights.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> model = new_model(MarianSize(16, (1, 1), heads=2, ffn=32, positions=16), vocabulary=40)
        >>> [coupling.name for coupling in couplings(model, ["ffn"])]
        ['model.encoder.layers.0.ffn', 'model.decoder.layers.0.ffn']
    """
    family = family_of(model)
    check_plain(model)
    table = family.couplings(model)
    if kinds is None:
        return table
    check_list(kinds, "kinds of couplings")
    wanted = list(kinds)
    known = sorted({c.kind for c in table})
    for kind in wanted:
        if kind not in known:
            raise InputError(f"no couplings of kind {kind!r} in {type(model).__name__}; there are: {', '.join(known)}")
    return tuple(coupling for coupling in table if coupling.kind in wanted)
