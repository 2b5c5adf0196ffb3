"""When, where and how: adverbials that suit a verb and its tense."""

from __future__ import annotations

from dataclasses import replace

import fragment_english as english_forms
import fragment_german as german_forms
from fragment_lexicon import Verb
from fragment_phrases import Adverbial, NounParts, noun_phrase, preposition
from fragment_sampler import Sampler
from fragment_words import Word, pair, words

MANNER = {
    "slowly": "langsam",
    "quickly": "schnell",
    "carefully": "vorsichtig",
    "quietly": "leise",
    "alone": "allein",
    "patiently": "geduldig",
    "proudly": "stolz",
    "secretly": "heimlich",
}
MANNER_VERBS = {
    "eat": ("slowly", "quickly", "alone", "secretly"),
    "drink": ("slowly", "quickly", "alone"),
    "read": ("slowly", "quietly", "alone", "secretly"),
    "write": ("slowly", "quickly", "alone", "secretly"),
    "open": ("slowly", "carefully", "quietly"),
    "close": ("slowly", "carefully", "quietly"),
    "clean": ("quickly", "carefully", "alone"),
    "carry": ("carefully", "slowly", "alone", "proudly"),
    "repair": ("carefully", "patiently", "alone", "secretly"),
    "dance": ("alone", "slowly", "proudly"),
    "sing": ("quietly", "alone", "proudly"),
    "work": ("quickly", "carefully", "alone", "patiently"),
    "wait": ("patiently", "alone", "quietly"),
    "cry": ("quietly", "secretly", "alone"),
    "go": ("slowly", "quickly", "alone"),
    "run": ("quickly", "slowly", "alone"),
    "live": ("alone",),
    "laugh": ("quietly", "secretly"),
    "speak": ("quietly", "slowly"),
    "show": ("proudly", "secretly"),
}
PAST_TIMES = ("yesterday gestern", "last_week letzte_Woche", "last_year letztes_Jahr", "on_that_day an_diesem_Tag")
PRESENT_TIMES = ("today heute", "every_day jeden_Tag", "now jetzt", "every_evening jeden_Abend")
FUTURE_TIMES = ("tomorrow morgen", "soon bald", "next_week nächste_Woche", "next_year nächstes_Jahr")
DAY_TIMES = (
    "in_the_morning am_Morgen",
    "in_the_evening am_Abend",
    "in_the_afternoon am_Nachmittag",
    "at_night in_der_Nacht",
    "in_summer im_Sommer",
    "in_winter im_Winter",
    "in_spring im_Frühling",
)
OFTEN = ("often oft", "always immer", "sometimes manchmal", "rarely selten", "usually meistens")
PLACES = {"in": ("in", "in"), "at": ("at", "an"), "on": ("on", "auf")}
NEAR = (("under", "unter"), ("behind", "hinter"), ("next to", "neben"), ("in front of", "vor"), ("on", "auf"))
STATIVE = {"like", "love", "know", "have", "need", "belong to", "please", "contain", "trust", "lie", "stand", "fit"}


def draw_time(sampler: Sampler, tense: str, negated: bool) -> Adverbial:
    """Return a time adverbial that suits the tense."""
    if tense == "perfect":
        return Adverbial("often", *pair(*sampler.pick((("already", "schon"), ("often", "oft")))))
    if tense in {"past", "present"} and not negated and sampler.chance(0.25):
        return Adverbial("often", *pair(*sampler.pick(OFTEN).split()))
    roll = sampler.random()
    if roll < 0.3:
        english, german = sampler.pick(sampler.names["day"])
        return Adverbial("time", *named("on", english, "am", german))
    if roll < 0.5:
        english, german = sampler.pick(sampler.names["month"])
        return Adverbial("time", *named("in", english, "im", german))
    if roll < 0.58:
        return draw_date(sampler)
    if roll < 0.64:
        hour = 2 + int(sampler.random() * 11)
        english_clock = words("at", at := object()) + words(english_forms.number(hour), hours := object())
        german_clock = words("um", at) + words(german_forms.number(hour), hours)
        clock = object()
        return Adverbial("time", english_clock + words("o'clock", clock), german_clock + words("Uhr", clock))
    past = "past" in tense or tense == "could"
    times: tuple[str, ...] = PAST_TIMES if past else FUTURE_TIMES if tense != "present" else PRESENT_TIMES
    if sampler.chance(0.5):
        times = DAY_TIMES
    english, german = sampler.pick(times).split()
    return Adverbial("time", *pair(english.replace("_", " "), german.replace("_", " ")))


