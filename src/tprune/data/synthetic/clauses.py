"""Clauses of the generated corpus and how English and German say them: agreement, case and word order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tprune.data.synthetic import lexicon as lx
from tprune.data.synthetic.lexicon import (
    ACCUSATIVE,
    DATIVE,
    NOMINATIVE,
    Adjective,
    Adverb,
    Determiner,
    Noun,
    Pronoun,
    Verb,
)

THE = lx.DETERMINERS[0]


@dataclass(frozen=True)
class NounPhrase:
    """A noun with its companions; `relative` is the clause that describes it."""

    noun: Noun
    determiner: Determiner = THE
    adjective: Adjective | None = None
    plural: bool = False
    relative: Clause | None = None


@dataclass(frozen=True)
class Gap:
    """The noun phrase a relative clause describes, inside that clause."""

    noun: Noun
    plural: bool = False


Phrase = NounPhrase | Pronoun | Gap


@dataclass(frozen=True)
class Place:
    """Where something happens: behind the old house."""

    preposition: tuple[str, str]
    phrase: NounPhrase


@dataclass(frozen=True)
class Clause:
    """What both languages say: who does what to whom, when and where.

    `front` is the adverbial or question word put first; `tense` a name of `lexicon.PRESENT` or `lexicon.PAST`.
    """

    subject: Phrase
    verb: Verb
    tense: str = "present"
    negated: bool = False
    question: bool = False
    front: Adverb | Place | None = None
    indirect: Phrase | None = None
    direct: Phrase | None = None
    time: Adverb | None = None
    place: Place | None = None


def word(english: str) -> Noun:
    """The noun of that English singular (`StopIteration` if there is none)."""
    return next(noun for noun in lx.NOUNS if noun.english == english)


def verb(english: str) -> Verb:
    """The first verb of that English base form (`StopIteration` if there is none)."""
    return next(verb for verb in lx.VERBS if verb.english[0] == english)


def joined(*words: str) -> str:
    """The words that are not empty, with spaces between."""
    return " ".join(word for word in words if word)


def _person(phrase: Phrase) -> int:
    if isinstance(phrase, Pronoun):
        return phrase.person
    return 3 if phrase.plural else 2


# --- English


def english_phrase(phrase: Phrase, role: int = NOMINATIVE) -> str:
    """A noun phrase, pronoun or relative pronoun in English (`role` matters to pronouns)."""
    if isinstance(phrase, Pronoun):
        return phrase.english[role != NOMINATIVE]
    if isinstance(phrase, Gap):
        return "that" if phrase.noun.kind != "p" else "who" if role == NOMINATIVE else "whom"
    noun = phrase.noun.plural if phrase.plural else phrase.noun.english
    named = joined(phrase.adjective.english if phrase.adjective else "", noun)
    determiner = phrase.determiner.english[phrase.plural] or ""
    determiner = "an" if determiner == "a" and named[0] in "aeiou" else determiner
    return joined(determiner, named, english(phrase.relative) if phrase.relative else "")


def _english_verb(clause: Clause) -> tuple[str, str]:
    """The auxiliary (what a question puts first) and the rest; no `do` where neither `not` nor a question needs it."""
    base, third, past, participle = clause.verb.english
    singular = _person(clause.subject) == 2
    plain = not (clause.negated or clause.question)
    if clause.tense in ("will", "can", "should", "may", "had"):
        return clause.tense, participle if clause.tense == "had" else base
    if clause.tense == "past":
        return ("", past) if plain else ("did", base)
    if clause.tense in ("have to", "want to"):
        inflected = {"have to": "has to", "want to": "wants to"}[clause.tense] if singular and plain else clause.tense
        base, third = f"{clause.tense} {base}", f"{inflected} {base}"
    if plain:
        return "", third if singular else base
    return "does" if singular else "do", base


def _english_adverbial(adverbial: Adverb | Place | None) -> str:
    if isinstance(adverbial, Place):
        return f"{adverbial.preposition[0]} {english_phrase(adverbial.phrase, DATIVE)}"
    return adverbial.english if adverbial else ""


def english(clause: Clause) -> str:
    """A clause in English: subject, verb, objects, place, time; after a relative pronoun or fronted adverbial."""
    auxiliary, rest = _english_verb(clause)
    subject = english_phrase(clause.subject)
    negation = "not" if clause.negated else ""
    gap = english_phrase(clause.direct, ACCUSATIVE) if isinstance(clause.direct, Gap) else ""
    opening = joined(auxiliary, subject, negation) if clause.question else joined(subject, auxiliary, negation)
    opening = opening.replace("can not", "cannot")
    return joined(
        gap,
        _english_adverbial(clause.front),
        opening,
        rest,
        english_phrase(clause.indirect, DATIVE) if clause.indirect else "",
        clause.verb.preposition[0],
        english_phrase(clause.direct, ACCUSATIVE) if clause.direct and not gap else "",
        _english_adverbial(clause.place),
        _english_adverbial(clause.time),
    )


# --- German


def german_phrase(phrase: Phrase, case: int = NOMINATIVE, negated: bool = False) -> str:
    """A noun phrase, pronoun or relative pronoun in German; `negated` makes *kein* of *ein*."""
    if isinstance(phrase, Pronoun):
        return phrase.german[case]
    gender = "p" if phrase.plural else phrase.noun.gender
    if isinstance(phrase, Gap):
        return lx.RELATIVES[gender].split()[case]
    stem, like = phrase.determiner.german, phrase.determiner.like
    if stem == "ein":
        stem, like = ("kein", "ein") if negated else ("", "") if phrase.plural else ("ein", "ein")
    determiner = stem + (_ending(like, gender, case) if like else "")
    adjective = phrase.adjective.german.removesuffix("e") if phrase.adjective else ""
    adjective += _ending(_AFTER.get(like, "adjective alone"), gender, case) if adjective else ""
    relative = f", {german(phrase.relative, 'last')} ," if phrase.relative else ""
    return joined(determiner, adjective, german_noun(phrase.noun, phrase.plural, case), relative)


_AFTER = {"der": "adjective after der", "dies": "adjective after der", "ein": "adjective after ein"}


def _ending(table: str, gender: str, case: int) -> str:
    return lx.ENDINGS[table][gender].split()[case].strip("-")


def german_noun(noun: Noun, plural: bool, case: int) -> str:
    """A German noun by number and case: dative plurals take -n, weak nouns their ending.

    Example:
        >>> german_noun(word("dog"), True, DATIVE), german_noun(word("boy"), False, ACCUSATIVE)
        ('Hunden', 'Jungen')
    """
    if not plural:
        return noun.german if case == NOMINATIVE else noun.weak
    return noun.german_plural + ("n" if case == DATIVE and noun.german_plural[-1] not in "ns" else "")


def _german_verb(clause: Clause) -> tuple[str, str]:
    """The finite verb, and what stands at the end of a main clause: separable prefix, participle or infinitive."""
    verb, person = clause.verb, _person(clause.subject)
    infinitive, second, third, participle = verb.german
    if clause.tense == "present":
        return (infinitive.removesuffix("n").removesuffix("e") + "e", second, third, infinitive)[person], verb.prefix
    if clause.tense in lx.PAST:
        auxiliary = verb.perfect if clause.tense == "past" else f"had {verb.perfect}"
        return lx.AUXILIARIES[auxiliary].split()[person], participle
    return lx.AUXILIARIES[clause.tense].split()[person], verb.prefix + infinitive


def _german_adverbial(adverbial: Adverb | Place | None) -> str:
    if isinstance(adverbial, Place):
        return _prepositional(adverbial.preposition[1], german_phrase(adverbial.phrase, DATIVE))
    return adverbial.german if adverbial else ""


def _prepositional(preposition: str, phrase: str) -> str:
    both = f"{preposition} {phrase}"
    for long, short in lx.CONTRACTIONS.items():
        if both.startswith(f"{long} "):
            return short + both.removeprefix(long)
    return both


def german(clause: Clause, order: str = "second") -> str:
    """A clause in German; `order` places the finite verb: `second`, `first` (after a fronted clause) or `last`.

    Example:
        >>> waits = Clause(NounPhrase(word("boy")), verb("wait"), direct=NounPhrase(word("dog"), plural=True))
        >>> german(waits), german(waits, "last")
        ('der Junge wartet auf die Hunde', 'der Junge auf die Hunde wartet')
    """
    finite, final = _german_verb(clause)
    objects, tail = _german_objects(clause)
    subject, front = german_phrase(clause.subject), _german_adverbial(clause.front)
    keeps = "" if not clause.negated or _says_kein(clause) else "nicht"
    middle = joined(
        objects["pronouns"],
        _german_adverbial(clause.time),
        objects["nouns"],
        keeps,
        _german_adverbial(clause.place),
        objects["governed"],
    )
    if order == "last":
        end = final + finite if clause.tense == "present" else joined(final, finite)
        return joined(objects["gap"], subject, front, middle, end, tail)
    if order == "first" or (clause.question and not front):
        return joined(finite, subject, middle, final, tail)
    return joined(*((front, finite, subject) if front else (subject, finite)), middle, final, tail)


def _says_kein(clause: Clause) -> bool:
    """Whether the negation is in the object (keinen Hund), which an indefinite one without a preposition takes up."""
    direct = clause.direct
    return isinstance(direct, NounPhrase) and direct.determiner.german == "ein" and not clause.verb.preposition[1]


def _german_objects(clause: Clause) -> tuple[dict[str, str], str]:
    """The objects by their place in the clause, and the relative clause of the direct one, which follows the whole."""
    place = dict.fromkeys(("gap", "pronouns", "nouns", "governed"), "")
    tail, direct, governs = "", clause.direct, clause.verb.preposition[1]
    if clause.indirect:
        place["pronouns" if isinstance(clause.indirect, Pronoun) else "nouns"] = german_phrase(clause.indirect, DATIVE)
    if isinstance(direct, NounPhrase) and direct.relative:
        tail, direct = f", {german(direct.relative, 'last')}", replace(direct, relative=None)
    if direct:
        text = german_phrase(direct, clause.verb.case, clause.negated and _says_kein(clause))
        where = "governed" if governs else "pronouns" if isinstance(direct, Pronoun) else "nouns"
        where = "gap" if isinstance(direct, Gap) else where
        text = _prepositional(governs, text) if governs and where != "gap" else joined(governs, text)
        place[where] = joined(place[where], text)
    return place, tail
