"""A tokeniser knows its own languages from others, with and without unknown tokens."""

import pytest

from tprune.data.parallel import Parallel
from tprune.data.synthetic.grammar import corpus
from tprune.tasks.translation.encoding import train_tokenizer
from tprune.vocabulary.coverage import coverage, guesses, unfamiliar

OWN = corpus(seed=0, train=3000, valid=60, test=10)
TOKENIZER = train_tokenizer(OWN.train.source + OWN.train.target, 1000, 64)
FRENCH = ("Un homme en chemise bleue lave une fenêtre.", "Deux enfants jouent au ballon dans un champ.")
RUSSIAN = ("Мужчина моет окно.", "Двое детей играют в футбол на поле.")


def test_own_text_is_familiar() -> None:
    assert unfamiliar(OWN.valid, TOKENIZER) == []


@pytest.mark.parametrize("foreign", [FRENCH, RUSSIAN])
def test_each_foreign_side_gives_a_line(foreign: tuple[str, ...]) -> None:
    own = OWN.valid.target[: len(foreign)]
    (said,) = unfamiliar(Parallel(foreign, own, files=("val.xx", "val.de")), TOKENIZER)
    assert said.startswith("val.xx:") and "source" in said
    assert len(unfamiliar(Parallel(own, foreign), TOKENIZER)) == 1


def test_short_tokens_show_without_unknown_ones() -> None:
    spelt = [" ".join(word) for word in OWN.valid.source]  # every letter is known, no token is long
    found = coverage(spelt, TOKENIZER)
    assert found.unknown == 0 and not found.familiar
    assert found.efficiency < coverage(OWN.valid.source, TOKENIZER).efficiency / 1.5


def test_a_model_that_guesses_is_said_to() -> None:
    assert guesses(None, 1000) == guesses(2.0, 1000) == []
    (line,) = guesses(6.5, 1000)
    assert "is 6.50 nats per token (guessing: 6.91)" in line
