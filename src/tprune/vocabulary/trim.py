"""A translation model and its tokeniser with only the tokens that a corpus needs."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import nn
from transformers import PreTrainedTokenizerBase

from tprune.core.model import Model, Tokenizer
from tprune.core.task import Task
from tprune.counting.size import Size, size
from tprune.data.parallel import Parallel, check_parallel
from tprune.support.errors import InputError, TpruneWarning
from tprune.support.texts import check_list
from tprune.vocabulary.embedding_rows import outputs_of, special_ids, tokens_of, trim_model
from tprune.vocabulary.tokenizer_subset import vocabulary_of

FOREIGN = 0.05  # share of unknown tokens from which a corpus looks like one of another language


@dataclass(frozen=True)
class Coverage:
    """What trimming did to a text, both sides of it; tokens are counted with end tokens.

    Attributes:
        sentences: in the text.
        changed: of these, those that are other tokens now.
        tokens: of the text, as it was split before.
        tokens_after: as it is split now.
        dropped: of `tokens`, those that were cut from the vocabulary.
        unknown: of `tokens`, those that stand for text without a token.
        unknown_after: of `tokens_after`, those that do.
    """

    sentences: int
    changed: int
    tokens: int
    tokens_after: int
    dropped: int
    unknown: int
    unknown_after: int

    @property
    def lost(self) -> float:
        """The share of the text's tokens that were cut from the vocabulary."""
        return self.dropped / max(1, self.tokens)

    def __str__(self) -> str:
        return (
            f"{self.changed} of {self.sentences} sentences split anew, {_percent(self.dropped, self.tokens)} of tokens "
            f"dropped, {self.tokens:,} -> {self.tokens_after:,} tokens, unknown {_percent(self.unknown, self.tokens)} "
            f"-> {_percent(self.unknown_after, self.tokens_after)}"
        )


@dataclass(frozen=True)
class Trimmed:
    """A trimmed model with its tokeniser, each of the class it had.

    Attributes:
        model: with one row per kept token.
        tokenizer: of the kept tokens.
        kept: for every new id the old one, ascending.
        written: how many of the kept tokens the model may write; the others it only reads.
        tokens: how many there were, and `writable` how many of them it might write.
        writable: see `tokens`.
        before: the model's size before; `after` of what is left.
        corpus: what happened to the corpus.
        held_out: what happened to the held-out text, if one was given.
    """

    model: Model
    tokenizer: Tokenizer
    kept: tuple[int, ...]
    written: int
    tokens: int
    writable: int
    before: Size
    after: Size
    corpus: Coverage
    held_out: Coverage | None = None

    @property
    def whole(self) -> bool:
        """Whether every token is needed, so that nothing was cut."""
        return (len(self.kept), self.written) == (self.tokens, self.writable)

    def __str__(self) -> str:
        rows = [
            ("tokens", self.tokens, len(self.kept)),
            ("written", self.writable, self.written),
            ("parameters", self.before.parameters, self.after.parameters),
            ("bytes", self.before.bytes, self.after.bytes),
            ("MACs", self.before.macs, self.after.macs),
        ]
        lines = [f"{name:<11}{was:>12,} -> {now:>12,}  {_percent(now, was):>7}" for name, was, now in rows]
        lines.append(f"{'corpus':<11}{self.corpus}")
        if self.held_out is not None:
            lines.append(f"{'held out':<11}{self.held_out}")
        if self.whole:
            lines.append("every token is needed; nothing was cut")
        return "\n".join(lines)


