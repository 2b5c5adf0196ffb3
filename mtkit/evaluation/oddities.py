"""Translations that are wrong by their looks: empty, untranslated or repeated output."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal

from mtkit.corpus.word_characters import word_character

Flag = Literal["empty", "untranslated", "repeated"]

# Source words in a row that a translation may copy where no reference does.
_COPIED_WORDS = 4
_LONGEST_NGRAM = 12
_LONGEST_STRING = 20
# A string within a line that stands there five times in a row.
_LOOP = re.compile(rf"(.{{1,{_LONGEST_STRING}}}?)\1{{4,}}")


def find_oddities(hypothesis: str, references: Sequence[str], source: str | None = None) -> list[Flag]:
    """Return what is odd in a translation. Upper and lower case, and white space, make no difference.

    - `empty`: there is no text in it, but in each reference and in the source, if known.
    - `untranslated`: it is the source, or it copies four words of the source in a row or more, and no reference does
      either. Never where the source is not known.
    - `repeated`: a word three times in a row, a sequence of 2 to 12 words twice in a row, or a string of up to 20
      characters five times in a row (for loops within words and scripts without spaces), and in no reference is one of
      that length repeated so often. Sequences of punctuation and strings without a letter do not count.

    Args:
        hypothesis: The translation.
        references: Its references.
        source: Its source, if known.
    """
    flags: list[Flag] = []
    if not hypothesis.strip():
        expected = [*references, *([] if source is None else [source])]
        return ["empty"] if all(map(str.strip, expected)) else []
    words = _split(hypothesis)
    reference_words = [_split(reference) for reference in references]
    if source is not None and _is_untranslated(words, reference_words, _split(source)):
        flags.append("untranslated")
    if _is_repeated(words, reference_words) or _has_loop(hypothesis, references):
        flags.append("repeated")
    return flags


def _split(text: str) -> list[str]:
    return _build_token().findall(text.casefold())


@cache
def _build_token() -> re.Pattern[str]:
    return re.compile(rf"{word_character()}+|\S")


def _is_word(token: str) -> bool:
    return token[0].isalnum()


def _is_untranslated(words: list[str], references: list[list[str]], source: list[str]) -> bool:
    if words == source:
        return any(token.isalpha() for token in words) and words not in references
    copied = _ngrams(words) & _ngrams(source)
    return bool(copied.difference(*map(_ngrams, references)))


def _ngrams(tokens: Iterable[str]) -> set[tuple[str, ...]]:
    """Return the sequences of as many words as may be copied, punctuation left out, with a letter in each word."""
    words = [token for token in tokens if _is_word(token)]
    starts = range(len(words) - _COPIED_WORDS + 1)
    ngrams = (tuple(words[start : start + _COPIED_WORDS]) for start in starts)
    return {ngram for ngram in ngrams if not any(map(str.isdecimal, ngram))}


def _is_repeated(words: list[str], references: list[list[str]]) -> bool:
    for length in range(1, min(_LONGEST_NGRAM, len(words) // 2) + 1):
        times = _count_in_a_row(words, length)
        if times >= (3 if length == 1 else 2) and times > max(_count_in_a_row(ref, length) for ref in references):
            return True
    return False


def _count_in_a_row(words: list[str], length: int) -> int:
    """Return how often, at most, a sequence of that many tokens, a word among them, stands in a row."""
    most, run = 1, 0
    for place in range(length, len(words)):
        run = run + 1 if words[place] == words[place - length] else 0
        if run // length >= most and any(map(_is_word, words[place - length + 1 : place + 1])):
            most = run // length + 1
    return most


def _has_loop(hypothesis: str, references: Sequence[str]) -> bool:
    return _count_loops(hypothesis) > max(map(_count_loops, references))


def _count_loops(text: str) -> int:
    """Return how often, at most, a string with a letter stands in a row; 0 for less than five times."""
    loops = (match for match in _LOOP.finditer(text.casefold()) if any(map(str.isalpha, match[1])))
    return max((len(match[0]) // len(match[1]) for match in loops), default=0)
