"""How often each kind of everyday sentence is drawn."""

from __future__ import annotations

from collections.abc import Callable

from fragment_pronouns import draw_taste
from fragment_sampler import Sampler
from fragment_scenes import comparison, copula, counted, jumping, object_pronoun, pets, sitting, visiting
from fragment_sentences import (
    after_clause,
    object_question,
    question,
    relative_clause,
    reported,
    statement,
    subject_question,
    together,
    with_clause,
)
from fragment_words import Sentence

KINDS: tuple[tuple[Callable[[Sampler], Sentence], float], ...] = (
    (statement, 20),
    (question, 5),
    (subject_question, 1.5),
    (object_question, 3),
    (with_clause, 9),
    (after_clause, 2.5),
    (reported, 4),
    (relative_clause, 6),
    (copula, 4),
    (comparison, 2.5),
    (counted, 3.5),
    (pets, 2),
    (sitting, 2.5),
    (jumping, 2),
    (visiting, 2.5),
    (object_pronoun, 3),
    (together, 3),
    (draw_taste, 2.5),
)
"""Every kind of sentence but the pronoun sentences, with its weight."""


def draw_sentence(sampler: Sampler) -> Sentence:
    """Draw one everyday sentence."""
    return sampler.weighted(KINDS)(sampler)
