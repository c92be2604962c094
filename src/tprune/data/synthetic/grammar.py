"""A generated English-German corpus: a small grammar, two word orders, and combinations kept for the tests.

A test sentence holds at least one (adjective, noun) or (verb, object) combination that no training sentence holds,
while each of its words occurs in training: it is translated by composing, not by remembering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from tprune.data.parallel import Corpus, Parallel
from tprune.data.synthetic import lexicon as lx
from tprune.data.synthetic.clauses import THE, Clause, Gap, NounPhrase, Phrase, Place, english, german
from tprune.data.synthetic.lexicon import Conjunction, Noun, Pronoun, Verb
from tprune.support.errors import InputError

KINDS = sorted({noun.kind for noun in lx.NOUNS})
BY_KIND = {kind: tuple(noun for noun in lx.NOUNS if noun.kind == kind) for kind in KINDS}
_NUMBER = {noun.english: i for i, noun in enumerate(lx.NOUNS)}
_NUMBER |= {adjective.english: i for i, adjective in enumerate(lx.ADJECTIVES)}


def _name(verb: Verb) -> str:
    """A verb with its preposition (wait for)."""
    return f"{verb.english[0]} {verb.preposition[0]}".strip()


_NUMBER |= {_name(verb): i for i, verb in enumerate(lx.VERBS)}


@dataclass(frozen=True)
class Sentence:
    """A clause, perhaps joined with another one, which may come first (`fronted`).

    Example:
        >>> from tprune.data.synthetic.clauses import verb, word
        >>> from tprune.data.synthetic.lexicon import Adverb
        >>> dog, cat, see = word("dog"), word("cat"), verb("see")
        >>> today = Adverb("today", "heute", ())
        >>> sentence = Sentence(Clause(NounPhrase(dog), see, "can", front=today, direct=NounPhrase(cat, plural=True)))
        >>> sentence.english(), sentence.german()
        ('Today the dog can see the cats.', 'Heute kann der Hund die Katzen sehen.')
    """

    main: Clause
    link: Conjunction | None = None
    other: Clause | None = None
    fronted: bool = False

    def english(self) -> str:
        """The English sentence."""
        main = english(self.main)
        if self.link and self.other:
            joined = f"{self.link.english} {english(self.other)}"
            main = f"{joined} , {main}" if self.fronted else f"{main} {joined}"
        return _finished(main, self.main.question)

    def german(self) -> str:
        """Its German translation."""
        if not self.link or not self.other:
            return _finished(german(self.main), self.main.question)
        main, link = german(self.main, "first" if self.fronted else "second"), self.link
        joined = f"{link.german} {german(self.other, 'last' if link.final else 'second')}"
        # A fronted clause takes the first place, so the verb of the main clause follows it at once.
        if self.fronted:
            return _finished(f"{joined} , {main}", self.main.question)
        comma = " " if link.german == "und" and "," not in main else " , "
        return _finished(f"{main}{comma}{joined}", self.main.question)

    def combinations(self) -> frozenset[tuple[str, str]]:
        """The (adjective, noun) and (verb, object) pairs in it, in English base forms."""
        return frozenset(pair for clause in (self.main, self.other) if clause for pair in _combinations(clause))


def held_out(combination: tuple[str, str]) -> bool:
    """Whether a combination is kept for the tests: one in nine, spread evenly over all words."""
    first, second = combination
    return (2 * _NUMBER[first] + _NUMBER[second]) % 9 == 0


def _combinations(clause: Clause) -> Iterator[tuple[str, str]]:
    if isinstance(clause.direct, NounPhrase | Gap):
        yield _name(clause.verb), clause.direct.noun.english
    places = [place.phrase for place in (clause.front, clause.place) if isinstance(place, Place)]
    for phrase in (clause.subject, clause.indirect, clause.direct, *places):
        if isinstance(phrase, NounPhrase):
            if phrase.adjective:
                yield phrase.adjective.english, phrase.noun.english
            if phrase.relative:
                yield from _combinations(phrase.relative)


def _finished(text: str, question: bool) -> str:
    """Capital letter and punctuation; a comma that closes a relative clause gives way to the mark that follows."""
    text = text.strip(" ,").replace(" , , ", " , ").replace(" ,", ",")
    return text[0].upper() + text[1:] + ("?" if question else ".")


# --- Drawing sentences


def _phrase(draw: Random, kinds: str, taken: Sequence[Noun] = (), pronoun: float = 0.0) -> NounPhrase | Pronoun:
    """A noun phrase of one of the `kinds`, without the nouns `taken`; with probability `pronoun` a pronoun."""
    if "p" in kinds and draw.random() < pronoun:
        return draw.choice(lx.PRONOUNS)
    noun = draw.choice([noun for noun in BY_KIND[draw.choice(kinds)] if noun not in taken])
    plural = draw.random() < 0.35
    possible = [determiner for determiner in lx.DETERMINERS if determiner.english[plural] is not None]
    determiner = THE if draw.random() < 0.4 else draw.choice(possible)
    fitting = [adjective for adjective in lx.ADJECTIVES if noun.kind in adjective.kinds]
    return NounPhrase(noun, determiner, draw.choice(fitting) if draw.random() < 0.3 else None, plural)


def _object(draw: Random, kinds: str, subject: Phrase, taken: Sequence[Noun], pronoun: float) -> NounPhrase | Pronoun:
    """An object; never the pronoun of the subject's own person (I see me, we help me)."""
    drawn = _phrase(draw, kinds, taken, pronoun)
    own = isinstance(subject, Pronoun) and isinstance(drawn, Pronoun) and (subject.person % 3 == 0 or subject is drawn)
    return _phrase(draw, kinds, taken) if own else drawn


