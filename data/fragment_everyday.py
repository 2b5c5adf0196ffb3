"""Clauses of everyday life: who does what to whom."""

from __future__ import annotations

from collections.abc import Sequence

from fragment_adverbials import STATIVE, draw_circumstances, draw_goal, draw_near, draw_place
from fragment_clauses import Argument, Clause
from fragment_lexicon import Noun, Slot, Verb
from fragment_phrases import Adverbial, NounParts, NounPhrase, both, name_phrase, noun_phrase, possessed, pronoun_phrase
from fragment_sampler import Sampler

PARTICLES = ("up", "on", "off", "away", "along")
OWN = {"I": "my", "you": "your", "he": "his", "she": "her", "we": "our", "they": "their"}


def draw_subject(sampler: Sampler, classes: Sequence[str], negated: bool, pronouns: bool = True) -> NounPhrase:
    """Return a subject of one of the classes."""
    if "person" in classes:
        roll = sampler.random()
        if roll < 0.2:
            return sampler.name()
        if roll < 0.38 and pronouns:
            return pronoun_phrase(
                sampler.weighted([("I", 2), ("he", 2), ("she", 2), ("we", 2), ("they", 2), ("you", 1)])
            )
        if roll < 0.42:
            return both(sampler.name(), draw_phrase(sampler, sampler.noun(["person"]), False, owner=""))
    noun, owner = sampler.noun(classes), "my" if sampler.chance(0.5) else "our"
    return draw_phrase(sampler, noun, negated, owner, subject=True)


def draw_phrase(
    sampler: Sampler, noun: Noun, negated: bool, owner: str = "", subject: bool = False, negation: object = None
) -> NounPhrase:
    """Return a noun phrase with a determiner, number and adjectives that suit the noun."""
    mass = not noun.german_plural
    kin = "kin" in noun.classes
    choices = [("the", 6.0), ("this", 0.6)]
    choices += [] if mass else [("plural", 1.2)]
    if not (subject and negated):
        choices += [("any" if negated else "", 1.0)] if mass and not subject else []
        choices += [] if mass else [("a", 1.0 if subject else 3.0)]
        if not mass and not subject and "person" not in noun.classes:
            choices += [("bare", 0.8)]
        choices += [] if mass or negated else [("count", 0.7)]
    if owner and (kin or {"thing", "clothes", "pet", "vehicle"} & noun.classes):
        choices += [("owner", 4.0 if kin else 1.5)]
    if owner and not kin and {"thing", "clothes", "pet", "vehicle"} & noun.classes:
        choices += [("possessed", 0.6)]
    kind = sampler.weighted(choices)
    adjectives = sampler.adjectives(noun, 0.3)
    match kind:
        case "plural":
            parts = NounParts(sampler.pick(("the", "the", "these")), adjectives, plural=True)
        case "bare":
            parts = NounParts("any" if negated else "", adjectives, plural=True)
        case "count":
            parts = NounParts("", adjectives[:1], count=sampler.count())
        case "owner":
            parts = NounParts(owner, adjectives, plural=not mass and sampler.chance(0.15))
        case "possessed":
            return possessed(draw_owner(sampler), noun, adjectives[:1])
        case _:
            parts = NounParts(kind, adjectives)
    return noun_phrase(noun, parts, negation)


def draw_owner(sampler: Sampler) -> NounPhrase:
    """Return someone who has something; no name whose genitive would be an apostrophe (Thomas')."""
    if sampler.chance(0.5):
        noun = sampler.noun(["kin", "person"])
        return noun_phrase(noun, NounParts(sampler.pick(("the", "the", "my", "our")), sampler.adjectives(noun, 0.1)))
    name = sampler.name()
    return name if name.name[-1] not in "sx" else draw_owner(sampler)


def draw_tense(sampler: Sampler, verb: Verb) -> str:
    """Return a tense that suits the verb."""
    if verb.english in STATIVE:
        return sampler.pick(("present", "past"))
    modal = sampler.pick(("can", "could", "must", "may", "should", "wants-present", "wants-past", "has-past"))
    if not set(verb.subjects) & {"person"}:
        modal = sampler.pick(("can", "could", "must"))
    if not set(verb.subjects) & {"person", "animal", "hunter", "pet", "flier"}:
        modal = "future"
    return sampler.weighted([("past", 35), ("present", 25), ("perfect", 15), ("future", 9), (modal, 16)])


def draw_argument(sampler: Sampler, verb: Verb, slot: Slot, owner: str, negated: bool, negation: object) -> Argument:
    """Return what fills a slot of the verb."""
    human = slot.classes == ("person",) or (slot.classes[0] == "person" and sampler.chance(0.6))
    particle = verb.english.endswith(PARTICLES)
    if human and sampler.chance(0.25):
        return Argument(slot, sampler.name())
    if human and not particle and sampler.chance(0.2):
        choices = [name for name in ("he", "she", "they", "I", "we") if OWN[name] != owner]
        return Argument(slot, pronoun_phrase(sampler.pick(choices)))
    if "visited" in slot.classes and sampler.chance(0.4):
        english, german = sampler.pick(sampler.names["city"] + sampler.names["land"])
        return Argument(slot, name_phrase(english, "n", german))
    noun = sampler.noun(["person"] if human else slot.classes)
    return Argument(slot, draw_phrase(sampler, noun, negated, owner, negation=negation))


def draw_clause(
    sampler: Sampler,
    verb: Verb | None = None,
    subject: NounPhrase | None = None,
    tense: str = "",
    negated: bool | None = None,
    adverbials: bool = True,
) -> Clause:
    """Return a clause about everyday life; what is not given is drawn."""
    verb = verb or sampler.pick(sampler.everyday)
    negated = sampler.chance(0.2) if negated is None else negated
    negation = object() if negated else None
    subject = subject or draw_subject(sampler, verb.subjects, negated)
    tense = tense or draw_tense(sampler, verb)
    if tense == "past" and subject.person == 2:
        tense = "present"
    owner = OWN.get(" ".join(word.text for word in subject.english), "")
    owner = owner or ("their" if subject.plural else {"he": "his", "she": "her"}.get(subject.english_it, ""))
    if subject.noun and "animal" in subject.noun.classes:
        owner = ""
    last = verb.slots[-1] if verb.slots else None
    arguments = [
        draw_argument(sampler, verb, slot, owner, negated, negation if slot is last else None) for slot in verb.slots
    ]
    if any(argument.phrase.name == subject.name != "" for argument in arguments):
        return draw_clause(sampler, verb, subject, tense, negated, adverbials)
    extra: list[Adverbial] = []
    if verb.frame == "loc":
        extra.append(draw_near(sampler, "dat") if sampler.chance(0.5) else draw_place(sampler))
    elif verb.frame == "put":
        extra.append(draw_near(sampler, "acc", "on"))
    elif verb.frame == "place":
        extra.append(draw_place(sampler))
    elif verb.frame in {"dir", "city"}:
        extra.append(draw_goal(sampler, verb))
    if adverbials:
        extra += draw_circumstances(sampler, verb, tense, negated, bool(extra))
    return Clause(subject, verb, tense, arguments, extra, negation=negation)
