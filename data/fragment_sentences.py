"""Kinds of sentences by their syntax: statements, questions, subordinate and relative clauses."""

from __future__ import annotations

from dataclasses import replace

from fragment_adverbials import STATIVE, draw_time
from fragment_clauses import (
    Argument,
    Clause,
    english_question,
    english_statement,
    german_question,
    german_statement,
    german_subordinate,
)
from fragment_everyday import draw_clause, draw_phrase, draw_subject
from fragment_german import DEFINITE
from fragment_lexicon import Noun
from fragment_phrases import NounParts, NounPhrase, it_phrase, name_phrase, noun_phrase, pronoun_phrase
from fragment_pronouns import join_clauses, predicate
from fragment_sampler import Sampler
from fragment_words import Sentence, Word, build_sentence, pair

SAYING = (
    # English present and past, German present and preterite; singular and plural
    ("says", "say", "said", "sagt", "sagen", "sagte", "sagten"),
    ("believes", "believe", "believed", "glaubt", "glauben", "glaubte", "glaubten"),
    ("knows", "know", "knew", "weiß", "wissen", "wusste", "wussten"),
    ("hopes", "hope", "hoped", "hofft", "hoffen", "hoffte", "hofften"),
)


def statement(sampler: Sampler) -> Sentence:
    """Draw a main clause."""
    clause = draw_clause(sampler)
    return build_sentence(english_statement(clause), german_statement(clause), ".", clause.triples)


def question(sampler: Sampler) -> Sentence:
    """Draw a yes-no question, or one with why, when or where."""
    clause = unfronted(draw_clause(sampler))
    asked = sampler.pick(("", "", "", "why warum", "when wann", "where wo"))
    if clause.negation is not None and asked not in {"", "why warum"}:
        asked = "why warum"
    if asked in {"when wann", "where wo"}:
        active = [verb for verb in sampler.common if verb.english not in STATIVE]
        clause = draw_clause(sampler, sampler.pick(active), negated=False, adverbials=False)
    english, german = pair(*asked.split()) if asked else ([], [])
    return build_sentence(english_question(clause, english), german_question(clause, german), "?", clause.triples)


def unfronted(clause: Clause) -> Clause:
    """Return a clause without its fronted adverbial, for questions and subordinate clauses."""
    kept = [entry for entry in clause.adverbials if entry.position != "front"]
    return replace(clause, adverbials=kept)


def subject_question(sampler: Sampler) -> Sentence:
    """Draw a question for the subject: "Who sees the dog?"."""
    verb = sampler.pick([verb for verb in sampler.common if "person" in verb.subjects])
    asked = name_phrase("who", "m", "wer")
    clause = unfronted(draw_clause(sampler, verb, asked, negated=False))
    return build_sentence(english_statement(clause), german_statement(clause), "?")


def object_question(sampler: Sampler) -> Sentence:
    """Draw a question for the object: "What does Anna buy?", "Which book did she read?", "Who does he help?"."""
    verb = sampler.pick(
        [verb for verb in sampler.common if len(verb.slots) == 1 and not verb.slots[0].german_preposition]
    )
    slot = verb.slots[0]
    if slot.classes[0] == "person":
        english, german = "who", "wen" if slot.case == "acc" else "wem"
        asked = pair(english, german)
    elif sampler.chance(0.5):
        asked = pair("what", "was")
    else:
        phrase = noun_phrase(sampler.noun(slot.classes), NounParts("which"))
        asked = phrase.english, phrase.german(slot.case)
    clause = replace(draw_clause(sampler, verb, negated=False, adverbials=False), arguments=[])
    time = draw_time(sampler, clause.tense, False)
    if sampler.chance(0.3) and time.position == "time":
        clause = replace(clause, adverbials=[time])
    return build_sentence(english_question(clause, asked[0]), german_question(clause, asked[1]), "?")


def person_phrase(sampler: Sampler) -> NounPhrase:
    """Draw a person of whom "he" or "she" can be said."""
    if sampler.chance(0.5):
        return sampler.name()
    return draw_phrase(sampler, sampler.noun(["he", "she"]), True, owner="my", subject=True)


def with_clause(sampler: Sampler) -> Sentence:
    """Draw a main clause with a subordinate clause, or two main clauses, about the same person."""
    connective = sampler.weighted(
        [("because", 4), ("although", 2), ("when", 3), ("if", 2), ("while", 1), ("before", 1), ("and", 3), ("but", 1)]
    )
    tense = {"when": "past", "if": "present"}.get(connective) or sampler.pick(("past", "present"))
    person = person_phrase(sampler)
    people = [verb for verb in sampler.everyday if "person" in verb.subjects]
    first = draw_clause(sampler, sampler.pick(people), person, tense, adverbials=sampler.chance(0.3))
    verb, negated = sampler.pick(people), negated_of(connective, sampler)
    second = draw_clause(sampler, verb, it_phrase(person), tense, negated, False)
    if connective in {"because", "although"} and sampler.chance(0.4):
        adjective = sampler.pick(sampler.lexicon.adjectives_of["person"])
        degree = sampler.pick((("", ""), ("very", "sehr"), ("so", "so"))) if adjective.gradable else ("", "")
        second = Clause(it_phrase(person), None, tense, predicate=predicate(adjective, degree))
    fronted = connective not in {"and", "but"} and sampler.chance(0.35)
    first = unfronted(first) if fronted else first
    english, german = join_clauses(first, second, connective, fronted)
    return build_sentence(english, german, ".", first.triples + second.triples)


