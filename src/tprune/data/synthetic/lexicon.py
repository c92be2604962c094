"""The words of the generated English-German corpus, as tables; `_` in a table stands for a space within a word."""

from __future__ import annotations

from dataclasses import dataclass

NOMINATIVE, ACCUSATIVE, DATIVE = 0, 1, 2
CASES = {"acc": ACCUSATIVE, "dat": DATIVE}


@dataclass(frozen=True)
class Noun:
    """A noun of both languages; `kind` is what it names (person, animal, food, text, object, vehicle, lid, building).

    `weak` is the singular outside the nominative (den *Jungen*), `at` the prepositions, by language, of being there.
    """

    english: str
    plural: str
    gender: str
    german: str
    german_plural: str
    kind: str
    weak: str
    at: tuple[str, str] | None


@dataclass(frozen=True)
class Adjective:
    """An attributive adjective and the kinds of nouns it describes."""

    english: str
    german: str
    kinds: str


@dataclass(frozen=True)
class Verb:
    """A verb: English (base, third person, past, participle), German (infinitive, du, er, participle).

    `prefix` is the separable one, `perfect` the auxiliary, `case` that of the object, `preposition` what the object
    follows in either language. `receiver`: takes a dative as well; `opens`: the English conjunction of its clause.
    """

    english: tuple[str, ...]
    german: tuple[str, ...]
    prefix: str
    perfect: str
    subjects: str
    objects: str
    case: int
    preposition: tuple[str, str]
    receiver: bool
    opens: str


@dataclass(frozen=True)
class Determiner:
    """An article, possessive or number: English singular and plural, German stem, the table of `ENDINGS` it takes."""

    english: tuple[str | None, str | None]
    german: str
    like: str


@dataclass(frozen=True)
class Pronoun:
    """A personal pronoun: English subject and object, German by case, the verb's person (0 ich, 1 du, 2 er, 3 wir)."""

    english: tuple[str, str]
    german: tuple[str, ...]
    person: int


@dataclass(frozen=True)
class Adverb:
    """An adverbial that never changes, or a question word, and the tenses it goes with."""

    english: str
    german: str
    tenses: tuple[str, ...]


@dataclass(frozen=True)
class Conjunction:
    """Joins two clauses; `final`: the German verb goes last, `fronts`: its clause may come first."""

    english: str
    german: str
    final: bool
    fronts: bool
    tenses: tuple[str, ...]
    main: tuple[str, ...]


def _rows(table: str) -> list[list[list[str]]]:
    """Lines of `|`-separated columns of words."""
    lines = [line for line in table.strip().splitlines() if line.strip()]
    return [[[word.replace("_", " ") for word in column.split()] for column in line.split("|")] for line in lines]


def _noun(words: list[str], kind: str) -> Noun:
    english, plural, gender, german, german_plural, *more = words
    at = next((tuple(word.split(":")) for word in more if ":" in word), None)
    weak = next((word for word in more if ":" not in word), german)
    return Noun(english, plural, gender, german, german_plural, kind, weak, (at[0], at[1]) if at else None)


OPENERS = ("that", "whether")


def _verb(english: list[str], german: list[str], subjects: list[str], frame: list[str], objects: list[str]) -> Verb:
    prefix, _, infinitive = german[0].rpartition("/")
    before = next((word.split(":") for word in frame if ":" in word), ["", ""])
    return Verb(
        english=tuple(english),
        german=(infinitive, *german[1:4]),
        prefix=prefix,
        perfect="sein" if german[4:] else "haben",
        subjects=subjects[0],
        objects=objects[0] if objects else "",
        case=next((CASES[word] for word in frame if word in CASES), ACCUSATIVE),
        preposition=(before[0], before[1]),
        receiver="both" in frame,
        opens=next((word for word in frame if word in OPENERS), ""),
    )


