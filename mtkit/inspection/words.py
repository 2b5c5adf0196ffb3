"""Words of a text, and the tokens that spell them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Literal

from mtkit.corpus.word_characters import mark, word_character
from mtkit.decoding.splitting import UNSPACED

WordKind = Literal["spaces", "signs"]


@cache
def _build_pattern(kind: WordKind) -> re.Pattern[str]:
    if kind == "spaces":
        return re.compile(r"\S+")
    # A character of a script without spaces, letters and digits with inner apostrophes and hyphens, or one sign.
    letters = f"(?:(?!{UNSPACED.pattern}){word_character()})+"
    return re.compile(rf"(?!\s){UNSPACED.pattern}{mark()}*|{letters}(?:['-]{letters})*|\S")


def split_words(text: str, kind: WordKind = "spaces") -> list[str]:
    """Return the words of a text.

    Args:
        text: A line.
        kind: `spaces`: what stands between white space. `signs`: punctuation marks are words of their own too; inner
            apostrophes and hyphens are not ("didn't", "twenty-five"). So is each character of a script that is written
            without spaces, with the marks on it.
    """
    return _build_pattern(kind).findall(text)


def find_words_of(text: str, surfaces: Sequence[str], kind: WordKind = "spaces") -> list[range]:
    """Return the word, from 0, that each token of a text belongs to: of several its first.

    Where each character is a word, a token belongs to all that it spells. A token that is part of no word, a mere
    space, belongs to the next one (the last token to the last one).

    Args:
        text: A line.
        surfaces: What each token stands for in it, as `Tokenizer.surfaces` returns it.
        kind: See `split_words`.
    """
    found = list(_build_pattern(kind).finditer(text))
    words = []
    word = end = 0
    for surface in surfaces:
        own = surface.strip()
        place = text.find(own, end)
        start = end if place < 0 else place  # a normalised character has another spelling: it stays where it is
        while word < len(found) - 1 and found[word].end() <= start:
            word += 1
        end = start + len(own)
        behind = word + 1
        if kind == "signs":
            while behind < len(found) and found[behind].start() < end and UNSPACED.match(found[behind][0]):
                behind += 1
        words.append(range(word, behind))
    return words
