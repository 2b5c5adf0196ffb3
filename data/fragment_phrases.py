"""Noun phrases and adverbials in both languages at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import fragment_english as english_forms
import fragment_german as german_forms
from fragment_lexicon import Adjective, Noun
from fragment_words import Word, Words, words

DETERMINERS = {
    "the": "der",
    "a": "ein",
    "any": "kein",
    "this": "dies",
    "these": "dies",
    "every": "jed",
    "which": "welch",
    "my": "mein",
    "your": "dein",
    "his": "sein",
    "her": "ihr",
    "our": "unser",
    "their": "ihr",
    "": "",
}
SUBJECT_PRONOUNS = {
    "I": ("me", "ich", 1, False),
    "you": ("you", "du", 2, False),
    "he": ("him", "er", 3, False),
    "she": ("her", "sie", 3, False),
    "we": ("us", "wir", 1, True),
    "they": ("them", "Sie", 3, True),
}
INDEFINITE = {"a", "any", "", "number"}


class Forms(dict[str, Words]):
    """The German words by case, declined when first asked for."""

    def __init__(self, decline: Callable[[str], Words]) -> None:
        super().__init__()
        self._decline = decline

    def __missing__(self, case: str) -> Words:
        self[case] = self._decline(case)
        return self[case]


@dataclass(frozen=True)
class NounPhrase:
    """A noun phrase; `german(case)` gives its German words.

    `tail` is a relative clause of the German side, which a clause with a right bracket puts behind that bracket.
    """

    english: Words
    english_object: Words
    forms: dict[str, Words]
    gender: str = "m"
    person: int = 3
    plural: bool = False
    pronoun: bool = False
    definite: bool = True
    noun: Noun | None = None
    negative_forms: dict[str, Words] | None = None
    is_name: bool = False
    english_tail: Words = field(default_factory=list)
    tail: Words = field(default_factory=list)

    def german(self, case: str, negative: bool = False) -> Words:
        """Return the German words in a case, with `kein` where `negative`."""
        return self.negative_forms[case] if negative and self.negative_forms is not None else self.forms[case]

    @property
    def name(self) -> str:
        """The English noun, or the empty string."""
        return self.noun.english if self.noun else ""

    @property
    def it(self) -> str:
        """The German pronoun (nominative) that takes this phrase up."""
        return "sie" if self.plural else {"m": "er", "f": "sie", "n": "es"}[self.gender]

    @property
    def english_it(self) -> str:
        """The English pronoun (subject form) that takes this phrase up."""
        if self.plural:
            return "they"
        classes = self.noun.classes if self.noun else frozenset()
        return "he" if "he" in classes else "she" if "she" in classes else "it"


@dataclass(frozen=True)
class NounParts:
    """What `noun_phrase` is told beside the noun itself."""

    determiner: str = "the"
    adjectives: Sequence[Adjective] = ()
    plural: bool = False
    count: int = 0


def noun_phrase(noun: Noun, parts: NounParts, negation: object = None) -> NounPhrase:
    """Build a noun phrase in all cases.

    Args:
        noun: The head.
        parts: Determiner, adjectives, number; a `count` makes a plural with a cardinal.
        negation: The key of the clause's negation, which `kein` then carries too.
    """
    plural = parts.plural or parts.count > 1
    key, det_key = object(), object()
    adjective_keys = [(entry, object()) for entry in parts.adjectives]
    english: Words = [word for entry, mark in adjective_keys for word in words(entry.english, mark)]
    english += words(noun.english_plural if plural else noun.english, key)
    determiner = parts.determiner
    if parts.count:
        english = words(english_forms.number(parts.count), det_key) + english
    elif determiner == "a":
        english = [Word(english_forms.article(english[0].text), (det_key,)), *english]
    elif determiner:
        english = [Word(determiner, (det_key,)), *english]
    gender = "p" if plural else noun.gender
    german_determiner = DETERMINERS[determiner]

    def decline(case: str, article: str, keys: tuple[object, ...]) -> Words:
        result: Words = []
        if parts.count:
            result.append(Word(german_forms.number(parts.count), keys))
            declension = "strong"
        else:
            declension = german_forms.declension_after(article)
            if article:
                result.append(Word(german_forms.determiner(article, case, gender), keys))
        for entry, mark in adjective_keys:
            result.append(Word(german_forms.adjective(entry.german, declension, case, gender), (mark,)))
        result.append(Word(german_forms.noun(noun, case, plural), (key,)))
        return result

    forms = Forms(lambda case: decline(case, german_determiner, (det_key,)))
    negative: Forms | None = None
    if negation is not None and determiner in INDEFINITE:
        negative = Forms(lambda case: decline(case, "kein", (det_key, negation)))
    indefinite = bool(parts.count) or determiner in INDEFINITE
    return NounPhrase(
        english,
        english,
        forms,
        noun.gender,
        plural=plural,
        definite=not indefinite,
        noun=noun,
        negative_forms=negative,
    )


def name_phrase(name: str, gender: str, german: str = "") -> NounPhrase:
    """Build a proper name, the same in all cases; genitive with -s."""
    key = object()
    german_words = words(german or name, key)
    forms = dict.fromkeys(("nom", "acc", "dat"), german_words)
    return NounPhrase(words(name, key), words(name, key), forms, gender, is_name=True)


def pronoun_phrase(name: str) -> NounPhrase:
    """Build a personal pronoun of persons from its English subject form."""
    other, german, person, plural = SUBJECT_PRONOUNS[name]
    key = object()
    cases = german_forms.PRONOUNS[german]
    forms = {case: words(form, key) for case, form in zip(("nom", "acc", "dat"), cases, strict=True)}
    return NounPhrase(words(name, key), words(other, key), forms, "m", person, plural, pronoun=True)


def it_phrase(antecedent: NounPhrase) -> NounPhrase:
    """Build the pronoun that takes up an antecedent: he, she, it or they, with the German gender it needs."""
    key = object()
    english = antecedent.english_it
    other = {"he": "him", "she": "her", "they": "them"}.get(english, english)
    german = {"they": "Sie", "he": "er", "she": "sie"}.get(english) or antecedent.it
    cases = german_forms.PRONOUNS[german]
    forms = {case: words(form, key) for case, form in zip(("nom", "acc", "dat"), cases, strict=True)}
    return NounPhrase(
        words(english, key),
        words(other, key),
        forms,
        antecedent.gender,
        plural=antecedent.plural,
        pronoun=True,
    )


def possessed(owner: NounPhrase, noun: Noun, adjectives: Sequence[Adjective]) -> NounPhrase:
    """Build "the owner's thing" for a singular owner: `das Ding des Besitzers`, or `Annas neues Ding` for a name."""
    owned = noun_phrase(noun, NounParts("" if owner.is_name else "the", adjectives))
    last = owner.english[-1]
    english = [*owner.english[:-1], Word(f"{last.text}'s", last.keys), *owned.english[0 if owner.is_name else 1 :]]
    if owner.is_name:
        genitive = [Word(owner.forms["nom"][0].text + "s", last.keys)]
        forms = Forms(lambda case: [*genitive, *owned.forms[case]])
    else:
        forms = Forms(lambda case: [*owned.forms[case], *owner.forms["gen"]])
    return NounPhrase(english, english, forms, noun.gender, noun=noun)


def both(first: NounPhrase, second: NounPhrase, conjunction: str = "and") -> NounPhrase:
    """Join two noun phrases with "and"."""
    key = object()
    link, german_link = Word(conjunction, (key,)), Word("und", (key,))
    english = [*first.english, link, *second.english]
    objects = [*first.english_object, link, *second.english_object]
    forms = {case: [*first.forms[case], german_link, *second.forms[case]] for case in ("nom", "acc", "dat")}
    return NounPhrase(english, objects, forms, "m", plural=True)


def preposition(
    english: str, german: str, case: str, phrase: NounPhrase, key: object | None = None
) -> tuple[Words, Words]:
    """Build a prepositional phrase, with the contractions (im, am, zum, ins, ...); `key` links its prepositions."""
    key = key or object()
    german_words = phrase.german(case)
    first = german_words[0]
    contracted = german_forms.CONTRACTIONS.get((german, first.text))
    if contracted and not phrase.pronoun and len(german_words) > 1:
        german_words = [Word(contracted, (key, *first.keys)), *german_words[1:]]
    else:
        german_words = [*words(german, key), *german_words]
    return words(english, key) + phrase.english_object, german_words


@dataclass(frozen=True)
class Adverbial:
    """An adverbial in both languages. `position` is "time", "often" (before the English verb), "manner" or "place"."""

    position: str
    english: Words
    german: Words
    triple: str = ""