_NOUNS = {
    "p": """man men m Mann Männer | woman women f Frau Frauen | child children n Kind Kinder
        boy boys m Junge Jungen Jungen | girl girls n Mädchen Mädchen | teacher teachers m Lehrer Lehrer
        sister sisters f Schwester Schwestern | brother brothers m Bruder Brüder
        friend friends m Freund Freunde | neighbour neighbours m Nachbar Nachbarn Nachbarn
        student students m Student Studenten Studenten | king kings m König Könige""",
    "a": """dog dogs m Hund Hunde | cat cats f Katze Katzen | horse horses n Pferd Pferde | bird birds m Vogel Vögel
        mouse mice f Maus Mäuse | bear bears m Bär Bären Bären""",
    "f": """apple apples m Apfel Äpfel | cake cakes m Kuchen Kuchen | egg eggs n Ei Eier | pear pears f Birne Birnen
        soup soups f Suppe Suppen""",
    "t": """book books n Buch Bücher | letter letters m Brief Briefe | newspaper newspapers f Zeitung Zeitungen
        poem poems n Gedicht Gedichte""",
    "o": """table tables m Tisch Tische | lamp lamps f Lampe Lampen | knife knives n Messer Messer
        cup cups f Tasse Tassen | key keys m Schlüssel Schlüssel | bag bags f Tasche Taschen
        hat hats m Hut Hüte | dress dresses n Kleid Kleider | ball balls m Ball Bälle
        flower flowers f Blume Blumen""",
    "v": """car cars n Auto Autos | train trains m Zug Züge | boat boats n Boot Boote""",
    "l": """door doors f Tür Türen | window windows n Fenster Fenster | suitcase suitcases m Koffer Koffer""",
    "b": """house houses n Haus Häuser in:in | garden gardens m Garten Gärten in:in
        kitchen kitchens f Küche Küchen in:in | forest forests m Wald Wälder in:in
        city cities f Stadt Städte in:in | market markets m Markt Märkte at:auf
        station stations m Bahnhof Bahnhöfe at:an | bridge bridges f Brücke Brücken on:auf
        lake lakes m See Seen at:an | island islands f Insel Inseln on:auf""",
}
NOUNS = tuple(_noun(c, kind) for kind, table in _NOUNS.items() for row in _rows(table) for c in row)

_ADJECTIVES = """
    old alt paftovlb | young jung pa | big groß paftovlb | small klein paftovlb | new neu tovlb
    beautiful schön paftovlb | red rot fovl | blue blau ovl | black schwarz aovl | cheap billig ftov
    heavy schwer aovl | famous berühmt ptb | friendly freundlich pa | tired müde pa | hungry hungrig pa
    dirty schmutzig paovlb | warm warm fo | interesting interessant ptb
"""
ADJECTIVES = tuple(Adjective(*cell) for row in _rows(_ADJECTIVES) for cell in row)

# English | German (and sein) | kinds of subjects | prepositions and case, two objects or a clause | kinds of objects
_VERBS = """
    sleep sleeps slept slept | schlafen schläfst schläft geschlafen | pa | |
    laugh laughs laughed laughed | lachen lachst lacht gelacht | p | |
    work works worked worked | arbeiten arbeitest arbeitet gearbeitet | p | |
    swim swims swam swum | schwimmen schwimmst schwimmt geschwommen sein | pa | |
    arrive arrives arrived arrived | an/kommen kommst kommt angekommen sein | pv | |
    fall_asleep falls_asleep fell_asleep fallen_asleep | ein/schlafen schläfst schläft eingeschlafen sein | pa | |
    see sees saw seen | sehen siehst sieht gesehen | pa | acc | paftovlb
    find finds found found | finden findest findet gefunden | pa | acc | paftovlb
    love loves loved loved | lieben liebst liebt geliebt | p | acc | paftb
    look_for looks_for looked_for looked_for | suchen suchst sucht gesucht | pa | acc | paftovb
    buy buys bought bought | kaufen kaufst kauft gekauft | p | acc | aftovlb
    sell sells sold sold | verkaufen verkaufst verkauft verkauft | p | acc | aftovlb
    eat eats ate eaten | essen isst isst gegessen | pa | acc | f
    cook cooks cooked cooked | kochen kochst kocht gekocht | p | acc | f
    lose loses lost lost | verlieren verlierst verliert verloren | p | acc | toa
    bite bites bit bitten | beißen beißt beißt gebissen | a | acc | pa
    visit visits visited visited | besuchen besuchst besucht besucht | p | acc | pb
    write writes wrote written | schreiben schreibst schreibt geschrieben | p | acc | t
    open opens opened opened | auf/machen machst macht aufgemacht | p | acc | l
    close closes closed closed | zu/machen machst macht zugemacht | p | acc | l
    call calls called called | an/rufen rufst ruft angerufen | p | acc | p
    invite invites invited invited | ein/laden lädst lädt eingeladen | p | acc | p
    throw_away throws_away threw_away thrown_away | weg/werfen wirfst wirft weggeworfen | p | acc | fto
    help helps helped helped | helfen hilfst hilft geholfen | pa | dat | pa
    thank thanks thanked thanked | danken dankst dankt gedankt | p | dat | p
    follow follows followed followed | folgen folgst folgt gefolgt sein | pa | dat | pav
    wait waits waited waited | warten wartest wartet gewartet | pa | for:auf acc | pav
    think thinks thought thought | denken denkst denkt gedacht | p | of:an acc | pafb
    talk talks talked talked | sprechen sprichst spricht gesprochen | p | to:mit dat | pa
    play plays played played | spielen spielst spielt gespielt | pa | with:mit dat | pa
    give gives gave given | geben gibst gibt gegeben | p | both | afto
    show shows showed shown | zeigen zeigst zeigt gezeigt | p | both | aftovb
    send sends sent sent | schicken schickst schickt geschickt | p | both | to
    believe believes believed believed | glauben glaubst glaubt geglaubt | p | that |
    say says said said | sagen sagst sagt gesagt | p | that |
    ask asks asked asked | fragen fragst fragt gefragt | p | whether |
"""
VERBS = tuple(_verb(*row) for row in _rows(_VERBS))

