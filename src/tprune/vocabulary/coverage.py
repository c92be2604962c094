"""Whether a tokeniser and a model were made for a text.

A text of another language falls into short or unknown tokens, or is guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from tprune.data.parallel import Parallel
from tprune.support.texts import check_list

UNKNOWN = 0.005  # share of unknown tokens above which a text is probably not what the tokeniser was made for
EFFICIENCY = 0.55  # and the efficiency below which it is
LOOKED_AT = 1000  # sentences, evenly spaced
LOST = 0.7  # of the loss of guessing: a model that does no better was not trained on such sentences


@dataclass(frozen=True)
class TokenizerFit:
    """How a tokeniser takes a text.

    Attributes:
        unknown: the share of tokens that it does not know.
        efficiency: characters (without spaces) per token of the text, over the mean length of the vocabulary's tokens.
            Byte and character fallbacks, which leave no unknown tokens, show here.
    """

    unknown: float
    efficiency: float

    @property
    def familiar(self) -> bool:
        """Whether both lie where a tokeniser's own language lies.

        Vocabularies of 1,000 to 16,000 tokens, learnt on English and German captions, gave 0.66 to 0.84 on other
        English and German captions, 0.38 to 0.49 on French (with 0.7 to 1.3 % unknown), 0.28 to 0.48 on Polish and
        Finnish, 0.14 to 0.29 on Russian and Chinese (80 to 95 % unknown), and 0.40 to 0.55 on English contracts.
        """
        return self.unknown <= UNKNOWN and self.efficiency >= EFFICIENCY


def coverage(sentences: Sequence[str], tokenizer: PreTrainedTokenizerBase, target: bool = False) -> TokenizerFit:
    """Tokenises at most 1,000 sentences, evenly spaced; `target` takes the tokeniser's target side.

    Example:
        >>> from tprune.tasks.translation.encoding import train_tokenizer
        >>> tokenizer = train_tokenizer(["the cat sat on the mat"] * 9, vocabulary=60, max_length=16)
        >>> coverage(["the cat sat"], tokenizer).familiar, coverage(["кот сидел"], tokenizer).familiar
        (True, False)
    """
    check_list(sentences, "sentences")
    step = -(-len(sentences) // LOOKED_AT)
    shown = list(sentences)[:: max(1, step)]
    texts = {"text_target": shown} if target else {"text": shown}
    ids = [i for row in tokenizer(**texts, add_special_tokens=False, verbose=False).input_ids for i in row]
    characters = sum(len("".join(sentence.split())) for sentence in shown)
    lengths = [len(token.strip("▁Ġ@")) for token in tokenizer.get_vocab() if token not in tokenizer.all_special_tokens]
    typical = sum(lengths) / max(1, sum(length > 0 for length in lengths))
    unknown = sum(i == tokenizer.unk_token_id for i in ids) / max(1, len(ids))
    return TokenizerFit(unknown, characters / max(1, len(ids)) / max(typical, 1e-9))


def unfamiliar(pairs: Parallel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """One line for every side of a corpus that the tokeniser was hardly made for.

    It cannot tell its languages apart.
    """
    found = []
    for which, (side, sentences) in enumerate((("source", pairs.source), ("target", pairs.target))):
        seen = coverage(sentences, tokenizer, target=which == 1)
        if not seen.familiar:
            where = pairs.files[which] if pairs.files else f"{pairs.name}, {side}"
            found.append(
                f"{where}: {seen.unknown:.1%} unknown tokens, tokens {seen.efficiency:.0%} as long as the vocabulary's "
                f"(usual: at most {UNKNOWN:.1%}, at least {EFFICIENCY:.0%}); is this the {side} language of the model?"
            )
    return found


def guesses(loss: float | None, vocabulary: int) -> list[str]:
    """A warning where a model does hardly better than guessing on sentences.

    Args:
        loss: nats per token.
        vocabulary: how many tokens there are to guess from.

    Example:
        >>> guesses(2.0, 1000), len(guesses(6.5, 1000))
        ([], 1)
    """
    guessing = math.log(vocabulary)
    if loss is None or loss <= LOST * guessing:
        return []
    return [
        f"the model's loss on the validation sentences is {loss:.2f} nats per token (guessing: {guessing:.2f}); "
        "are source and target those it was trained on, in this order?"
    ]