def named(english: str, english_name: str, german: str, german_name: str) -> tuple[list[Word], list[Word]]:
    """Return a preposition with a name."""
    first, second = object(), object()
    return (
        [Word(english, (first,)), Word(english_name, (second,))],
        [Word(german, (first,)), Word(german_name, (second,))],
    )


def draw_date(sampler: Sampler) -> Adverbial:
    """Return a day of a month: on the third of May, am dritten Mai."""
    day = 1 + int(sampler.random() * 12)
    english, german = sampler.pick(sampler.names["month"])
    on, nth, month = object(), object(), object()
    return Adverbial(
        "time",
        [
            *words("on the", on),
            Word(english_forms.ORDINALS[day], (nth,)),
            Word("of"),
            Word(english, (month,)),
        ],
        [Word("am", (on,)), Word(german_forms.ORDINALS[day] + "n", (nth,)), Word(german, (month,))],
    )


def draw_place(sampler: Sampler) -> Adverbial:
    """Return where something happens."""
    if sampler.chance(0.2):
        english, german = sampler.pick(sampler.names["city"])
        return Adverbial("place", *named("in", english, "in", german))
    kind = sampler.weighted([("in", 5), ("at", 1.5), ("on", 1.5)])
    noun = sampler.noun([kind])
    english_word, german_word = PLACES[kind]
    phrase = noun_phrase(noun, NounParts(sampler.weighted([("the", 5), ("a", 1)]), sampler.adjectives(noun, 0.15)))
    return Adverbial("place", *preposition(english_word, german_word, "dat", phrase))


def draw_goal(sampler: Sampler, verb: Verb) -> Adverbial:
    """Return where someone goes."""
    if verb.frame == "city" or sampler.chance(0.15):
        english, german = sampler.pick(sampler.names["city"] + sampler.names["land"])
        return Adverbial("place", *named("to", english, "nach", german))
    if sampler.chance(0.5):
        phrase = noun_phrase(noun := sampler.noun(["in"]), NounParts("the", sampler.adjectives(noun, 0.15)))
        return Adverbial("place", *preposition("into", "in", "acc", phrase), noun.english)
    phrase = noun_phrase(noun := sampler.noun(["building", "at"]), NounParts("the", sampler.adjectives(noun, 0.15)))
    return Adverbial("place", *preposition("to", "zu", "dat", phrase), noun.english)


def draw_near(sampler: Sampler, case: str, only: str = "") -> Adverbial:
    """Return a place beside a piece of furniture: dative for where, accusative for where to."""
    english, german = next(entry for entry in NEAR if entry[0] == only) if only else sampler.pick(NEAR)
    noun = sampler.noun(["table"] if case == "acc" else ["table", "furniture"])
    phrase = noun_phrase(noun, NounParts(sampler.weighted([("the", 5), ("a", 1)]), sampler.adjectives(noun, 0.2)))
    return Adverbial("place", *preposition(english, german, case, phrase), noun.english)


def draw_circumstances(sampler: Sampler, verb: Verb, tense: str, negated: bool, placed: bool) -> list[Adverbial]:
    """Return optional adverbials of time, manner and place."""
    found: list[Adverbial] = []
    often = tense == "perfect" and negated
    if sampler.chance(0.35) and not often:
        time = draw_time(sampler, tense, negated)
        front = time.position == "time" and (negated or sampler.chance(0.35))
        found.append(replace(time, position="front") if front else time)
    if verb.english in MANNER_VERBS and not negated and sampler.chance(0.25):
        english = sampler.pick(MANNER_VERBS[verb.english])
        found.append(Adverbial("manner", *pair(english, MANNER[english])))
    anywhere = verb.frame == "" and verb.english not in STATIVE | {"visit"}
    if anywhere and not placed and not negated and sampler.chance(0.2):
        found.append(draw_place(sampler))
    return found
