"""Kinds of sentences by what they tell: what things are like, how many there are, who sits where."""

from __future__ import annotations

from dataclasses import replace

from fragment_adverbials import draw_place, draw_time
from fragment_clauses import (
    Argument,
    Clause,
    english_question,
    english_statement,
    german_question,
    german_statement,
)
from fragment_english import number as english_number
from fragment_everyday import draw_clause, draw_phrase, draw_tense
from fragment_german import number as german_number
from fragment_lexicon import Adjective, Noun, Slot
from fragment_phrases import Adverbial, NounParts, NounPhrase, it_phrase, name_phrase, noun_phrase
from fragment_pronouns import join_clauses, predicate
from fragment_sampler import Sampler
from fragment_sentences import person_phrase
from fragment_words import Sentence, build_sentence, pair, words

NEXT = {
    "buy": ("sell", "lose", "forget", "carry", "need", "hide", "like"),
    "find": ("sell", "hide", "lose", "carry", "like"),
    "steal": ("sell", "hide", "lose"),
    "take along": ("lose", "forget", "sell", "need"),
    "look for": ("find", "buy", "need"),
    "see": ("buy", "like", "steal", "sell"),
    "need": ("look for", "find", "buy", "steal"),
    "lose": ("look for", "find"),
    "forget": ("look for", "find", "need"),
    "carry": ("lose", "hide", "forget"),
}
"""What people do with a thing, and then with the same thing."""
ACCUSATIVE = Slot("acc", ())
COPULA_CLASSES = ("person", "animal", "thing", "vehicle", "building", "path", "clothes", "reading", "furniture")


def described(sampler: Sampler) -> tuple[NounPhrase, Adjective]:
    """Draw something and an adjective that suits it."""
    while True:
        noun = sampler.noun([sampler.pick(COPULA_CLASSES)])
        fitting = sampler.adjectives(noun, 1.0)
        if fitting:
            break
    determiners = ["the", "the", "this"]
    if {"animal", "thing", "vehicle", "clothes"} & noun.classes:
        determiners += ["my", "our", "your"]
    return noun_phrase(noun, NounParts(sampler.pick(determiners))), fitting[0]


def copula(sampler: Sampler) -> Sentence:
    """Draw "The street is very wide.", "Is my dog tired?", "The cat isn't old."."""
    subject, adjective = described(sampler)
    degree = sampler.pick((("", ""), ("very", "sehr"), ("too", "zu"), ("so", "so"))) if adjective.gradable else ("", "")
    negation = object() if sampler.chance(0.25) and degree[0] in {"", "very"} else None
    tense = sampler.pick(("present", "past"))
    often = [draw_time(sampler, tense, False)] if sampler.chance(0.2) and negation is None else []
    often = [entry for entry in often if entry.position == "often"]
    clause = Clause(subject, None, tense, (), often, predicate(adjective, degree), negation)
    if sampler.chance(0.2):
        return build_sentence(english_question(clause), german_question(clause), "?")
    return build_sentence(english_statement(clause), german_statement(clause))


def comparison(sampler: Sampler) -> Sentence:
    """Draw "The dog is bigger than the cat." or "The dog is as big as the cat."."""
    while True:
        name = sampler.pick(("animal", "person", "vehicle", "building", "clothes", "path", "reading"))
        adjective = sampler.pick(sampler.lexicon.adjectives_of[name])
        first, second = sampler.noun([name]), sampler.noun([name])
        if adjective.english_comparative and first is not second:
            break
    own = name in {"animal", "vehicle", "clothes"}
    subject = noun_phrase(first, NounParts(sampler.pick(("the", "my", "this") if own else ("the", "this"))))
    other = noun_phrase(second, NounParts(sampler.pick(("the", "your", "our") if own else ("the", "this"))))
    if sampler.chance(0.6):
        english, german = pair(adjective.english_comparative, adjective.german_comparative)
        than, als = pair("than", "als")
    else:
        first_as, so = pair("as", "so")
        word, wort = pair(adjective.english, adjective.german)
        english, german = first_as + word, so + wort
        than, als = pair("as", "wie")
    both = [*english, *than, *other.english], [*german, *als, *other.german("nom")]
    clause = Clause(subject, None, sampler.pick(("present", "past")), predicate=both)
    return build_sentence(english_statement(clause), german_statement(clause))


def counted(sampler: Sampler) -> Sentence:
    """Draw "There are five dogs in the garden.", "The skirt costs fifty euros." or "Anna is nine years old."."""
    number = object()
    roll = sampler.pick(("there", "there", "cost", "age"))
    if roll == "there":
        noun = sampler.noun(["animal", "thing", "countable"])
        plural = sampler.chance(0.75)
        parts = NounParts("", sampler.adjectives(noun, 0.2)[:1], count=sampler.count()) if plural else NounParts("a")
        phrase = noun_phrase(noun, parts if noun.german_plural else NounParts(""))
        there, es = object(), sampler.chance(0.5)
        be = ("are" if phrase.plural else "is") if es else ("were" if phrase.plural else "was")
        english = words(f"there {be}", there) + phrase.english
        place = draw_place(sampler)
        german = words("es gibt" if es else "es gab", there) + phrase.german("acc")
        return build_sentence(english + place.english, german + place.german)
    value = sampler.count()
    if roll == "cost":
        noun = sampler.noun(["clothes", "vehicle", "machine", "instrument"])
        phrase = noun_phrase(noun, NounParts(sampler.pick(("the", "this")), sampler.adjectives(noun, 0.3)[:1]))
        past, cost, euro = sampler.chance(0.4), object(), object()
        english = [*phrase.english, *words("cost" if past else "costs", cost), *words(english_number(value), number)]
        german = [
            *phrase.german("nom"),
            *words("kostete" if past else "kostet", cost),
            *words(german_number(value), number),
        ]
        return build_sentence(english + words("euros", euro), german + words("Euro", euro))
    value = min(value + 17, 99)
    subject = person_phrase(sampler)
    years, old = object(), object()
    age = (
        words(english_number(value), number) + words("years", years) + words("old", old),
        words(german_number(value), number) + words("Jahre", years) + words("alt", old),
    )
    clause = Clause(subject, None, sampler.pick(("present", "past")), predicate=age)
    return build_sentence(english_statement(clause), german_statement(clause))


