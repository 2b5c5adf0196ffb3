"""Clauses: one description, and its English and German word orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import fragment_english as english_forms
import fragment_german as german_forms
from fragment_lexicon import Slot, Verb
from fragment_phrases import Adverbial, NounPhrase, preposition
from fragment_words import Word, Words, words

MODALS = {
    # English (present, past), their negations, German modal, German tense of each
    "can": ("can", "can't", "können", "present"),
    "could": ("could", "couldn't", "können", "past"),
    "must": ("must", "mustn't", "müssen", "present"),
    "may": ("may", "may not", "dürfen", "present"),
    "should": ("should", "shouldn't", "sollen", "past"),
}
WANTS = {"wants": ("want", "wollen"), "has": ("have", "müssen")}


@dataclass(frozen=True)
class Argument:
    """A noun phrase in a slot of the verb."""

    slot: Slot
    phrase: NounPhrase
    key: object = field(default_factory=object)


@dataclass(frozen=True)
class Clause:
    """One clause.

    `tense` is "present", "past", "perfect", "pluperfect", "future", a key of `MODALS`, or a key of `WANTS` followed by
    "-present" or "-past". `verb` None is the copula, whose `predicate` holds the words of both sides.
    """

    subject: NounPhrase
    verb: Verb | None
    tense: str = "past"
    arguments: Sequence[Argument] = ()
    adverbials: Sequence[Adverbial] = ()
    predicate: tuple[Words, Words] = field(default_factory=lambda: ([], []))
    negation: object = None
    key: object = field(default_factory=object)
    helper: object = field(default_factory=object)

    @property
    def time(self) -> str:
        """The tense in both languages: the past where English does not show it is not ("they read", "I put")."""
        third = self.subject.person == 3 and not self.subject.plural
        if self.tense == "present" and self.verb and self.verb.english_past == self.verb.english and not third:
            return "past"
        return self.tense

    @property
    def kein(self) -> Argument | None:
        """The argument that takes `kein` in place of `nicht`, if the clause is negated and has one."""
        if self.negation is not None:
            for argument in self.arguments:
                if argument.phrase.negative_forms is not None and not argument.slot.german_preposition:
                    return argument
        return None

    @property
    def triples(self) -> list[tuple[str, str, str]]:
        """The (verb, subject, object) triples of the clause, in English base forms."""
        if self.verb is None:
            return []
        found = [(self.verb.english, self.subject.name, argument.phrase.name) for argument in self.arguments]
        found += [(self.verb.english, self.subject.name, adverbial.triple) for adverbial in self.adverbials]
        return [triple for triple in found if triple[1] and triple[2]]


def english_verb(clause: Clause, question: bool = False) -> tuple[Words, Words]:
    """Return the English auxiliary (empty if none) and the rest of the verb, with "not" in its place."""
    third = clause.subject.person == 3 and not clause.subject.plural
    index = german_forms.person_index(clause.subject.person, clause.subject.plural)
    verb, tense, negative = clause.verb, clause.time, clause.negation is not None
    no = (clause.negation,) if negative else ()

    def helper(positive: str, negated: str) -> Words:
        return [Word(negated if negative else positive, (clause.helper, *no))]

    def main(form: str) -> Words:
        return words(form, clause.key)

    base = verb.english if verb else "be"
    participle = verb.english_participle if verb else "been"
    if tense in MODALS:
        positive, negated, _, _ = MODALS[tense]
        parts = (negated if negative else positive).split()
        modal = [Word(parts[0], (clause.helper, *(no if len(parts) == 1 else ())))]
        return modal, [*(Word(part, no) for part in parts[1:]), *main(base)]
    if tense == "future":
        return helper("will", "won't"), main(base)
    if tense == "perfect":
        return (helper("has", "hasn't") if third else helper("have", "haven't")), main(participle)
    if tense == "pluperfect":
        return helper("had", "hadn't"), main(participle)
    kind, _, wanted = tense.partition("-")
    if kind in WANTS:
        want = WANTS[kind][0]
        do = ("did" if wanted == "past" else "does" if third else "do") if negative or question else ""
        to = [Word("to"), *main(base)]
        if do:
            return [Word(do + ("n't" if negative else ""), no)], [Word(want, (clause.helper,)), *to]
        past = {"want": "wanted", "have": "had"}[want]
        form = past if wanted == "past" else english_forms.third_person(want) if third else want
        return [], [Word(form, (clause.helper,)), *to]
    if verb is None:
        form = english_forms.BE[tense][index]
        if not negative:
            return main(form), []
        if form == "am":
            return main(form), [Word("not", no)]
        return [Word(form + "n't", (clause.key, *no))], []
    if negative or question:
        do = "did" if tense == "past" else "does" if third else "do"
        return [Word(do + ("n't" if negative else ""), no)], main(base)
    return [], main(english_forms.finite(verb, tense, third))


def english_rest(clause: Clause, skip: NounPhrase | None = None) -> Words:
    """Return what follows the English verb: objects, predicate, manner, place, time."""
    result: Words = []
    for argument in clause.arguments:
        if argument.phrase is skip:
            result += words(argument.slot.english_preposition, object())
            continue
        result += argument_words(clause, argument)[0]
    result += clause.predicate[0]
    for position in ("manner", "place", "time"):
        for adverbial in clause.adverbials:
            if adverbial.position == position:
                result += adverbial.english
    return result


def argument_words(clause: Clause, argument: Argument) -> tuple[Words, Words]:
    """Return an argument in both languages, with its prepositions and `kein`."""
    slot, phrase = argument.slot, argument.phrase
    if slot.german_preposition:
        english, german = preposition(
            slot.english_preposition, slot.german_preposition, slot.case, phrase, argument.key
        )
    else:
        english, german = phrase.english_object, phrase.german(slot.case, argument is clause.kein)
    return english + phrase.english_tail, german


def english_often(clause: Clause) -> Words:
    """Return the adverbs that English puts before the main verb."""
    return [word for adverbial in clause.adverbials if adverbial.position == "often" for word in adverbial.english]


def english_statement(clause: Clause, subject: bool = True) -> Words:
    """Return an English clause in the order of statements."""
    auxiliary, main = english_verb(clause)
    start = [*clause.subject.english, *clause.subject.english_tail] if subject else []
    front = [word for adverbial in clause.adverbials if adverbial.position == "front" for word in adverbial.english]
    return [*front, *start, *auxiliary, *english_often(clause), *main, *english_rest(clause)]


def english_question(clause: Clause, asked: Sequence[Word] = (), skip: NounPhrase | None = None) -> Words:
    """Return an English question; `asked` is the question phrase, `skip` the object it stands for."""
    auxiliary, main = english_verb(clause, question=True)
    return [*asked, *auxiliary, *clause.subject.english, *english_often(clause), *main, *english_rest(clause, skip)]


def german_verb(clause: Clause) -> tuple[Words, Words]:
    """Return the German finite verb and the right bracket (prefix, participle, infinitive) of a main clause."""
    person, plural = clause.subject.person, clause.subject.plural
    index = german_forms.person_index(person, plural)
    verb, tense = clause.verb, clause.time
    prefix = verb.prefix if verb else ""
    infinitive = prefix + (verb.german if verb else "sein")
    participle = verb.participle if verb else "gewesen"
    kind, _, wanted = tense.partition("-")
    if tense in MODALS or kind in WANTS:
        german, when = (MODALS[tense][2], MODALS[tense][3]) if tense in MODALS else (WANTS[kind][1], wanted)
        if tense == "must" and clause.negation is not None:
            german = "dürfen"
        form = german_forms.modal(german, when, person, plural)
        return words(form, clause.helper), words(infinitive, clause.key)
    if tense == "future":
        return words(german_forms.WERDEN["present"][index], clause.helper), words(infinitive, clause.key)
    if tense in {"perfect", "pluperfect"}:
        table = german_forms.HABEN if verb and verb.auxiliary == "h" else german_forms.SEIN
        form = table["present" if tense == "perfect" else "past"][index]
        return words(form, clause.helper), words(participle, clause.key)
    if verb is None:
        return words(german_forms.SEIN[tense][index], clause.key), []
    return words(german_forms.finite(verb, tense, person, plural), clause.key), words(prefix, clause.key)


def german_middle(clause: Clause, subject: bool, skip: NounPhrase | None = None) -> tuple[Words, Words]:
    """Return the German middle field and what follows the right bracket (relative clauses)."""
    fields: dict[str, Words] = {name: [] for name in ("pronoun", "definite", "indefinite", "directional")}
    tail: Words = []
    for argument in clause.arguments:
        if argument.phrase is skip:
            continue
        german = argument_words(clause, argument)[1]
        tail += argument.phrase.tail
        if argument.slot.german_preposition:
            fields["directional"] += german
        elif argument.phrase.pronoun:
            # two pronouns: accusative before dative (er gibt es ihm)
            fields["pronoun"] = (
                german + fields["pronoun"] if argument.slot.case == "acc" else fields["pronoun"] + german
            )
        else:
            fields["definite" if argument.phrase.definite else "indefinite"] += german
    times = {
        name: [word for adverbial in clause.adverbials if adverbial.position == name for word in adverbial.german]
        for name in ("often", "time", "manner", "place")
    }
    no = [Word("nicht", (clause.negation,))] if clause.negation is not None and clause.kein is None else []
    start = clause.subject.german("nom") + clause.subject.tail if subject else []
    return [
        *start,
        *fields["pronoun"],
        *times["often"],
        *fields["definite"],
        *times["time"],
        *fields["indefinite"],
        *no,
        *times["manner"],
        *times["place"],
        *fields["directional"],
        *clause.predicate[1],
    ], tail


def german_statement(clause: Clause, subject: bool = True) -> Words:
    """Return a German main clause: the verb second, after the subject or a fronted adverbial."""
    finite, bracket = german_verb(clause)
    front = [word for adverbial in clause.adverbials if adverbial.position == "front" for word in adverbial.german]
    if not front and subject:
        front, inverted = clause.subject.german("nom") + clause.subject.tail, False
    else:
        inverted = bool(front)
    middle, tail = german_middle(clause, subject=inverted)
    return [*front, *finite, *middle, *bracket, *tail]


def german_question(clause: Clause, asked: Sequence[Word] = (), skip: NounPhrase | None = None) -> Words:
    """Return a German question, or a main clause whose first position `asked` takes."""
    finite, bracket = german_verb(clause)
    middle, tail = german_middle(clause, subject=True, skip=skip)
    return [*asked, *finite, *middle, *bracket, *tail]


def german_subordinate(clause: Clause, subject: bool = True, skip: NounPhrase | None = None) -> Words:
    """Return a German clause with the verb last, without its conjunction; no subject in a subject relative clause."""
    finite, bracket = german_verb(clause)
    middle, tail = german_middle(clause, subject, skip)
    simple = clause.time in {"present", "past"}
    if simple and bracket and clause.verb is not None:
        last = [Word(bracket[0].text + finite[0].text, finite[0].keys)]
    else:
        last = [*bracket, *finite]
    return [*middle, *last, *tail]
