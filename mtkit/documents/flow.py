"""Lines of a given width."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mtkit.decoding.splitting import UNSPACED

_NO_LINE_END = "Ps Pi"


@dataclass(frozen=True)
class Piece:
    """A piece of what is filled into lines.

    Attributes:
        text: As it is written.
        is_fixed: True for what is never broken (a tag, a code span).
        width: Characters that it takes up; None for those of `text`.
    """

    text: str
    is_fixed: bool = False
    width: int | None = None


@dataclass(frozen=True)
class Word:
    """What stands on one line.

    Attributes:
        text: As it is written.
        width: Characters that it takes up.
        has_space: Whether a space stands before it, where it does not start a line.
    """

    text: str
    width: int
    has_space: bool


def find_words(pieces: Iterable[Piece], cut_unspaced: bool = False) -> list[Word]:
    """Return the words of a text: what stands between spaces, with the fixed pieces that touch it.

    Args:
        pieces: The text; the spaces at its edges are dropped.
        cut_unspaced: Break between the characters of scripts without spaces too.
    """
    words: list[Word] = []
    text, width, has_space = "", 0, False
    for piece in pieces:
        for index, chunk in enumerate([piece.text] if piece.is_fixed else piece.text.split(" ")):
            if index:
                if text:
                    words.append(Word(text, width, has_space))
                text, width, has_space = "", 0, True
            for part in [chunk] if piece.is_fixed or not cut_unspaced else _cut_unspaced(chunk):
                if cut_unspaced and text and not piece.is_fixed and _may_break(text[-1], part[:1]):
                    words.append(Word(text, width, has_space))
                    text, width, has_space = "", 0, False
                text += part
                width += len(part) if piece.width is None else piece.width
    if text:
        words.append(Word(text, width, has_space))
    return words


def _cut_unspaced(text: str) -> list[str]:
    parts: list[str] = []
    for character in text:
        if parts and not _may_break(parts[-1][-1], character):
            parts[-1] += character
        else:
            parts.append(character)
    return parts


def _may_break(left: str, right: str) -> bool:
    """Return whether a line may end between two characters of a script without spaces; marks stay with their word."""
    if not right or not (UNSPACED.match(left) or UNSPACED.match(right)):
        return False
    return unicodedata.category(right)[0] in "LN" and unicodedata.category(left) not in _NO_LINE_END


def fill_lines(
    words: Sequence[Word],
    width: int,
    first_column: int = 0,
    margin: int = 0,
    may_start: Callable[[str], bool] | None = None,
) -> list[list[Word]]:
    """Fill words into lines, as many in each as fit; a word that is wider than a line has one of its own.

    Args:
        words: In order.
        width: Longest line in characters.
        first_column: Characters that stand on the first line already.
        margin: Those that stand on each further line.
        may_start: Whether a word may start a line.
    """
    lines: list[list[Word]] = [[]]
    column = first_column
    for word in words:
        needed = column + word.has_space + word.width
        if lines[-1] and needed > width and (may_start is None or may_start(word.text)):
            lines.append([])
            needed = margin + word.width
        lines[-1].append(word)
        # A fixed piece may hold a line break of its own.
        column = needed if "\n" not in word.text else len(word.text) - word.text.rindex("\n") - 1
    return lines


def balance_lines(words: Sequence[Word], width: int) -> list[list[Word]]:
    """Fill words into the fewest lines of at most `width` characters, the longest of them as short as it can be."""
    fewest = len(fill_lines(words, width))
    low, high = 1, width
    while low < high:
        middle = (low + high) // 2
        if len(fill_lines(words, middle)) <= fewest:
            high = middle
        else:
            low = middle + 1
    return fill_lines(words, low)


def join_words(words: Sequence[Word]) -> str:
    """Return a line of words."""
    return "".join(f" {word.text}" if index and word.has_space else word.text for index, word in enumerate(words))
