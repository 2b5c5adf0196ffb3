"""The German of the grammar, spot-checked."""

import pytest
from fragment_clauses import Argument, Clause, english_statement, german_question, german_statement, german_subordinate
from fragment_german import adjective, determiner, finite, modal, noun, number
from fragment_lexicon import read_lexicon
from fragment_phrases import NounParts, it_phrase, noun_phrase, possessed, pronoun_phrase
from fragment_words import join

LEXICON = read_lexicon()
NOUNS = {entry.english: entry for entry in LEXICON.nouns}
VERBS = {entry.english: entry for entry in reversed(LEXICON.verbs)}


def phrase(english: str, determiner: str = "the", adjectives: tuple[str, ...] = (), **parts):
    entries = [LEXICON.adjectives[name] for name in adjectives]
    return noun_phrase(NOUNS[english], NounParts(determiner, entries, **parts))


def text(words) -> str:
    return " ".join(word.text for word in words)


@pytest.mark.parametrize(
    ("english", "determiner", "adjectives", "case", "expected"),
    [
        ("dog", "the", ("old",), "nom", "der alte Hund"),
        ("dog", "the", ("old",), "acc", "den alten Hund"),
        ("dog", "a", ("old",), "nom", "ein alter Hund"),
        ("dog", "a", ("old",), "dat", "einem alten Hund"),
        ("cat", "a", ("tired",), "nom", "eine müde Katze"),
        ("cat", "the", ("tired",), "dat", "der müden Katze"),
        ("horse", "a", ("dark",), "acc", "ein dunkles Pferd"),
        ("horse", "the", ("expensive",), "gen", "des teuren Pferdes"),
        ("water", "", ("cold",), "acc", "kaltes Wasser"),
        ("milk", "", ("cold",), "dat", "kalter Milch"),
        ("tea", "", ("hot",), "acc", "heißen Tee"),
        ("car", "this", ("new",), "nom", "dieses neue Auto"),
        ("fox", "the", ("quick", "brown"), "nom", "der schnelle braune Fuchs"),
    ],
)
def test_declension_singular(english, determiner, adjectives, case, expected):
    assert text(phrase(english, determiner, adjectives).german(case)) == expected


@pytest.mark.parametrize(
    ("determiner", "count", "case", "expected"),
    [
        ("the", 0, "nom", "die alten Hunde"),
        ("the", 0, "dat", "den alten Hunden"),
        ("", 0, "acc", "alte Hunde"),
        ("", 5, "dat", "fünf alten Hunden"),
        ("my", 0, "nom", "meine alten Hunde"),
        ("any", 0, "acc", "keine alten Hunde"),
    ],
)
def test_declension_plural(determiner, count, case, expected):
    assert text(phrase("dog", determiner, ("old",), plural=True, count=count).german(case)) == expected


def test_every_ending_of_the_definite_article_and_the_three_declensions():
    assert [determiner("der", case, "m") for case in ("nom", "acc", "dat", "gen")] == ["der", "den", "dem", "des"]
    for declension, endings in (("weak", "e e e en"), ("mixed", "er e es en"), ("strong", "er e es e")):
        assert [adjective("alt", declension, "nom", gender) for gender in "mfnp"] == [
            f"alt{ending}" for ending in endings.split()
        ]


def test_weak_nouns():
    assert [noun(NOUNS["boy"], case, False) for case in ("nom", "acc", "dat", "gen")] == ["Junge", *["Jungen"] * 3]
    assert noun(NOUNS["lion"], "acc", False) == "Löwen"
    assert noun(NOUNS["student"], "dat", False) == "Studenten"
    assert noun(NOUNS["man"], "gen", False) == "Mannes"


def test_possessive():
    from fragment_phrases import name_phrase

    owner = name_phrase("Anna", "f")
    made = possessed(owner, NOUNS["car"], [LEXICON.adjectives["new"]])
    assert text(made.english) == "Anna's new car"
    assert text(made.german("nom")) == "Annas neues Auto"
    assert text(possessed(phrase("teacher"), NOUNS["coat"], ()).german("acc")) == "den Mantel des Lehrers"


