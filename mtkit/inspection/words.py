"""Words of a text, and the tokens that spell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

from mtkit.corpus.word_characters import word_character

WordKind = Literal["spaces", "signs"]


@cache
def _build_pattern(kind: WordKind) -> re.Pattern[str]:
    if kind == "spaces":
        return re.compile(r"\S+")
    # Letters and digits with inner apostrophes and hyphens, or one sign.
    letters = f"{word_character()}+"
    return re.compile(rf"{letters}(?:['-]{letters})*|\S")


def split_words(text: str, kind: WordKind = "spaces") -> list[str]:
    """Return the words of a text.

    Args:
        text: A line.
        kind: `spaces`: what stands between white space. `signs`: punctuation marks are words of their own too; inner
            apostrophes and hyphens are not ("didn't", "twenty-five").
    """
    return _build_pattern(kind).findall(text)


def find_words_of(text: str, surfaces: Sequence[str], kind: WordKind = "spaces") -> list[int]:
    """Return the word, from 0, that each token of a text belongs to: of several its first.

    A token that is part of no word, a mere space, belongs to the next one (the last token to the last one).

    Args:
        text: A line.
        surfaces: What each token stands for in it, as `Tokenizer.surfaces` returns it.
        kind: See `split_words`.
    """
    ends = [match.end() for match in _build_pattern(kind).finditer(text)]
    words = []
    word = end = 0
    for surface in surfaces:
        own = surface.strip()
        found = text.find(own, end)
        start = end if found < 0 else found  # a normalised character has another spelling: it stays where it is
        while word < len(ends) - 1 and ends[word] <= start:
            word += 1
        words.append(word)
        end = start + len(own)
    return words