def negated_of(connective: str, sampler: Sampler) -> bool:
    """Say whether the second clause is negated: never after when, while and before."""
    return connective not in {"when", "while", "before"} and sampler.chance(0.2)


def after_clause(sampler: Sampler) -> Sentence:
    """Draw "After she had closed the door, Anna slept.": the past perfect."""
    people = [verb for verb in sampler.common if "person" in verb.subjects and verb.english not in STATIVE]
    person = person_phrase(sampler)
    first = draw_clause(sampler, sampler.pick(people), person, "past", False, False)
    second = draw_clause(sampler, sampler.pick(people), it_phrase(person), "pluperfect", False, False)
    english, german = join_clauses(first, second, "after", sampler.chance(0.5))
    return build_sentence(english, german, ".", first.triples + second.triples)


def reported(sampler: Sampler) -> Sentence:
    """Draw "Anna said that the dog slept."."""
    person = person_phrase(sampler)
    past = sampler.chance(0.5)
    verb, key = sampler.pick(SAYING), object()
    english = verb[2] if past else verb[1] if person.plural else verb[0]
    german = verb[3 + 2 * past + person.plural]
    clause = unfronted(draw_clause(sampler, tense="past" if past else "present"))
    if clause.subject.person == 2:
        clause = replace(clause, subject=sampler.name())
    that = object()
    return build_sentence(
        [*person.english, Word(english, (key,)), Word("that", (that,)), *english_statement(clause)],
        [*person.german("nom"), Word(german, (key,)), Word(","), Word("dass", (that,)), *german_subordinate(clause)],
        ".",
        clause.triples,
    )


def relative(sampler: Sampler, head: NounPhrase, noun: Noun) -> NounPhrase:
    """Attach a relative clause to a noun phrase: "that chased the cat", "that the man bought"."""
    tense = sampler.pick(("past", "past", "present"))
    human = "person" in noun.classes
    gender = "p" if head.plural else noun.gender
    key = object()
    comma = Word(",")
    subjects = [
        verb
        for verb in sampler.everyday
        if verb.frame in {"", "loc"} and verb.subjects and noun.classes & set(verb.subjects)
    ]
    if subjects and sampler.chance(0.55):
        clause = unfronted(draw_clause(sampler, sampler.pick(subjects), head, tense, adverbials=False))
        english = [Word("who" if human else "that", (key,)), *english_statement(clause, subject=False)]
        german = [comma, Word(DEFINITE["nom", gender], (key,)), *german_subordinate(clause, subject=False), comma]
        return replace(head, english_tail=english, tail=german)
    verbs = [
        verb
        for verb in sampler.common
        if len(verb.slots) == 1 and not verb.slots[0].german_preposition and noun.classes & set(verb.slots[0].classes)
    ]
    if not verbs:
        return head
    verb = sampler.pick(verbs)
    subject = draw_subject(sampler, verb.subjects, False)
    subject = sampler.name() if subject.person == 2 or subject.name == noun.english else subject
    clause = Clause(subject, verb, tense)
    case = verb.slots[0].case
    form = "denen" if case == "dat" and gender == "p" else DEFINITE[case, gender]
    english = [Word("that", (key,)), *english_statement(clause)]
    german = [comma, Word(form, (key,)), *german_subordinate(clause), comma]
    return replace(head, english_tail=english, tail=german)


def relative_clause(sampler: Sampler) -> Sentence:
    """Draw a sentence with a relative clause at its subject or its object."""
    if sampler.chance(0.5):
        verb = sampler.pick(sampler.everyday)
        noun = sampler.noun(verb.subjects)
        head = noun_phrase(noun, NounParts("the", sampler.adjectives(noun, 0.15), plural=plural_of(sampler, noun)))
        clause = unfronted(draw_clause(sampler, verb, relative(sampler, head, noun), negated=False, adverbials=False))
    else:
        verb = sampler.pick([verb for verb in sampler.common if len(verb.slots) == 1])
        noun = sampler.noun(verb.slots[0].classes)
        determiner = "a" if noun.german_plural and sampler.chance(0.3) else "the"
        head = noun_phrase(noun, NounParts(determiner, sampler.adjectives(noun, 0.15)))
        argument = Argument(verb.slots[0], relative(sampler, head, noun))
        clause = draw_clause(sampler, verb, negated=False, adverbials=False)
        clause = replace(clause, arguments=[argument])
    return build_sentence(english_statement(clause), german_statement(clause), ".", clause.triples)


def plural_of(sampler: Sampler, noun: Noun) -> bool:
    """Draw whether a noun stands in the plural."""
    return bool(noun.german_plural) and sampler.chance(0.2)


def together(sampler: Sampler) -> Sentence:
    """Draw two clauses that share their subject: "Anna opened the window and closed the door."."""
    people = [verb for verb in sampler.everyday if "person" in verb.subjects]
    tense = sampler.pick(("past", "present"))
    person = person_phrase(sampler) if sampler.chance(0.7) else pronoun_phrase(sampler.pick(("I", "we", "they")))
    first = draw_clause(sampler, sampler.pick(people), person, tense, False, False)
    second = draw_clause(sampler, sampler.pick(people), person, tense, False, False)
    conjunction, und = pair("and", "und")
    return build_sentence(
        [*english_statement(first), *conjunction, *english_statement(second, subject=False)],
        [*german_statement(first), *und, *german_statement(second, subject=False)],
        ".",
        first.triples + second.triples,
    )
