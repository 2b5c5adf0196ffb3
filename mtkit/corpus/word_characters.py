"""What words are made of, beyond what Python's regular expressions take for it."""

from __future__ import annotations

import unicodedata
from functools import cache

# Marks lie below, but for the variation selectors.
_END = 0x20000


@cache
def word_character() -> str:
    r"""Return a regular expression of one character of a word: what `\w` matches, or a mark (vowel sign, accent).

    Without marks Hindi and Thai words, and decomposed letters, would fall apart. It takes some milliseconds, once.
    """
    return rf"[\w{_marks()}]"


@cache
def mark() -> str:
    """Return a regular expression of one mark (vowel sign, accent)."""
    return f"[{_marks()}]"


@cache
def _marks() -> str:
    return "".join(map(chr, filter(_is_mark, range(_END)))) + "\U000e0100-\U000e01ef"


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code)).startswith("M")
