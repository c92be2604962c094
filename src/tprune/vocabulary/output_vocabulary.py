"""A smaller output vocabulary: translations are resegmented into the tokens that lengthen them least.

The output layer multiplies with a row for every token of the output vocabulary, at every step, and no other cut touches
it. Leaving a token out lengthens a sentence that has it by `pieces − 1` tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tprune.support.errors import InputError
from tprune.support.texts import check_list
from tprune.tasks.translation.encoding import EncodedPairs
from tprune.vocabulary.embedding_rows import outputs_of, special_ids
from tprune.vocabulary.tokenizer_subset import vocabulary_of

SHARE = 8  # of the tokens that are too many, one in so many goes before all are weighed again
COMPARED = 500  # sentences that are read back, to see that pieces join to the same text

Pieces = tuple[int, ...]


@dataclass(frozen=True)
class Resegmentation:
    """An output vocabulary, and the pieces that replace every other token.

    Attributes:
        kept: ids of the output vocabulary, ascending.
        pieces: for each other id, the kept ids that replace it.
        longer: tokens of the texts it was made for, over their number before.
    """

    kept: Pieces
    pieces: Mapping[int, Pieces]
    longer: float = 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "kept": list(self.kept),
            "pieces": {str(k): list(v) for k, v in self.pieces.items()},
            "longer": self.longer,
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Resegmentation:
        """The inverse of `to_dict`. Raises `InputError` for anything else."""
        try:
            pieces = {int(k): tuple(map(int, v)) for k, v in data["pieces"].items()}
            return Resegmentation(tuple(map(int, data["kept"])), pieces, float(data["longer"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"no resegmentation ({type(error).__name__}: {error})") from None

    def __call__(self, ids: Iterable[int]) -> list[int]:
        """The same text in kept ids."""
        return [piece for index in ids for piece in self.pieces.get(index, (index,))]

    def of_pairs(self, pairs: EncodedPairs, limit: int) -> EncodedPairs:
        """Pairs with resegmented targets; one that would have more than `limit` tokens stays as it is."""
        segmented = ((target, self(target)) for target in pairs.target)
        return EncodedPairs(pairs.source, tuple(new if len(new) <= limit else old for old, new in segmented))


def find_resegmentation(model: Any, tokenizer: Any, texts: Sequence[str], most: int) -> Resegmentation:
    """A resegmentation with at most `most` tokens that lengthens translations little.

    `longer = Σ_t count(t) · pieces(t) / Σ_t count(t)` is kept small greedily: tokens with the least
    `count · (pieces − 1)` go first, each counted as its pieces afterwards. Characters and special tokens stay, so that
    every text has a segmentation.

    Args:
        model: whose translations they are.
        tokenizer: its own.
        texts: translations.
        most: size of the output vocabulary.

    Raises:
        InputError: an unsupported model, an unsupported tokeniser (see
            `tprune.vocabulary.tokenizer_subset.vocabulary_of`), one whose pieces do not join to the same text, no
            texts, or fewer tokens than there are characters and special tokens.

    Example:
        >>> from tprune.tasks.translation.encoding import MarianSize, new_model, train_tokenizer
        >>> texts = ["der hund", "der hund rennt", "der hut"]
        >>> tokenizer = train_tokenizer(texts, vocabulary=40, max_length=16)
        >>> model = new_model(MarianSize(16, (1, 1), 2, 32, 40, 0.0, 32), len(tokenizer))
        >>> resegmentation = find_resegmentation(model, tokenizer, texts, 14)
        >>> tokenizer.convert_ids_to_tokens(resegmentation(tokenizer("der hut").input_ids))
        ['▁der', '▁', 'h', 'u', 't', '</s>']
    """
    outputs_of(model)
    check_list(texts, "translations")
    if not texts:
        raise InputError("no translations to count tokens of; expected some sentences")
    rows = tokenizer(text_target=list(texts), verbose=False).input_ids
    counts = Counter(index for row in rows for index in row)
    names = {index: token for token, index in tokenizer.get_vocab().items()}
    never = set(model.generation_config.suppress_tokens or ())
    written = {index: name for index, name in names.items() if index not in never}
    stay = _staying(model, tokenizer, written)
    if most < len(stay):
        raise InputError(
            f"{most:,} tokens to write are too few; characters and special tokens alone are {len(stay):,} of "
            f"{len(written):,}: give at least --output-vocab {len(stay)}"
        )
    kept = _keep(names, counts, stay, (stay | set(counts)) - never, most)
    ids, gone = _ids(names, kept), sorted(set(names) - kept)
    pieces = {index: found for index in gone if (found := segment(names[index], ids))}
    resegmentation = Resegmentation(tuple(sorted(kept)), pieces)
    _check_text(tokenizer, rows, resegmentation)
    after = sum(count * len(pieces.get(index, (index,))) for index, count in counts.items())
    return Resegmentation(resegmentation.kept, pieces, after / counts.total())


def segment(text: str, ids: Mapping[str, int], whole: bool = True) -> Pieces:
    """The fewest pieces that a text consists of; empty where there are none. Unless `whole`, it is no piece itself.

    Example:
        >>> segment("hunde", {"hun": 7, "d": 4, "e": 5, "hu": 6, "n": 3})
        (7, 4, 5)
    """
    best: list[Pieces | None] = [(), *[None] * len(text)]
    for end in range(1, len(text) + 1):
        for start in range(end):
            before, piece = best[start], ids.get(text[start:end])
            if before is None or piece is None or not (whole or end - start < len(text)):
                continue
            so_far = best[end]
            if so_far is None or len(before) + 1 < len(so_far):
                best[end] = (*before, piece)
    return best[-1] or ()


def _staying(model: Any, tokenizer: Any, names: Mapping[int, str]) -> set[int]:
    """Special tokens, single characters, and tokens that these cannot replace."""
    always = set(vocabulary_of(tokenizer).base) | special_ids(model) | set(tokenizer.all_special_ids)
    always = {index for index, name in names.items() if index in always or len(name) == 1}
    ids = _ids(names, always)
    return always | {index for index, name in names.items() if index not in always and not segment(name, ids)}


def _keep(
    names: Mapping[int, str], counts: Mapping[int, int], stay: Collection[int], some: Collection[int], most: int
) -> set[int]:
    """What is left of some tokens when at most so many are kept."""
    kept, now = set(some), Counter(counts)
    while (excess := len(kept) - most) > 0:
        ids = _ids(names, kept)
        costs = {}
        for index in kept.difference(stay):
            costs[index] = now[index] * (len(segment(names[index], ids, whole=False)) - 1)
        kept.difference_update(sorted(costs, key=lambda index: (costs[index], index))[: -(-excess // SHARE)])
        ids = _ids(names, kept)
        now = Counter()
        for index, count in counts.items():
            for piece in (index,) if index in kept else segment(names[index], ids):
                now[piece] += count
    return kept


def _ids(names: Mapping[int, str], kept: Collection[int]) -> dict[str, int]:
    return {names[index]: index for index in kept if index in names}


def _check_text(tokenizer: Any, rows: Sequence[Sequence[int]], resegmentation: Resegmentation) -> None:
    some = rows[:: -(-len(rows) // COMPARED)]
    before = tokenizer.batch_decode(list(some), skip_special_tokens=True)
    after = tokenizer.batch_decode([resegmentation(row) for row in some], skip_special_tokens=True)
    if wrong := next((pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]), None):
        raise InputError(
            f"pieces of {type(tokenizer).__name__} do not join to the same text: {wrong[0][:80]!r} became "
            f"{wrong[1][:80]!r}; it can only write the tokens it has; leave out --output-vocab "
            "(prune.output_vocabulary)"
        )