def pets(sampler: Sampler) -> Sentence:
    """Draw "Rex is very lazy and he is a cat.": a name whose bearer the second clause reveals."""
    name, german_name = sampler.pick(sampler.names["pet"])
    male = Noun(name, "", german_name, "m", "", "", frozenset({"he"}))
    subject = replace(name_phrase(name, "m", german_name), noun=male)
    noun = sampler.noun(["pet", "animal"])
    tense = sampler.weighted([("present", 4), ("past", 1)])
    adjective = sampler.pick(sampler.lexicon.adjectives_of["animal"])
    degree = sampler.pick((("", ""), ("very", "sehr"), ("so", "so"))) if adjective.gradable else ("", "")
    animal = noun_phrase(noun, NounParts("a", sampler.adjectives(noun, 0.2, (adjective.english,))[:1]))
    kind = (animal.english, animal.german("nom"))
    first = Clause(subject, None, tense, predicate=predicate(adjective, degree))
    roll = sampler.pick(("reveal", "reveal", "is", "does"))
    if roll == "reveal":
        second = Clause(it_phrase(subject), None, tense, predicate=kind)
        if sampler.chance(0.3):
            first, second = replace(second, subject=subject), replace(first, subject=second.subject)
        return build_sentence(*join_clauses(first, second, "and"))
    if roll == "is":
        clause = Clause(subject, None, tense, predicate=kind)
        return build_sentence(english_statement(clause), german_statement(clause))
    verb = sampler.pick([verb for verb in sampler.everyday if {"animal", "pet"} & set(verb.subjects)])
    clause = draw_clause(sampler, verb, subject)
    return build_sentence(english_statement(clause), german_statement(clause), ".", clause.triples)


def sitting(sampler: Sampler) -> Sentence:
    """Draw "The cat sat on the mat.": animals and furniture in the dative."""
    verb = sampler.pick([verb for verb in sampler.lexicon.verbs if verb.english in {"sit", "lie"} and verb.slots])
    noun = sampler.noun(["animal"])
    subject = draw_phrase(sampler, noun, False, "", subject=True)
    clause = draw_clause(sampler, verb, subject, sampler.pick(("past", "present")), adverbials=sampler.chance(0.3))
    return build_sentence(english_statement(clause), german_statement(clause), ".", clause.triples)


def jumping(sampler: Sampler) -> Sentence:
    """Draw "The small brown cat jumps over the old dog.": stacked adjectives."""
    verb = next(verb for verb in sampler.lexicon.verbs if verb.english == "jump")
    noun, other = sampler.noun(["animal"]), sampler.noun(["animal"])
    subject = noun_phrase(noun, NounParts("the", sampler.adjectives(noun, 0.8)))
    object_ = noun_phrase(other, NounParts("the", sampler.adjectives(other, 0.8)))
    clause = Clause(subject, verb, sampler.pick(("past", "present")), [Argument(verb.slots[0], object_)])
    return build_sentence(english_statement(clause), german_statement(clause), ".", clause.triples)


def visiting(sampler: Sampler) -> Sentence:
    """Draw "Jane visits Africa in September.": names, countries, months."""
    verb = next(verb for verb in sampler.lexicon.verbs if verb.english == "visit")
    english, german = sampler.pick(sampler.names["city"] + sampler.names["land"])
    subject = sampler.name() if sampler.chance(0.7) else person_phrase(sampler)
    tense = draw_tense(sampler, verb)
    place = Argument(ACCUSATIVE, name_phrase(english, "n", german))
    negation = object() if sampler.chance(0.15) else None
    time = draw_time(sampler, tense, False)
    if time.position == "time" and (negation is not None or sampler.chance(0.2)):
        time = Adverbial("front", time.english, time.german)
    extra = [] if negation is not None and time.position == "often" else [time]
    clause = Clause(subject, verb, tense, [place], extra, negation=negation)
    return build_sentence(english_statement(clause), german_statement(clause))


def object_pronoun(sampler: Sampler) -> Sentence:
    """Draw "The man bought a hat and sold it.": the object taken up by "it" (ihn, sie, es)."""
    first_name = sampler.pick(sorted(NEXT))
    second_name = sampler.pick(NEXT[first_name])
    one, two = (next(v for v in sampler.common if v.english == name) for name in (first_name, second_name))
    noun = sampler.noun(["thing", "thing", "clothes"])
    tense = sampler.pick(("past", "present"))
    determiner = "a" if sampler.chance(0.4) else "the"
    thing = noun_phrase(noun, NounParts(determiner, sampler.adjectives(noun, 0.3)[:1], plural=False))
    person = person_phrase(sampler)
    first = Clause(person, one, tense, [Argument(one.slots[0], thing)])
    again = it_phrase(person)
    second = Clause(again, two, tense, [Argument(two.slots[0], it_phrase(thing))])
    negated = sampler.chance(0.2)
    if negated:
        second = replace(second, negation=object())
    connective = "but" if negated else "and"
    return build_sentence(*join_clauses(first, second, connective), ".", first.triples)
