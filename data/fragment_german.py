"""German morphology: articles, adjective declension, nouns, verbs, numbers."""

from __future__ import annotations

from functools import cache

from fragment_lexicon import Noun, Verb

CASES = ("nom", "acc", "dat", "gen")
GENDERS = ("m", "f", "n", "p")
"""Masculine, feminine, neuter, and the plural, which has one set of endings for all three."""


def table(text: str) -> dict[tuple[str, str], str]:
    """Read a table of endings: four lines for the cases, four columns for the genders, `-` for no ending."""
    rows = [line.split() for line in text.strip().splitlines()]
    return {
        (case, gender): "" if ending == "-" else ending
        for case, row in zip(CASES, rows, strict=True)
        for gender, ending in zip(GENDERS, row, strict=True)
    }


DEFINITE = table("der die das die\nden die das die\ndem der dem den\ndes der des der")
DER_WORD = table("er e es e\nen e es e\nem er em en\nes er es er")
EIN_WORD = table("- e - e\nen e - e\nem er em en\nes er es er")
STRONG = table("er e es e\nen e es e\nem er em en\nen er en er")
WEAK = table("e e e en\nen e e en\nen en en en\nen en en en")
MIXED = table("er e es en\nen e es en\nen en en en\nen en en en")
DECLENSIONS = {"strong": STRONG, "weak": WEAK, "mixed": MIXED}
STEMS = {"dunkel": "dunkl", "teuer": "teur", "sauer": "saur", "müde": "müd", "leise": "leis"}
EIN_WORDS = {"ein", "kein", "mein", "dein", "sein", "ihr", "unser"}
PRONOUNS = {
    "ich": ("ich", "mich", "mir"),
    "du": ("du", "dich", "dir"),
    "er": ("er", "ihn", "ihm"),
    "sie": ("sie", "sie", "ihr"),
    "es": ("es", "es", "ihm"),
    "wir": ("wir", "uns", "uns"),
    "Sie": ("sie", "sie", "ihnen"),
}
CONTRACTIONS = {
    ("in", "dem"): "im",
    ("in", "das"): "ins",
    ("an", "dem"): "am",
    ("an", "das"): "ans",
    ("von", "dem"): "vom",
    ("bei", "dem"): "beim",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
}
SEIN = {"present": ("bin", "bist", "ist", "sind", "sind"), "past": ("war", "warst", "war", "waren", "waren")}
HABEN = {
    "present": ("habe", "hast", "hat", "haben", "haben"),
    "past": ("hatte", "hattest", "hatte", "hatten", "hatten"),
}
WERDEN = {
    "present": ("werde", "wirst", "wird", "werden", "werden"),
    "past": ("wurde", "wurdest", "wurde", "wurden", "wurden"),
}
MODALS = {
    "können": ("kann", "konnte"),
    "müssen": ("muss", "musste"),
    "wollen": ("will", "wollte"),
    "dürfen": ("darf", "durfte"),
    "sollen": ("soll", "sollte"),
}
UNITS = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf"]
TENS = ["-", "-", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig"]
ORDINALS = [
    "-",
    "erste",
    "zweite",
    "dritte",
    "vierte",
    "fünfte",
    "sechste",
    "siebte",
    "achte",
    "neunte",
    "zehnte",
    "elfte",
    "zwölfte",
]


@cache
def determiner(word: str, case: str, gender: str) -> str:
    """Inflect a determiner: `der`, a der-word given by its stem ("dies", "jed", "welch"), or an ein-word."""
    if word == "der":
        return DEFINITE[case, gender]
    if word in EIN_WORDS:
        return word + EIN_WORD[case, gender]
    return word + DER_WORD[case, gender]


def declension_after(word: str) -> str:
    """Name the adjective declension that follows a determiner ("" for none)."""
    if not word:
        return "strong"
    return "mixed" if word in EIN_WORDS else "weak"


@cache
def adjective(german: str, declension: str, case: str, gender: str) -> str:
    """Inflect an attributive adjective."""
    return STEMS.get(german, german) + DECLENSIONS[declension][case, gender]


@cache
def noun(entry: Noun, case: str, plural: bool) -> str:
    """Inflect a noun, weak nouns (der Junge, den Jungen) included."""
    if plural:
        form = entry.german_plural
        return form + "n" if case == "dat" and not form.endswith(("n", "s")) else form
    if case != "nom" and entry.genitive == "w":
        return entry.german_plural
    return entry.german + entry.genitive if case == "gen" else entry.german


def second_person(verb: Verb) -> str:
    """Return the present form for `du`, without the separable prefix."""
    third, stem = verb.german_third, infinitive_stem(verb.german)
    if verb.german in {"haben", "mögen"}:
        return {"haben": "hast", "mögen": "magst"}[verb.german]
    if third.endswith("dt"):
        return third[:-1] + "st"
    if stem.endswith("t") and third != stem + "et":
        return third + "st"
    root = third[:-1]
    return root + "t" if root.endswith(("s", "ß", "z")) else root + "st"


def infinitive_stem(infinitive: str) -> str:
    """Cut -en or -n from an infinitive."""
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


@cache
def finite(verb: Verb, tense: str, person: int, plural: bool) -> str:
    """Conjugate a full verb in the present or the preterite, without its separable prefix."""
    index = person_index(person, plural)
    if tense == "past":
        form = verb.preterite
        if index == 1:
            return form + ("est" if form.endswith(("t", "d", "s", "ß")) else "st")
        if index >= 3:
            return form + ("n" if form.endswith("e") else "en")
        return form
    if verb.german == "haben":
        return HABEN["present"][index]
    first = "mag" if verb.german == "mögen" else infinitive_stem(verb.german) + "e"
    return (first, second_person(verb), verb.german_third, verb.german, verb.german)[index]


def person_index(person: int, plural: bool) -> int:
    """Number the persons that the fragment uses: ich, du, er, wir, sie."""
    return (3 if person == 1 else 4) if plural else person - 1


def modal(infinitive: str, tense: str, person: int, plural: bool) -> str:
    """Conjugate a modal verb."""
    present, past = MODALS[infinitive]
    index = person_index(person, plural)
    if tense == "past":
        return past + ("", "st", "", "n", "n")[index]
    if index >= 3:
        return infinitive
    return present + ("st" if index == 1 and not present.endswith("ss") else "t" if index == 1 else "")


def number(value: int) -> str:
    """Write a cardinal from 2 to 999 as one word."""
    if value >= 100:
        hundreds, rest = divmod(value, 100)
        return ("ein" if hundreds == 1 else UNITS[hundreds]) + "hundert" + (number(rest) if rest else "")
    if value <= 12:
        return UNITS[value]
    if value < 20:
        return {16: "sechzehn", 17: "siebzehn"}.get(value) or UNITS[value - 10] + "zehn"
    tens, unit = divmod(value, 10)
    return (("ein" if unit == 1 else UNITS[unit]) + "und" if unit else "") + TENS[tens]
