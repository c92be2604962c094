"""The generated corpus: its German, and what its three sets share and do not share."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tprune.data.parallel import Corpus
from tprune.data.synthetic import lexicon as lx
from tprune.data.synthetic.clauses import Clause, Gap, NounPhrase, Place, verb, word
from tprune.data.synthetic.grammar import Sentence, corpus, held_out, sentence, splits, words
from tprune.support.errors import InputError

SIZES = {"train": 3000, "valid": 100, "test": 100}
PRONOUN = {pronoun.english[0]: pronoun for pronoun in lx.PRONOUNS}
ADJECTIVE = {adjective.english: adjective for adjective in lx.ADJECTIVES}
DETERMINER = {determiner.english[determiner.english[0] is None]: determiner for determiner in lx.DETERMINERS}
TIME = {time.english: time for time in lx.TIMES}
LINK = {link.english: link for link in lx.CONJUNCTIONS}


@pytest.fixture(scope="module")
def drawn() -> dict[str, list[Sentence]]:
    return splits(seed=0, **SIZES)


@pytest.fixture(scope="module")
def small() -> Corpus:
    return corpus(seed=0, **SIZES)


def digest(made: Corpus) -> str:
    sets = (made.train, made.valid, *made.tests.values())
    return hashlib.sha256("\n".join(line for one in sets for line in (*one.source, *one.target)).encode()).hexdigest()


def np(text: str, plural: bool = False, relative: Clause | None = None) -> NounPhrase:
    """`the old dog`, in singular words, as a phrase."""
    determiner, *adjective, noun = text.split()
    described = ADJECTIVE[adjective[0]] if adjective else None
    return NounPhrase(word(noun), DETERMINER[determiner], described, plural, relative)


class TestSets:
    def test_a_seed_always_gives_the_same_corpus(self, small: Corpus) -> None:
        assert digest(small) == digest(corpus(seed=0, **SIZES))

    def test_a_fresh_process_with_another_hash_seed_gives_the_same_corpus(self, small: Corpus) -> None:
        code = (
            f"import hashlib; from tprune.data.synthetic.grammar import corpus; c = corpus(seed=0, **{SIZES!r}); sets "
            "= (c.train, c.valid, *c.tests.values()); text = '\\n'.join(line for one in sets for line in (*one.source, "
            "*one.target)); print(hashlib.sha256(text.encode()).hexdigest())"
        )
        other = os.environ | {"PYTHONHASHSEED": "4711"}
        result = subprocess.run([sys.executable, "-c", code], env=other, capture_output=True, text=True, check=True)
        assert result.stdout.strip() == digest(small)

    def test_seeds_differ(self, small: Corpus) -> None:
        assert digest(small) != digest(corpus(seed=1, **SIZES))

    def test_sizes_and_names(self, small: Corpus) -> None:
        assert list(small.tests) == ["held_out"]
        sets = {"train": small.train, "valid": small.valid, "test": small.tests["held_out"]}
        assert {name: len(one.source) for name, one in sets.items()} == SIZES
        assert {name: len(one.target) for name, one in sets.items()} == SIZES

    def test_no_source_sentence_occurs_twice_in_any_sets(self, small: Corpus) -> None:
        sources = small.train.source + small.valid.source + small.pooled_test().source
        assert max(Counter(sources).values()) == 1

    def test_every_test_sentence_has_a_held_out_combination_and_no_other_sentence_does(
        self, drawn: dict[str, list[Sentence]]
    ) -> None:
        trained = set().union(*(one.combinations() for one in drawn["train"] + drawn["valid"]))
        assert not any(map(held_out, trained))
        for one in drawn["test"]:
            new = {pair for pair in one.combinations() if held_out(pair)}
            assert new
            assert not new & trained

    def test_held_out_adjectives_never_stand_before_their_nouns_in_the_training_text(self, small: Corpus) -> None:
        kept = {
            f"{adjective.english} {form}"
            for adjective in lx.ADJECTIVES
            for noun in lx.NOUNS
            if held_out((adjective.english, noun.english))
            for form in (noun.english, noun.plural)
        }

        def found(lines: tuple[str, ...]) -> int:
            tokens = [line.lower().strip(".?").replace(",", "").split() for line in lines]
            return sum(f"{a} {b}" in kept for line in tokens for a, b in pairwise(line))

        assert found(small.train.source) == found(small.valid.source) == 0
        assert found(small.pooled_test().source) > 20

    def test_every_word_of_the_other_sets_occurs_in_training(self, drawn: dict[str, list[Sentence]]) -> None:
        trained = set().union(*map(words, drawn["train"]))
        assert set().union(*map(words, drawn["valid"] + drawn["test"])) <= trained

    def test_training_holds_the_whole_lexicon(self, small: Corpus) -> None:
        text = f" {' '.join(small.train.source).lower().replace('.', '').replace(',', '').replace('?', '')} "
        nouns = [form for noun in lx.NOUNS for form in (noun.english, noun.plural)]
        entries = [*nouns, *ADJECTIVE, *TIME, *LINK, *(v.english[0] for v in lx.VERBS), *(a.english for a in lx.ASKING)]
        assert [entry for entry in entries if f" {entry.lower()} " not in text] == []

    def test_each_word_has_combinations_in_training_and_some_words_of_each_sort_have_held_out_ones(self) -> None:
        kept = {
            adjective.english: [held_out((adjective.english, n.english)) for n in lx.NOUNS if n.kind in adjective.kinds]
            for adjective in lx.ADJECTIVES
        }
        assert not any(map(all, kept.values()))
        assert sum(map(any, kept.values())) > len(kept) / 2

    @pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, -3)])
    def test_sizes_below_one_are_refused(self, sizes: tuple[int, int, int]) -> None:
        with pytest.raises(InputError, match="expected at least one sentence each"):
            corpus(0, *sizes)

    def test_a_training_set_that_lacks_the_words_is_refused(self) -> None:
        with pytest.raises(InputError, match="3 training sentences hold too few words"):
            corpus(0, 3, 1, 50)


class TestLanguage:
    def check(self, one: Sentence | Clause, english: str, german: str) -> None:
        made = one if isinstance(one, Sentence) else Sentence(one)
        assert (made.english(), made.german()) == (english, german)

    def test_a_fronted_adverbial_puts_the_subject_after_the_verb(self) -> None:
        self.check(
            Clause(np("the dog"), verb("see"), front=TIME["today"], direct=np("a cat")),
            "Today the dog sees a cat.",
            "Heute sieht der Hund eine Katze.",
        )

    def test_a_time_stands_before_the_german_object_and_after_the_english_one(self) -> None:
        self.check(
            Clause(np("the dog"), verb("see"), "past", direct=np("my cat"), time=TIME["yesterday"]),
            "The dog saw my cat yesterday.",
            "Der Hund hat gestern meine Katze gesehen.",
        )

    @pytest.mark.parametrize(
        ("phrase", "plural", "german"),
        [
            ("the old man", False, "dem alten Mann"),
            ("a old woman", False, "einer alten Frau"),
            ("my old child", False, "meinem alten Kind"),
            ("the old man", True, "den alten Männern"),
            ("a old man", True, "alten Männern"),
            ("two old woman", True, "zwei alten Frauen"),
            ("some old dog", True, "einigen alten Hunden"),
            ("this old boy", False, "diesem alten Jungen"),
        ],
    )
    def test_dative_objects(self, phrase: str, plural: bool, german: str) -> None:
        helps = Clause(PRONOUN["she"], verb("help"), direct=np(phrase, plural))
        assert Sentence(helps).german() == f"Sie hilft {german}."

    @pytest.mark.parametrize(
        ("phrase", "plural", "german"),
        [
            ("the big dog", False, "den großen Hund"),
            ("a big dog", False, "einen großen Hund"),
            ("a big horse", False, "ein großes Pferd"),
            ("our big cat", False, "unsere große Katze"),
            ("a big dog", True, "große Hunde"),
            ("their big dog", True, "ihre großen Hunde"),
            ("three big horse", True, "drei große Pferde"),
            ("the student", False, "den Studenten"),
        ],
    )
    def test_accusative_objects(self, phrase: str, plural: bool, german: str) -> None:
        assert Sentence(Clause(PRONOUN["I"], verb("see"), direct=np(phrase, plural))).german() == f"Ich sehe {german}."

    @pytest.mark.parametrize(
        ("phrase", "plural", "german"),
        [
            ("a tired man", False, "Ein müder Mann schläft."),
            ("a tired horse", False, "Ein müdes Pferd schläft."),
            ("the tired cat", False, "Die müde Katze schläft."),
            ("the tired cat", True, "Die müden Katzen schlafen."),
        ],
    )
    def test_subjects(self, phrase: str, plural: bool, german: str) -> None:
        assert Sentence(Clause(np(phrase, plural), verb("sleep"))).german() == german

    def test_the_verb_goes_last_in_a_subordinate_clause_and_a_separable_one_closes_up(self) -> None:
        opened = Clause(np("the boy"), verb("open"), direct=np("the window"))
        laughs = Clause(PRONOUN["she"], verb("laugh"))
        self.check(opened, "The boy opens the window.", "Der Junge macht das Fenster auf.")
        self.check(
            Sentence(laughs, LINK["because"], opened),
            "She laughs because the boy opens the window.",
            "Sie lacht, weil der Junge das Fenster aufmacht.",
        )
        self.check(
            Sentence(laughs, LINK["because"], opened, fronted=True),
            "Because the boy opens the window, she laughs.",
            "Weil der Junge das Fenster aufmacht, lacht sie.",
        )

    def test_participle_and_infinitive_go_last_and_movement_takes_sein(self) -> None:
        lake = Place(("at", "an"), np("the lake"))
        self.check(
            Clause(np("the dog", True), verb("swim"), "past", place=lake),
            "The dogs swam at the lake.",
            "Die Hunde sind am See geschwommen.",
        )
        self.check(
            Clause(PRONOUN["you"], verb("open"), "have to", direct=np("the old door")),
            "You have to open the old door.",
            "Du musst die alte Tür aufmachen.",
        )
        arrived = Clause(PRONOUN["he"], verb("arrive"), "had")
        after = Sentence(Clause(PRONOUN["we"], verb("laugh"), "past"), LINK["after"], arrived, fronted=True)
        self.check(after, "After he had arrived, we laughed.", "Nachdem er angekommen war, haben wir gelacht.")

    def test_negation(self) -> None:
        self.check(
            Clause(np("the woman"), verb("buy"), negated=True, direct=np("a red dress")),
            "The woman does not buy a red dress.",
            "Die Frau kauft kein rotes Kleid.",
        )
        self.check(
            Clause(np("the woman"), verb("buy"), "can", negated=True, direct=np("the red dress")),
            "The woman cannot buy the red dress.",
            "Die Frau kann das rote Kleid nicht kaufen.",
        )
        self.check(
            Clause(np("the woman"), verb("wait"), "past", negated=True, direct=np("a friend")),
            "The woman did not wait for a friend.",
            "Die Frau hat nicht auf einen Freund gewartet.",
        )

    def test_two_objects_and_their_order(self) -> None:
        self.check(
            Clause(np("the king"), verb("give"), indirect=np("the child"), direct=np("a apple"), time=TIME["today"]),
            "The king gives the child an apple today.",
            "Der König gibt heute dem Kind einen Apfel.",
        )
        self.check(
            Clause(np("the king"), verb("give"), indirect=PRONOUN["he"], direct=np("a apple"), time=TIME["today"]),
            "The king gives him an apple today.",
            "Der König gibt ihm heute einen Apfel.",
        )

    def test_relative_clauses_agree_and_follow_the_whole_clause_when_they_describe_its_object(self) -> None:
        helps = Clause(np("the man"), verb("help"), direct=Gap(word("woman")))
        self.check(
            Clause(np("the woman", relative=helps), verb("sleep")),
            "The woman whom the man helps sleeps.",
            "Die Frau, der der Mann hilft, schläft.",
        )
        waits = Clause(Gap(word("dog"), True), verb("wait"), direct=PRONOUN["I"])
        self.check(
            Clause(PRONOUN["he"], verb("see"), "past", direct=np("the dog", True, waits)),
            "He saw the dogs that wait for me.",
            "Er hat die Hunde gesehen, die auf mich warten.",
        )
        played = Clause(PRONOUN["she"], verb("play"), direct=Gap(word("dog"), True))
        self.check(
            Clause(np("the dog", True, played), verb("sleep")),
            "The dogs that she plays with sleep.",
            "Die Hunde, mit denen sie spielt, schlafen.",
        )

    def test_no_comma_before_und_unless_it_closes_a_relative_clause(self) -> None:
        sleeps = Clause(Gap(word("dog")), verb("sleep"))
        laughs = Clause(PRONOUN["she"], verb("laugh"))
        for relative, german in ((None, "Er sieht den Hund"), (sleeps, "Er sieht den Hund, der schläft,")):
            sees = Clause(PRONOUN["he"], verb("see"), direct=np("the dog", relative=relative))
            assert Sentence(sees, LINK["and"], laughs).german() == f"{german} und sie lacht."
        assert Sentence(laughs, LINK["but"], sees).german() == "Sie lacht, aber er sieht den Hund, der schläft."

    def test_questions(self) -> None:
        self.check(
            Clause(np("the girl"), verb("see"), question=True, direct=PRONOUN["they"]),
            "Does the girl see them?",
            "Sieht das Mädchen sie?",
        )
        self.check(
            Clause(np("the girl"), verb("call"), "past", question=True, front=lx.ASKING[2], direct=PRONOUN["he"]),
            "Why did the girl call him?",
            "Warum hat das Mädchen ihn angerufen?",
        )


def test_a_preposition_meets_the_article_only_as_an_article() -> None:
    market, bridge = Place(("at", "auf"), np("the market")), Place(("in", "in"), np("this old house"))
    assert Sentence(Clause(PRONOUN["I"], verb("sleep"), front=market)).german() == "Auf dem Markt schlafe ich."
    assert Sentence(Clause(PRONOUN["I"], verb("sleep"), front=bridge)).german() == "In diesem alten Haus schlafe ich."


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**63 - 1))
def test_any_drawn_sentence_is_well_formed(seed: int) -> None:
    draw = Random(seed)
    for one in [sentence(draw) for _ in range(10)]:
        for text in (one.english(), one.german()):
            assert text[0].isupper()
            assert text[-1] in ".?"
            assert len(text.split()) <= 40
            assert not any(wrong in text for wrong in ("  ", " ,", ",,", ",.", ",?", "None", "_", "/", "-"))
        assert one.english().count("?") == one.german().count("?")


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 2**31))
def test_a_source_sentence_has_one_translation(seed: int) -> None:
    draw, known = Random(seed), dict[str, str]()
    for one in [sentence(draw) for _ in range(1000)]:
        assert known.setdefault(one.english(), one.german()) == one.german()


@settings(deadline=None, max_examples=3)
@given(st.integers(0, 2**31))
def test_any_seed_separates_the_sets(seed: int) -> None:
    made = splits(seed, 1500, 20, 20)
    train = {one.english() for one in made["train"]}
    assert not train & {one.english() for one in made["valid"] + made["test"]}
    assert all(any(map(held_out, one.combinations())) for one in made["test"])