def _place(draw: Random, taken: Sequence[Noun]) -> Place:
    if draw.random() < 0.75:
        phrase = _phrase(draw, "b", taken)
        if isinstance(phrase, NounPhrase) and phrase.noun.at:
            return Place(phrase.noun.at, phrase)
    phrase = _phrase(draw, "povlb", taken)
    assert isinstance(phrase, NounPhrase)
    return Place(draw.choice(lx.BESIDE), phrase)


def _clause(draw: Random, tenses: Sequence[str], opens: str = "", gap: Gap | None = None, whom: bool = False) -> Clause:
    """A clause whose subject (object if `whom`) is the `gap`, if there is one."""
    verbs = [verb for verb in lx.VERBS if verb.opens == opens]
    if gap:
        verbs = [verb for verb in verbs if gap.noun.kind in (verb.objects if whom else verb.subjects)]
    chosen, tense = draw.choice(verbs), draw.choice(tenses)
    taken = [gap.noun] if gap else []
    subject = gap if gap and not whom else _phrase(draw, chosen.subjects, taken, 0.35)
    taken += [subject.noun] if isinstance(subject, NounPhrase) else []
    direct: Phrase | None = gap if whom else None
    if chosen.objects and not whom:
        direct = _object(draw, chosen.objects, subject, taken, 0.25)
    taken += [direct.noun] if isinstance(direct, NounPhrase) else []
    indirect = _object(draw, "p", subject, taken, 0.4) if chosen.receiver else None
    taken += [indirect.noun] if isinstance(indirect, NounPhrase) else []
    times = [time for time in lx.TIMES if tense in time.tenses]
    time = draw.choice(times) if not opens and draw.random() < 0.25 else None
    place = _place(draw, taken) if not opens and not indirect and draw.random() < 0.2 else None
    return Clause(subject, chosen, tense, draw.random() < 0.2, False, None, indirect, direct, time, place)


def _described(draw: Random, clause: Clause) -> Clause:
    """The clause with a relative clause on its object or subject, where that leaves no doubt what belongs to which."""
    name = "direct" if isinstance(clause.direct, NounPhrase) and not (clause.time or clause.place) else "subject"
    phrase = clause.direct if name == "direct" else clause.subject
    if not isinstance(phrase, NounPhrase):
        return clause
    whom = draw.random() < 0.4 or phrase.noun.kind not in "pa"
    inner = _clause(draw, lx.PRESENT + lx.PAST, "", Gap(phrase.noun, phrase.plural), whom)
    described = replace(phrase, relative=inner)
    return replace(clause, direct=described) if name == "direct" else replace(clause, subject=described)