def trim_vocabulary(
    model: nn.Module,
    tokenizer: Tokenizer,
    corpus: Parallel,
    *,
    also: Iterable[str] = (),
    least: int = 1,
    held_out: Parallel | None = None,
    task: Task | None = None,
) -> Trimmed:
    """Model and tokeniser with only the tokens that a corpus needs; those given stay as they are.

    The kept tokens K have the embeddings and logits of before, so `p'(t) = p(t) / Σ_{u∈K} p(u)` for t in K. A greedy
    translation stays the same if all its tokens are kept. Beam search adds up the renormalised probabilities, and may
    choose another one. With `least=1` the corpus itself is split into the same tokens as before.

    Of the kept tokens the model writes only those of the translations: the others are `suppress_tokens` of its
    generation settings, and an export leaves their rows out of the decoder, where the output layer is most of what
    pruning cannot cut.

    Args:
        model: a (pruned) Marian or BART model.
        tokenizer: its own; see `tprune.vocabulary.tokenizer_subset.vocabulary_of`.
        corpus: sentences like those to be translated, and their translations (the model's own, where there are no
            others).
        also: more sentences, of either language.
        least: tokens that `corpus` and `also` have fewer times are cut too.
        held_out: sentences to measure on what is lost.
        task: whose example the sizes are counted for; the model's own if not given.

    Raises:
        InputError: an unsupported model or tokeniser, separate vocabularies for source and target, a model and a
            tokeniser of unequal sizes, or `least` below 1.

    Warns:
        TpruneWarning: more than 5 % of the corpus's tokens are unknown to the tokeniser.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer
        >>> tokenizer = train_tokenizer(["a cat sat", "a dog sat", "the dogs run"], vocabulary=60, max_length=16)
        >>> model = new_model(MarianSize(16, (1, 1), 2, 32, len(tokenizer), 0.0, 32), len(tokenizer))
        >>> small = trim_vocabulary(model, tokenizer, Parallel(("a cat",), ("a cat sat",)))
        >>> len(tokenizer), len(small.tokenizer), small.tokenizer.tokenize("a cat")
        (32, 22, ['▁a', '▁cat'])
    """
    check_list(also, "also")
    check_parallel(corpus, "corpus")
    if least < 1:
        raise InputError(f"least {least}; expected at least 1")
    rows, words = tokens_of(model), vocabulary_of(tokenizer)
    ids = set(tokenizer.get_vocab().values())
    if ids != set(range(rows)):
        raise InputError(
            f"the tokeniser has {len(ids)} tokens, the model {rows}; expected a model with the tokeniser it was "
            "trained with"
        )
    counts, written = _counts(tokenizer, corpus, tuple(also))
    frequent = (token for token, count in counts.items() if count >= least)
    always = words.base | special_ids(model)
    kept = tuple(sorted(always | words.needed(frequent)))
    small, trimmed = trim_model(model, kept), words.keep(kept)
    never = set(cast(Model, model).generation_config.suppress_tokens or ())
    output = (always | {token for token, count in written.items() if count >= least}) - never
    write_only_(small, [index for index, old in enumerate(kept) if old in output])

    def covered(text: Parallel) -> Coverage:
        return coverage(_encoded(tokenizer, text), _encoded(trimmed, text), kept, words.unknown)

    found = covered(corpus)
    if found.unknown > FOREIGN * found.tokens:
        share = _percent(found.unknown, found.tokens)
        message = f"{corpus.name}: the tokeniser does not know {share} of the tokens; is this one of its languages?"
        warnings.warn(message, TpruneWarning, stacklevel=2)
    beyond = None if held_out is None else covered(held_out)
    sizes = size(model, task), size(small, task)
    return Trimmed(small, trimmed, kept, len(output), rows, rows - len(never), *sizes, found, beyond)


def writable(model: Any, tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> list[int]:
    """The tokens of texts as translations, with those that every translation may need; ascending.

    Raises:
        InputError: an unsupported model or tokeniser, as `trim_vocabulary`.
    """
    check_list(texts, "texts")
    rows = tokenizer(text_target=list(texts), verbose=False).input_ids
    return sorted(vocabulary_of(tokenizer).base | special_ids(model) | {token for row in rows for token in row})


def write_only_(model: Any, tokens: Sequence[int]) -> None:
    """Lets a model write these tokens and no others, with probabilities among them, in place.

    By its generation settings.

    Raises:
        InputError: a model whose tokens cannot be left out of its outputs, such as a T5.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model
        >>> model = new_model(MarianSize(16, (1, 1), 2, 32, 6, 0.0, 32), 6)
        >>> write_only_(model, [0, 1, 2, 4])
        >>> model.generation_config.suppress_tokens
        [3, 5]
    """
    config, left = model.generation_config, set(tokens)
    others = [token for token in range(outputs_of(model)) if token not in left]
    if others:
        config.suppress_tokens, config.renormalize_logits = sorted({*(config.suppress_tokens or ()), *others}), True


def restricted_to(model: Any, tokens: Sequence[int]) -> Any:
    """A copy of a model whose output vocabulary is restricted to these tokens; see `write_only_`."""
    twin = copy.deepcopy(model)
    write_only_(twin, tokens)
    return twin


def coverage(
    before: Sequence[Sequence[int]], after: Sequence[Sequence[int]], kept: Sequence[int], unknown: Iterable[int]
) -> Coverage:
    """Compares sentences in old ids with the same ones in new ids; `unknown` are old ids.

    Example:
        >>> coverage([[3, 1], [2, 1]], [[2, 0], [1, 1, 0]], kept=[1, 4, 3], unknown=[4]).changed
        1
    """
    left, mysterious = set(kept), set(unknown)
    now = [[kept[index] for index in row] for row in after]
    return Coverage(
        sentences=len(before),
        changed=sum(list(was) != new for was, new in zip(before, now, strict=True)),
        tokens=sum(map(len, before)),
        tokens_after=sum(map(len, now)),
        dropped=sum(index not in left for row in before for index in row),
        unknown=sum(index in mysterious for row in before for index in row),
        unknown_after=sum(index in mysterious for row in now for index in row),
    )


def _counts(tokenizer: Any, corpus: Parallel, more: Sequence[str]) -> tuple[Counter[int], Counter[int]]:
    """How often each token is seen, and how often in translations.

    Of `more`, whose side is not known, as the side on which it is seen more often, and as a translation.
    """
    source, target = (Counter(token for row in side for token in row) for side in _sides(tokenizer, corpus))
    found = source + target
    if more:
        both = (
            Counter(t for row in side for t in row) for side in _sides(tokenizer, Parallel(tuple(more), tuple(more)))
        )
        source, others = both
        found, target = found + (source | others), target + (source | others)
    return found, target


def _sides(tokenizer: Any, text: Parallel) -> tuple[list[list[int]], list[list[int]]]:
    return (
        tokenizer(list(text.source), verbose=False).input_ids,
        tokenizer(text_target=list(text.target), verbose=False).input_ids,
    )


def _encoded(tokenizer: Any, text: Parallel) -> list[list[int]]:
    source, target = _sides(tokenizer, text)
    return [*source, *target]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.2f} %"