_DETERMINERS = """
    the the | d der
    a - | ein ein
    this these | dies dies
    my my | mein ein
    your your | dein ein
    his his | sein ein
    her her | ihr ein
    our our | unser ein
    their their | ihr ein
    - two | zwei -
    - three | drei -
    - some | einig einig
"""
DETERMINERS = tuple(
    Determiner((None if a[0] == "-" else a[0], a[1].strip("-")), b[0], b[1].strip("-")) for a, b in _rows(_DETERMINERS)
)
_PRONOUNS = """
    I me | ich mich mir | 0
    you you | du dich dir | 1
    he him | er ihn ihm | 2
    she her | sie sie ihr | 2
    we us | wir uns uns | 3
    they them | sie sie ihnen | 3
"""
PRONOUNS = tuple(Pronoun((a[0], a[1]), tuple(b), int(c[0])) for a, b, c in _rows(_PRONOUNS))

# Auxiliaries and modals by person, and the nouns' companions by gender (p: plural) and case
AUXILIARIES = {
    "haben": "habe hast hat haben",
    "sein": "bin bist ist sind",
    "had haben": "hatte hattest hatte hatten",
    "had sein": "war warst war waren",
    "will": "werde wirst wird werden",
    "can": "kann kannst kann können",
    "have to": "muss musst muss müssen",
    "want to": "will willst will wollen",
    "should": "soll sollst soll sollen",
    "may": "darf darfst darf dürfen",
}
ENDINGS = {
    "der": {"m": "er en em", "f": "ie ie er", "n": "as as em", "p": "ie ie en"},
    "dies": {"m": "er en em", "f": "e e er", "n": "es es em", "p": "e e en"},
    "ein": {"m": "- en em", "f": "e e er", "n": "- - em", "p": "e e en"},
    "einig": {"p": "e e en"},
    "adjective after der": {"m": "e en en", "f": "e e en", "n": "e e en", "p": "en en en"},
    "adjective after ein": {"m": "er en en", "f": "e e en", "n": "es es en", "p": "en en en"},
    "adjective alone": {"p": "e e en"},
}
RELATIVES = {"m": "der den dem", "f": "die die der", "n": "das das dem", "p": "die die denen"}
CONTRACTIONS = {"in dem": "im", "an dem": "am", "von dem": "vom"}
BESIDE = (("behind", "hinter"), ("next to", "neben"), ("in front of", "vor"))

# Tenses as often as they are drawn
PRESENT = ("present", "present", "present", "will", "can", "have to", "want to", "should", "may")
PAST = ("past", "past", "past", "had")
_TENSES = {
    "all": (*PRESENT, *PAST),
    "now": PRESENT,
    "open": ("present", "can", "have to", "want to"),
    "soon": tuple(tense for tense in PRESENT if tense != "present"),
    "past": PAST,
    "simple": ("past",),
    "after": ("had",),
}
_TIMES = """
    today heute all | yesterday gestern past | tomorrow morgen soon | now jetzt now | soon bald soon
    every_day jeden_Tag all | in_the_morning am_Morgen all | in_the_evening am_Abend all
    on_Sunday am_Sonntag all | last_week letzte_Woche past | next_year nächstes_Jahr soon | in_winter im_Winter all
"""
TIMES = tuple(Adverb(cell[0], cell[1], _TENSES[cell[2]]) for row in _rows(_TIMES) for cell in row)
ASKING = tuple(Adverb(*pair, _TENSES["all"]) for pair in (("where", "wo"), ("when", "wann"), ("why", "warum")))
# Its tenses | those of the main clause
_CONJUNCTIONS = """
    because weil final fronts | all | all
    although obwohl final fronts | all | all
    if wenn final fronts | open | now
    when wenn final fronts | open | now
    when als final fronts | simple | simple
    while während final fronts | simple | simple
    after nachdem final fronts | after | simple
    and und | all | all
    but aber | all | all
    that dass final | all | all
    whether ob final | all | all
"""
CONJUNCTIONS = tuple(
    Conjunction(words[0], words[1], "final" in words, "fronts" in words, _TENSES[own[0]], _TENSES[main[0]])
    for words, own, main in _rows(_CONJUNCTIONS)
)
