"""Random choices from the lexicon that respect meaning."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from fragment_lexicon import Adjective, Lexicon, Noun, read_rows
from fragment_phrases import NounPhrase, name_phrase

T = TypeVar("T")
COLORS = {"braun", "schwarz", "weiß", "rot", "blau", "grün", "grau"}


def read_names() -> dict[str, list[tuple[str, str]]]:
    """Read the proper names: kind -> (English, German) pairs."""
    names = {}
    for row in read_rows("names.tsv"):
        kind, _, entries = row.partition(":")
        parts = [entry.partition("/") for entry in entries.split()]
        names[kind] = [(english, german or english) for english, _, german in parts]
    return names


class Sampler:
    """Draws phrases and clauses from the lexicon, using nothing of `random` but `random()`, which never changes."""

    def __init__(self, lexicon: Lexicon, seed: int) -> None:
        self.lexicon = lexicon
        self.names = read_names()
        self._random = random.Random(seed)
        self.everyday = [verb for verb in lexicon.verbs if set(verb.subjects) & {"person", "animal", "hunter", "pet"}]
        self.common = [verb for verb in self.everyday if verb.frame == ""]

    def random(self) -> float:
        """Return a number from 0 to 1."""
        return self._random.random()

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return self.random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[int(self.random() * len(choices))]

    def weighted(self, choices: Sequence[tuple[T, float]]) -> T:
        """Return one of the (choice, weight) pairs."""
        at = self.random() * sum(weight for _, weight in choices)
        for choice, weight in choices:
            at -= weight
            if at < 0:
                return choice
        return choices[-1][0]

    def noun(self, classes: Sequence[str]) -> Noun:
        """Return a noun of one of the classes, each class as likely as it is large."""
        pools = [self.lexicon.nouns_of[name] for name in classes]
        at = int(self.random() * sum(map(len, pools)))
        for pool in pools:
            if at < len(pool):
                return pool[at]
            at -= len(pool)
        raise AssertionError(classes)

    def adjectives(self, noun: Noun, probability: float, avoid: Sequence[str] = ()) -> list[Adjective]:
        """Return no, one or two adjectives that suit the noun."""
        if not self.chance(probability):
            return []
        name = self.pick(sorted(noun.classes))
        fitting = [entry for entry in self.lexicon.adjectives_of.get(name, []) if entry.english not in avoid]
        fitting = [entry for entry in fitting if self.lexicon.fits(noun, entry.english)]
        if not fitting:
            return []
        first = self.pick(fitting)
        colors = [entry for entry in fitting if not entry.gradable and entry.german in COLORS]
        if colors and first not in colors and self.chance(0.3):
            return [first, self.pick(colors)]
        return [first]

    def name(self) -> NounPhrase:
        """Return the name of a person."""
        gender = self.pick(("he", "she"))
        english, german = self.pick(self.names[gender])
        entry = Noun(english, "", german, "m", "", "", frozenset({gender}))
        return replace(name_phrase(english, "m" if gender == "he" else "f", german), noun=entry)

    def count(self) -> int:
        """Return a number, mostly a small one."""
        roll = self.random()
        if roll < 0.75:
            return 2 + int(self.random() * 11)
        if roll < 0.93:
            return 13 + int(self.random() * 87)
        return 100 * (1 + int(self.random() * 9))