@pytest.mark.parametrize(
    ("english", "person", "plural", "tense", "expected"),
    [
        ("read", 2, False, "present", "liest"),
        ("find", 2, False, "present", "findest"),
        ("invite", 2, False, "present", "lädst"),
        ("stop", 2, False, "present", "hältst"),
        ("sit", 2, False, "present", "sitzt"),
        ("ride", 3, False, "past", "ritt"),
        ("like", 1, False, "present", "mag"),
        ("help", 3, True, "past", "halfen"),
        ("work", 3, True, "past", "arbeiteten"),
    ],
)
def test_conjugation(english, person, plural, tense, expected):
    assert finite(VERBS[english], tense, person, plural) == expected


def test_modals_and_numbers():
    assert [modal("müssen", "present", person, False) for person in (1, 2, 3)] == ["muss", "musst", "muss"]
    assert modal("wollen", "past", 3, True) == "wollten"
    assert [number(value) for value in (7, 16, 17, 21, 46, 300)] == [
        "sieben",
        "sechzehn",
        "siebzehn",
        "einundzwanzig",
        "sechsundvierzig",
        "dreihundert",
    ]


def clause(verb: str, subject, *objects, tense: str = "past", negated: bool = False) -> Clause:
    entry = VERBS[verb]
    arguments = [Argument(slot, given) for slot, given in zip(entry.slots, objects, strict=True)]
    return Clause(subject, entry, tense, arguments, negation=object() if negated else None)


def test_separable_verbs():
    door = clause("open", phrase("man"), phrase("door"))
    assert text(german_statement(door)) == "der Mann machte die Tür auf"
    assert text(german_subordinate(door)) == "der Mann die Tür aufmachte"
    perfect = clause("open", phrase("man"), phrase("door"), tense="perfect")
    assert text(german_statement(perfect)) == "der Mann hat die Tür aufgemacht"
    modal_clause = clause("open", phrase("man"), phrase("door"), tense="can")
    assert text(german_statement(modal_clause)) == "der Mann kann die Tür aufmachen"


def test_perfect_takes_sein_with_movement():
    assert text(german_statement(clause("arrive", phrase("train"), tense="perfect"))) == "der Zug ist angekommen"
    assert text(german_statement(clause("sleep", phrase("dog"), tense="perfect"))) == "der Hund hat geschlafen"


def test_verb_last_and_inversion():
    cross = clause("cross", phrase("animal"), phrase("street"), negated=True)
    assert text(english_statement(cross)) == "the animal didn't cross the street"
    assert text(german_statement(cross)) == "das Tier überquerte die Straße nicht"
    assert text(german_subordinate(cross)) == "das Tier die Straße nicht überquerte"
    assert text(german_question(cross)) == "überquerte das Tier die Straße nicht"


def test_kein_and_dative():
    negation = object()
    apple = noun_phrase(NOUNS["apple"], NounParts("a"), negation)
    verb = VERBS["buy"]
    made = Clause(phrase("child"), verb, "past", [Argument(verb.slots[0], apple)], negation=negation)
    assert text(german_statement(made)) == "das Kind kaufte keinen Apfel"
    help_clause = clause("help", pronoun_phrase("he"), phrase("boy"))
    assert text(german_statement(help_clause)) == "er half dem Jungen"


def test_it_takes_the_gender_of_its_antecedent():
    assert [text(it_phrase(phrase(name)).german("acc")) for name in ("apple", "pizza", "bread")] == ["ihn", "sie", "es"]
    assert join(it_phrase(phrase("dog")).english) == "it"


def test_the_lexicon_is_rich_and_its_frames_are_sound():
    assert len(LEXICON.nouns) >= 150
    assert len({verb.german for verb in LEXICON.verbs}) >= 60
    assert len(LEXICON.adjectives) >= 60
    for frame in LEXICON.frames:
        assert LEXICON.verb(frame.verb, frame.subject, frame.object)
        assert not set(frame.subject_adjectives) & set(frame.object_adjectives)
        for side, names in ((frame.subject, frame.subject_adjectives), (frame.object, frame.object_adjectives)):
            assert {entry.gender for entry in LEXICON.nouns_of[side]} == {"m", "f", "n"}
            assert all(name in LEXICON.adjectives for name in names)
