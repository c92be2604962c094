"""Sentences of more tokens than a model has positions for: left out, cropped or refused, and always counted."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tprune.data.parallel import Corpus, Parallel, place
from tprune.support.errors import InputError
from tprune.tasks.translation.encoding import max_length

Lengths = Callable[[Sequence[str]], list[int]]  # tokens of each text, special ones included
SAFE = 2  # tokens a byte, and 8 more: no tokeniser makes more, so that shorter texts need not be counted
OPTION = "--long-share "  # of the verbs without a recipe
NAMED = 20  # lines that are named where all are refused


@dataclass(frozen=True)
class LongLines:
    """What becomes of sentences that are too long for a model.

    Attributes:
        how: leave them out (`skip`), keep their beginnings (`crop`), or refuse them (`fail`).
        share: of a set's sentences that may be too long; more are refused.
        option: what raises that share, for messages.
    """

    how: Literal["skip", "crop", "fail"] = "skip"
    share: float = 0.01
    option: str = "--set data.long_share="

    def fit(self, pairs: Parallel, source: Lengths, target: Lengths | None, limit: int) -> tuple[Parallel, list[str]]:
        """The pairs that a model can take, and a line that says what became of the others, where there are any.

        Args:
            pairs: sentences with their translations.
            source: counts the tokens of sentences.
            target: of translations; None where these are references, which no model reads.
            limit: tokens that the model takes.

        Raises:
            InputError: more than `share` of them are too long, or any with `fail`; names the first by file and line.
        """
        counts: list[Mapping[int, int]] = [too_long(pairs.source, source, limit)]
        if target is not None:
            counts.append(too_long(pairs.target, target, limit))
        if not (long := sorted({index for found in counts for index in found})):
            return pairs, []
        which = next(side for side, found in enumerate(counts) if long[0] in found)
        example = f"{place(pairs, which, long[0])} has {counts[which][long[0]]:,} tokens"
        if self.how == "fail":
            more = ", ".join(str(pairs.line(i)) for i in long[1:NAMED])
            others = f"; too long, too, are lines {more}{' ...' * (len(long) > NAMED)}" if more else ""
            raise InputError(f"{example}; the model takes at most {limit}{others} (--long-lines skip leaves them out)")
        share, those = len(long) / len(pairs), f"{len(long):,} of {len(pairs):,}"
        if share > self.share or (self.how == "skip" and len(long) == len(pairs)):
            raise InputError(
                f"{pairs.name}: {those} sentences ({share:.1%}) have more tokens than the {limit} that the model "
                f"takes; {example}. At most {self.share:.1%} are left out or cropped (--long-lines {self.how}); split "
                f"or remove these lines, or allow more with {self.option}{_rounded_up(share):g}"
            )
        if self.how == "crop":
            return _cropped(pairs, counts, (source, target), limit), [
                f"{pairs.name}: {those} sentences are cropped to the {limit} tokens that the model takes; {example}"
            ]
        gone = set(long)
        kept = pairs.picked([index for index in range(len(pairs)) if index not in gone])
        if target is None:
            return kept, [
                f"{pairs.name}: {those} test sentences are NOT SCORED, for the model takes {limit} tokens and "
                f"{example}; BLEU and chrF are of the others (--long-lines crop translates their beginnings)"
            ]
        return kept, [f"{pairs.name}: {those} pairs are left out, for the model takes {limit} tokens and {example}"]

    def fit_corpus(self, corpus: Corpus, model: Any, tokenizer: Any) -> tuple[Corpus, list[str]]:
        """A corpus that a model can take, and what became of the rest; of test sets only the sources count.

        Raises:
            InputError: as `fit`.
        """
        source, target = lengths(tokenizer)
        limit, said = max_length(model), list[str]()

        def fitted(pairs: Parallel, scored: bool = False) -> Parallel:
            fit, lines = self.fit(pairs, source, None if scored else target, limit)
            said.extend(lines)
            return fit

        train, valid = fitted(corpus.train), fitted(corpus.valid)
        return Corpus(train, valid, {name: fitted(pairs, True) for name, pairs in corpus.tests.items()}), list(
            dict.fromkeys(said)
        )


def lengths(tokenizer: Any) -> tuple[Lengths, Lengths]:
    """What counts the tokens of sentences and of translations."""
    return (
        lambda texts: [len(ids) for ids in tokenizer(list(texts), verbose=False).input_ids],
        lambda texts: [len(ids) for ids in tokenizer(text_target=list(texts), verbose=False).input_ids],
    )


def too_long(texts: Sequence[str], count: Lengths, limit: int) -> dict[int, int]:
    """The tokens of those texts that have more than `limit`, by their places.

    Example:
        >>> too_long(["a b", "a b c d e f g h i j k l"], lambda texts: [len(text.split()) for text in texts], 9)
        {1: 12}
    """
    some = [index for index, text in enumerate(texts) if SAFE * _bytes(text) + 8 > limit]
    found = count([texts[index] for index in some]) if some else []
    return {index: tokens for index, tokens in zip(some, found, strict=True) if tokens > limit}


def crop(text: str, count: Lengths, limit: int) -> str:
    """The longest beginning of a text that has at most `limit` tokens, to a whole word where it has spaces.

    Raises:
        InputError: not even its first character fits.

    Example:
        >>> crop("one two three four", lambda texts: [len(text.split()) for text in texts], 2)
        'one two'
    """
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count([text[:middle]])[0] <= limit else (low, middle - 1)
    begun = 0 < low < len(text) and not text[low - 1].isspace() and not text[low].isspace()  # within a word
    words = text[:low].rsplit(maxsplit=1) if begun else [text[:low]]
    found = (words[0] if len(words) == 2 else text[:low]).rstrip()
    if not found or count([found])[0] > limit:
        raise InputError(f"{text[:40]!r}...: no beginning of this sentence has at most {limit} tokens")
    return found


def _cropped(
    pairs: Parallel, counts: Sequence[Mapping[int, int]], sides: Sequence[Lengths | None], limit: int
) -> Parallel:
    texts = [list(pairs.source), list(pairs.target)]
    for side, found, count in zip(texts, counts, sides, strict=False):
        for index in found:
            assert count is not None
            side[index] = crop(side[index], count, limit)
    return replace(pairs, source=tuple(texts[0]), target=tuple(texts[1]))


def _bytes(text: str) -> int:
    """Bytes of a text, or of its compatibility form where that has more; tokenisers may take either."""
    if text.isascii():
        return len(text)
    return max(len(text.encode()), len(unicodedata.normalize("NFKC", text).encode()))


def _rounded_up(share: float) -> float:
    """A share in whole percents that is no smaller."""
    return -(-share * 100 // 1) / 100