def _fronted(draw: Random, clause: Clause) -> Clause:
    """The clause with its time or place put first."""
    if clause.time and (not clause.place or draw.random() < 0.7):
        return replace(clause, front=clause.time, time=None)
    return replace(clause, front=clause.place, place=None)


def sentence(draw: Random) -> Sentence:
    """Draws one sentence."""
    kind, any_tense = draw.random(), lx.PRESENT + lx.PAST
    if kind < 0.25:
        link = draw.choice(lx.CONJUNCTIONS)
        opens = link.english if link.english in lx.OPENERS else ""
        main, other = _clause(draw, link.main, opens), _clause(draw, link.tenses)
        return Sentence(main, link, other, link.fronts and draw.random() < 0.4)
    clause = _clause(draw, any_tense)
    if kind < 0.4:
        clause = replace(clause, question=True)
        asked = draw.choice([adverb for adverb in lx.ASKING if clause.tense in adverb.tenses])
        return Sentence(replace(clause, front=asked, time=None, place=None) if draw.random() < 0.4 else clause)
    clause = _fronted(draw, clause) if draw.random() < 0.5 else clause
    return Sentence(_described(draw, clause) if kind > 0.9 else clause)


def splits(seed: int, train: int, valid: int, test: int) -> dict[str, list[Sentence]]:
    """Draws the three sets; no sentence occurs twice, and only test sentences hold held-out combinations.

    Raises:
        InputError: a size is below one, or the training set too small to hold the words of the other sentences.
    """
    if min(train, valid, test) < 1:
        raise InputError(f"corpus sizes {train}, {valid}, {test}: expected at least one sentence each")
    draw, seen, known = Random(seed), set[str](), set[str]()

    def take(count: int, wanted: Callable[[Sentence], bool]) -> list[Sentence]:
        taken: list[Sentence] = []
        for _ in range(200 * count + 2000):
            drawn = sentence(draw)
            if wanted(drawn) and drawn.english() not in seen:
                seen.add(drawn.english())
                taken.append(drawn)
                if len(taken) == count:
                    return taken
        raise InputError(f"{train} training sentences hold too few words for {valid} + {test} others; expected more")

    def in_training(drawn: Sentence) -> bool:
        return words(drawn) <= known

    drawn = {"train": take(train, lambda s: not any(map(held_out, s.combinations())))}
    known.update(*map(words, drawn["train"]))
    drawn["valid"] = take(valid, lambda s: in_training(s) and not any(map(held_out, s.combinations())))
    drawn["test"] = take(test, lambda s: any(map(held_out, s.combinations())) and in_training(s))
    return drawn


def words(sentence: Sentence) -> set[str]:
    """The words of both languages, marked by language, without punctuation and in lower case."""
    sides = (("en", sentence.english()), ("de", sentence.german()))
    return {f"{language}:{word.strip('.,?').lower()}" for language, text in sides for word in text.split()}


def corpus(seed: int = 0, train: int = 20_000, valid: int = 500, test: int = 500) -> Corpus:
    """A corpus of the given numbers of sentence pairs, the same for the same `seed` on every machine.

    Validation sentences are new, made of combinations seen in training; test sentences (`held_out`) hold unseen ones.

    Raises:
        InputError: a size is below one, or `train` too small to hold the words of the other sentences.

    Example:
        >>> small = corpus(seed=0, train=2000, valid=10, test=10)
        >>> len(small.train), list(small.tests)
        (2000, ['held_out'])
    """
    drawn = splits(seed, train, valid, test)

    def parallel(split: str, name: str) -> Parallel:
        rows = drawn[split]
        return Parallel(tuple(row.english() for row in rows), tuple(row.german() for row in rows), name)

    return Corpus(parallel("train", "train"), parallel("valid", "valid"), {"held_out": parallel("test", "held_out")})
