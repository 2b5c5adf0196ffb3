"""Sentences whose "it" has two nouns to choose from, and an adjective that chooses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from fragment_clauses import (
    Argument,
    Clause,
    english_statement,
    german_question,
    german_statement,
    german_subordinate,
)
from fragment_lexicon import Adjective, Frame, Lexicon, Noun, Verb
from fragment_phrases import NounParts, NounPhrase, it_phrase, noun_phrase
from fragment_sampler import Sampler
from fragment_words import Sentence, Word, Words, build_sentence, words

INTENSIFIERS = (("too", "zu"), ("very", "sehr"), ("so", "so"))
NO_ADJECTIVE_OF = {"big", "small"}
AND_VERBS = {"come", "contain"}
Triple = tuple[str, str, str]


@dataclass(frozen=True)
class Plan:
    """Everything about a pronoun sentence except its deciding adjective, so that a pair shares it."""

    frame: Frame
    verb: Verb
    subject: Noun
    object: Noun
    tense: str = "past"
    connective: str = "because"
    intensifier: tuple[str, str] = ("", "")
    subject_adjectives: tuple[Adjective, ...] = ()
    object_adjectives: tuple[Adjective, ...] = ()
    plural_subject: bool = False
    plural_object: bool = False
    fronted: bool = False

    @property
    def triple(self) -> Triple:
        """The (verb, subject, object) of the first clause."""
        return (self.frame.verb, self.subject.english, self.object.english)


@dataclass(frozen=True)
class Decision:
    """What an adjective decided: the antecedent, where it stands, and the right pronoun."""

    adjective: str
    position: str
    antecedent: Noun
    pronoun: str


@dataclass(frozen=True)
class PronounPair:
    """Two sentences, one adjective apart, whose "it" is translated differently."""

    plan: Plan
    decisions: tuple[Decision, Decision]
    sentences: tuple[Sentence, Sentence]


def frame_verb(lexicon: Lexicon, frame: Frame) -> Verb:
    """Return the verb of a frame."""
    return lexicon.verb(frame.verb, frame.subject, frame.object)


def iter_triples(lexicon: Lexicon, frame: Frame) -> Iterator[tuple[Noun, Noun]]:
    """Yield all pairs of nouns that a frame allows."""
    for subject in lexicon.nouns_of[frame.subject]:
        for object_ in lexicon.nouns_of[frame.object]:
            yield subject, object_


def draw_plan(sampler: Sampler, frame: Frame, subject: Noun, object_: Noun, graded: bool, both: bool = False) -> Plan:
    """Draw the circumstances of a pronoun sentence.

    Args:
        sampler: The source of choices.
        frame: The verb with its classes.
        subject: The subject's noun.
        object_: The object's noun.
        graded: Whether the deciding adjective can stand after "too", "very" and "so".
        both: Whether the plan is for a minimal pair: no plurals, the main clause first.
    """
    avoid = {*frame.subject_adjectives, *frame.object_adjectives, *NO_ADJECTIVE_OF}
    connective = sampler.pick(("and", "but")) if frame.verb in AND_VERBS else "because"
    if frame.negated:
        tense = sampler.weighted([("past", 5), ("present", 2), ("could", 2), ("can", 1)])
    else:
        tense = sampler.weighted([("past", 4), ("present", 2)])
    intensifier = ("", "")
    if graded and sampler.chance(0.85):
        intensifier = sampler.weighted(
            [(INTENSIFIERS[0], 3 if frame.negated else 0), (INTENSIFIERS[1], 1), (INTENSIFIERS[2], 1)]
        )
    if frame.verb in AND_VERBS and intensifier[0] == "so":
        intensifier = INTENSIFIERS[1]
    return Plan(
        frame,
        frame_verb(sampler.lexicon, frame),
        subject,
        object_,
        tense,
        connective,
        intensifier,
        tuple(sampler.adjectives(subject, 0.15, tuple(avoid))[:1]),
        tuple(sampler.adjectives(object_, 0.15, tuple(avoid))[:1]),
        not both and bool(subject.german_plural) and sampler.chance(0.06),
        not both and bool(object_.german_plural) and sampler.chance(0.06),
        not both and connective == "because" and sampler.chance(0.1),
    )


def predicate(adjective: Adjective, intensifier: tuple[str, str]) -> tuple[Words, Words]:
    """Build the deciding predicate: "too tired", "zu müde"."""
    degree, key = object(), object()
    english, german = intensifier
    return words(english, degree) + words(adjective.english, key), words(german, degree) + words(adjective.german, key)


def build_it_sentence(plan: Plan, adjective: Adjective) -> tuple[Sentence, Decision]:
    """Build the sentence of a plan with its deciding adjective."""
    negation = object() if plan.frame.negated else None
    subject = noun_phrase(plan.subject, NounParts("the", plan.subject_adjectives, plan.plural_subject))
    object_ = noun_phrase(plan.object, NounParts("the", plan.object_adjectives, plan.plural_object))
    first = Clause(subject, plan.verb, plan.tense, [Argument(plan.verb.slots[0], object_)], negation=negation)
    ours = adjective.english in plan.frame.subject_adjectives
    antecedent = subject if ours else object_
    tense = "past" if plan.tense in {"past", "could"} else "present"
    second = Clause(it_phrase(antecedent), None, tense, predicate=predicate(adjective, plan.intensifier))
    english, german = join_clauses(first, second, plan.connective, plan.fronted)
    sentence = build_sentence(english, german, ".", [plan.triple])
    pronoun = it_phrase(antecedent).german("nom")[0].text
    noun = plan.subject if ours else plan.object
    return sentence, Decision(adjective.english, "subject" if ours else "object", noun, pronoun)


CONNECTIVES = {"because": "weil", "although": "obwohl", "when": "als", "if": "wenn", "while": "während"}
CONNECTIVES |= {"before": "bevor", "after": "nachdem", "that": "dass", "whether": "ob"}


def join_clauses(first: Clause, second: Clause, connective: str, fronted: bool = False) -> tuple[Words, Words]:
    """Join a main clause with a second one: "and" and "but" join main clauses, the others subordinate the second."""
    key, comma = object(), Word(",", (object(),))
    link = Word(connective, (key,))
    if connective in {"and", "but"}:
        german_link = Word({"and": "und", "but": "aber"}[connective], (key,))
        commas = [comma] if connective == "but" else []
        english = [*english_statement(first), *commas, link, *english_statement(second)]
        return english, [*german_statement(first), *commas, german_link, *german_statement(second)]
    german_link = Word(CONNECTIVES[connective], (key,))
    subordinate = [german_link, *german_subordinate(second)]
    if fronted:
        english = [link, *english_statement(second), comma, *english_statement(first)]
        return english, [*subordinate, comma, *german_question(first)]
    english = [*english_statement(first), link, *english_statement(second)]
    return english, [*german_statement(first), Word(","), *subordinate]


def draw_it_sentence(sampler: Sampler, frame: Frame) -> tuple[Sentence, Decision]:
    """Draw one pronoun sentence for the training set."""
    lexicon = sampler.lexicon
    subject, object_ = sampler.noun([frame.subject]), sampler.noun([frame.object])
    names, noun = (frame.subject_adjectives, subject) if sampler.chance(0.5) else (frame.object_adjectives, object_)
    adjective = lexicon.adjectives[sampler.pick([name for name in names if lexicon.fits(noun, name)])]
    return build_it_sentence(draw_plan(sampler, frame, subject, object_, adjective.gradable), adjective)


def draw_pair(sampler: Sampler, frame: Frame, subject: Noun, object_: Noun) -> PronounPair:
    """Draw a minimal pair: two adjectives, one for each noun, in the same sentence."""
    adjectives = sampler.lexicon.adjectives
    graded = sampler.chance(0.4)
    sides = []
    for names, noun in ((frame.subject_adjectives, subject), (frame.object_adjectives, object_)):
        suited = [adjectives[name] for name in names if sampler.lexicon.fits(noun, name)]
        fitting = [adjective for adjective in suited if adjective.gradable or not graded]
        sides.append(sampler.pick(fitting or suited))
    graded = all(side.gradable for side in sides)
    plan = draw_plan(sampler, frame, subject, object_, graded, both=True)
    built = [build_it_sentence(plan, side) for side in sides]
    if sampler.chance(0.5):
        built.reverse()
    (one, first), (two, second) = built
    return PronounPair(plan, (first, second), (one, two))


def draw_taste(sampler: Sampler) -> Sentence:
    """Draw "The pizza came out of the oven and it tasted good."."""
    frame = sampler.pick([entry for entry in sampler.lexicon.frames if entry.verb in AND_VERBS])
    subject, object_ = sampler.noun([frame.subject]), sampler.noun([frame.object])
    plan = replace(draw_plan(sampler, frame, subject, object_, False), connective="and", fronted=False)
    food = frame.subject == "food"
    subject_phrase = noun_phrase(subject, NounParts("the", plan.subject_adjectives, plan.plural_subject))
    object_phrase = noun_phrase(object_, NounParts("the", plan.object_adjectives, plan.plural_object))
    first = Clause(subject_phrase, plan.verb, plan.tense, [Argument(plan.verb.slots[0], object_phrase)])
    return finish_taste(sampler, first, subject_phrase if food else object_phrase, plan)


def finish_taste(sampler: Sampler, first: Clause, eaten: NounPhrase, plan: Plan) -> Sentence:
    """Add the tasting clause to a sentence about food."""
    taste = next(verb for verb in sampler.lexicon.verbs if verb.frame == "taste")
    english, german = sampler.pick((("good", "gut"), ("bad", "schlecht"), ("sweet", "süß"), ("delicious", "lecker")))
    degree = sampler.pick((("", ""), ("very", "sehr"))) if english != "delicious" else ("", "")
    connective = "but" if english == "bad" else "and"
    described = predicate(Adjective(english, german, True, frozenset()), degree)
    second = Clause(it_phrase(eaten), taste, plan.tense, predicate=described)
    return build_sentence(*join_clauses(first, second, connective), ".", [plan.triple])
