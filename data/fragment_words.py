"""Words that remember what they translate: the two sides of a sentence, and the links between them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

SPLIT = re.compile(r"\w+(?:['-]\w+)*|[^\w\s]")
"""How a line is split into words for links: letters and digits with inner apostrophes and hyphens, or one sign."""


class Word(NamedTuple):
    """One word of a sentence. Two words of the two sides are linked when they share a key."""

    text: str
    keys: tuple[object, ...] = ()


Words = list[Word]


class Sentence(NamedTuple):
    """A sentence pair with what the splits need to know about it."""

    english: str
    german: str
    links: str
    triples: frozenset[tuple[str, str, str]] = frozenset()


def split_words(line: str) -> list[str]:
    """Split a line into the words that links count."""
    return SPLIT.findall(line)


def words(text: str, *keys: object) -> Words:
    """Return the words of `text`, each with the same keys."""
    if " " not in text:  # by far the most frequent case
        return [Word(text, keys)] if text else []
    return [Word(part, keys) for part in text.split()]


def pair(english: str, german: str) -> tuple[Words, Words]:
    """Return a fixed phrase in both languages, linked as a whole."""
    key = object()
    return words(english, key), words(german, key)


def finish(sentence: Words, stop: Word) -> Words:
    """Capitalise the first word, add the full stop, and drop commas that meet another sign."""
    result: Words = []
    for word in [*sentence, stop]:
        if result and result[-1].text == "," and word.text in {",", ".", "?"}:
            result.pop()
        result.append(word)
    first = result[0]
    result[0] = Word(first.text[0].upper() + first.text[1:], first.keys)
    return result


def join(sentence: Words) -> str:
    """Write words as a line, with no space before a sign."""
    return "".join(word.text if word.text in {",", ".", "?"} else f" {word.text}" for word in sentence).strip()


def links(english: Words, german: Words) -> str:
    """Return the links of a pair as `i-j`, in the order of i and then j."""
    where: dict[object, list[int]] = {}
    for j, word in enumerate(german):
        for key in word.keys:
            where.setdefault(key, []).append(j)
    found = sorted({(i, j) for i, word in enumerate(english) for key in word.keys for j in where.get(key, ())})
    return " ".join(f"{i}-{j}" for i, j in found)


def build_sentence(
    english: Words, german: Words, stop: str = ".", triples: Iterable[tuple[str, str, str]] = ()
) -> Sentence:
    """Turn the words of both sides into a sentence pair."""
    last = Word(stop, (object(),))
    english, german = finish(english, last), finish(german, last)
    return Sentence(join(english), join(german), links(english, german), frozenset(triples))
