"""The hand-written lexicon, read from `lexicon/*.tsv` and typed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent / "lexicon"
FRAMES = {"loc", "dir", "city", "place", "taste", "put"}


@dataclass(frozen=True)
class Noun:
    """A noun with its two plurals. `german_plural` is empty where the noun is used in the singular only."""

    english: str
    english_plural: str
    german: str
    gender: str
    german_plural: str
    genitive: str
    classes: frozenset[str]


@dataclass(frozen=True)
class Adjective:
    """An adjective. `gradable` ones take "too", "very" and "so"; only some have a comparative here."""

    english: str
    german: str
    gradable: bool
    classes: frozenset[str]
    english_comparative: str = ""
    german_comparative: str = ""


@dataclass(frozen=True)
class Slot:
    """A noun phrase that a verb asks for: its German case, its classes, and its prepositions, if any."""

    case: str
    classes: tuple[str, ...]
    english_preposition: str = ""
    german_preposition: str = ""


@dataclass(frozen=True)
class Verb:
    """A verb with one use. `frame` is empty or one of `FRAMES`; `slots` are its objects."""

    english: str
    english_past: str
    english_participle: str
    german: str
    prefix: str
    german_third: str
    preterite: str
    participle: str
    auxiliary: str
    subjects: tuple[str, ...]
    frame: str = ""
    slots: tuple[Slot, ...] = ()


@dataclass(frozen=True)
class Frame:
    """A verb with two nouns, and the adjectives that make a following "it" mean the one or the other."""

    verb: str
    subject: str
    object: str
    negated: bool
    subject_adjectives: tuple[str, ...]
    object_adjectives: tuple[str, ...]


@dataclass
class Lexicon:
    """All words by class, in the order of the files."""

    nouns: list[Noun]
    adjectives: dict[str, Adjective]
    verbs: list[Verb]
    frames: list[Frame]
    misfits: dict[str, frozenset[str]]
    nouns_of: dict[str, list[Noun]] = field(default_factory=dict)
    adjectives_of: dict[str, list[Adjective]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for noun in self.nouns:
            for name in sorted(noun.classes):
                self.nouns_of.setdefault(name, []).append(noun)
        for adjective in self.adjectives.values():
            for name in sorted(adjective.classes):
                self.adjectives_of.setdefault(name, []).append(adjective)

    def fits(self, noun: Noun, adjective: str) -> bool:
        """Say whether a deciding adjective suits a noun of its frame."""
        return not any(adjective in self.misfits.get(name, ()) for name in noun.classes)

    def verb(self, english: str, subject: str, complement: str) -> Verb:
        """Return the verb of that English name which takes this subject class and this object class."""
        for verb in self.verbs:
            if verb.english != english or subject not in verb.subjects:
                continue
            if any(complement in slot.classes for slot in verb.slots):
                return verb
        raise KeyError(f"no verb {english}: {subject} > {complement}")


def read_rows(name: str) -> list[str]:
    """Return the lines of a lexicon file that are neither empty nor comments."""
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def regular_plural(noun: str) -> str:
    """Return the regular English plural."""
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def read_noun(row: str) -> Noun:
    """Read one line of `nouns.tsv`."""
    english, german, gender, plural, genitive, classes = row.split()
    singular, _, irregular = english.replace("_", " ").partition("/")
    irregular = irregular or regular_plural(singular)
    return Noun(
        singular,
        irregular,
        german,
        gender,
        "" if plural == "-" else plural,
        "" if genitive == "-" else genitive,
        frozenset(classes.split(",")),
    )


def read_adjective(row: str) -> Adjective:
    """Read one line of `adjectives.tsv`."""
    english, german, gradable, classes, *compared = row.split()
    more, mehr = compared or ("", "")
    return Adjective(english, german, gradable == "+", frozenset(classes.split(",")), more.replace("_", " "), mehr)


def read_slots(text: str) -> tuple[Slot, ...]:
    """Read the complement of a verb, as `verbs.tsv` explains it."""
    kind, _, classes = text.partition(":")
    names = tuple(classes.split(","))
    if kind in {"acc", "dat", "put"}:
        kind = "acc" if kind == "put" else kind
        return (Slot(kind, names),)
    if kind == "dat+acc":
        receivers, _, things = classes.partition(":")
        return (Slot("dat", tuple(receivers.split(","))), Slot("acc", tuple(things.split(","))))
    if ">" in kind:
        english, _, german = kind.replace("_", " ").partition(">")
        preposition, _, case = german.partition("+")
        return (Slot(case, names, english, preposition),)
    return ()


def read_verb(row: str) -> Verb:
    """Read one line of `verbs.tsv`."""
    english, german, subjects, complement = (part.strip() for part in row.split(";"))
    base, past, participle = split_names(english)
    infinitive, third, preterite, german_participle, auxiliary = german.split()
    prefix, _, stem = infinitive.rpartition("|")
    return Verb(
        base,
        past,
        participle,
        stem,
        prefix,
        third,
        preterite,
        german_participle,
        auxiliary,
        tuple(subjects.split(",")),
        complement.partition(":")[0] if complement.partition(":")[0] in FRAMES else "",
        read_slots(complement),
    )


def split_names(text: str) -> list[str]:
    """Split names at spaces, then turn their underscores into spaces."""
    return [name.replace("_", " ") for name in text.split()]


def read_frame(row: str) -> Frame:
    """Read one line of `pronoun_frames.tsv`."""
    verb, subject, object_, polarity, ours, theirs = (part.strip() for part in row.split(";"))
    return Frame(verb, subject, object_, polarity == "-", tuple(ours.split()), tuple(theirs.split()))


def read_lexicon() -> Lexicon:
    """Read the whole lexicon."""
    adjectives = [read_adjective(row) for row in read_rows("adjectives.tsv")]
    return Lexicon(
        [read_noun(row) for row in read_rows("nouns.tsv")],
        {adjective.english: adjective for adjective in adjectives},
        [read_verb(row) for row in read_rows("verbs.tsv")],
        [read_frame(row) for row in read_rows("pronoun_frames.tsv")],
        {name: frozenset(rest.split()) for name, _, rest in (row.partition(":") for row in read_rows("misfits.tsv"))},
    )
