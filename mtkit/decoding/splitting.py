"""Lines that are too long for a model: cut into parts that fit, and their translations put together again.

A line is cut in two at the best place, and each half again, until all fit. The best place is a sentence mark, where
there is none a clause mark, else white space, else between two characters; of several, the one nearest to the middle.
Nothing is dropped but white space at a cut.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

# A mark may be followed by closing quotes and brackets. Western marks count before white space only, so that decimals,
# times and addresses stay whole; marks of scripts that are written without spaces count anywhere.
_CLOSING = r"[\"'”’»›)\]}」』）】》〉]*"
# (The look-behind keeps a run of marks from being tried from each of its places.)
_SENTENCE_END = re.compile(rf"(?<![.!?…։؟۔।॥።])[.!?…։؟۔।॥።]+{_CLOSING}(?=\s)|[。！？．｡།]+{_CLOSING}")
_CLAUSE_END = re.compile(rf"(?<![;:,،؛–])[;:,،؛–]+{_CLOSING}(?=\s)|[、，；：､—]+{_CLOSING}")
_WORD_END = re.compile(r"(?<=\S)(?=\s)")

# Thai, Lao, Tibetan, Myanmar, Khmer; CJK marks, kana, bopomofo, ideographs, full- and half-width forms. Korean has
# spaces.
UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff01-\uff9f"
    "\U0001b000-\U0001b16f\U00020000-\U0003ffff]"
)
# No word is so long; with punctuation, it is a sentence.
_UNSPACED_RUN = re.compile(rf"(?:(?!\s){UNSPACED.pattern}){{12}}")
_ZERO_WIDTH_JOINER = "\u200d"


@dataclass(frozen=True)
class Part:
    """A part of a line.

    Attributes:
        text: Without white space around it.
        had_space: True if white space stood before it in the line; False for the first part.
    """

    text: str
    had_space: bool = False


def is_unspaced(text: str) -> bool:
    """Return whether a text is written without spaces: what stands between white space is more than a word."""
    return _UNSPACED_RUN.search(text) is not None


def split_line(text: str, count_tokens: Callable[[str], int], max_tokens: int) -> list[Part]:
    """Cut a line into parts of at most `max_tokens` tokens.

    The parts, joined with a space where `had_space`, give the line again, up to its runs of white space. A part is
    longer than `max_tokens` only if it is a single character.

    Args:
        text: One line; without anything but white space it has no parts.
        count_tokens: Number of tokens of a text.
        max_tokens: Most tokens of a part.
    """
    return list(_iter_parts(text, count_tokens, max_tokens, had_space=False))


def _iter_parts(text: str, count_tokens: Callable[[str], int], max_tokens: int, had_space: bool) -> Iterator[Part]:
    stripped = text.strip()
    if not stripped:
        return
    if len(stripped) == 1 or count_tokens(stripped) <= max_tokens:
        yield Part(stripped, had_space)
        return
    place = _find_cut(stripped)
    yield from _iter_parts(stripped[:place], count_tokens, max_tokens, had_space)
    is_space = stripped[place].isspace() or stripped[place - 1].isspace()
    yield from _iter_parts(stripped[place:], count_tokens, max_tokens, is_space)


def _find_cut(text: str) -> int:
    """Return the place in a stripped text of two or more characters where it is best cut."""
    has_capitals = text != text.lower()
    for mark in (_SENTENCE_END, _CLAUSE_END, _WORD_END):
        places = [match.end() for match in mark.finditer(text) if match.end() < len(text)]
        if mark is _SENTENCE_END and has_capitals:
            places = [place for place in places if not _goes_on(text, place)]
        if places:
            return min(places, key=lambda place: abs(2 * place - len(text)))
    return _find_character_boundary(text)


def _goes_on(text: str, place: int) -> bool:
    """Return whether what follows goes on in lower case, so that the full stop before it was an abbreviation's."""
    return text[place : place + 20].lstrip()[:1].islower()


def _find_character_boundary(text: str) -> int:
    """Return the place nearest to the middle that parts no character from what is combined with it, if there is one."""
    middle = len(text) // 2
    for distance in range(middle + 1):
        for place in (middle - distance, middle + distance):
            if 0 < place < len(text) and not _is_inside_character(text[place - 1], text[place]):
                return place
    return middle


def _is_inside_character(left: str, right: str) -> bool:
    """Return whether two neighboring code points belong to one visible character (nearly as Unicode's UAX 29)."""
    if unicodedata.category(right) in {"Mn", "Me", "Mc"} or _ZERO_WIDTH_JOINER in (left, right):
        return True
    is_skin_tone = "\U0001f3fb" <= right <= "\U0001f3ff"
    is_flag = all("\U0001f1e6" <= letter <= "\U0001f1ff" for letter in (left, right))
    is_jamo = "\u1100" <= left <= "\u11ff" and "\u1160" <= right <= "\u11ff"
    return is_skin_tone or is_flag or is_jamo


def join_translations(translations: Sequence[str], parts: Sequence[Part]) -> str:
    """Put the translations of a line's parts together.

    They are joined with a space, but without one where the cut went through a word of a script that has spaces, or
    where the translation is in a script that has none.
    """
    spaces = find_spaces(translations, parts)
    return "".join(f" {text}" if space else text for text, space in zip(translations, spaces, strict=True))


def find_spaces(translations: Sequence[str], parts: Sequence[Part]) -> list[bool]:
    """Return before which translations of a line's parts a space is put."""
    spaces = []
    last_character = ""
    before: Part | None = None
    for text, part in zip(translations, parts, strict=True):
        if before is not None and last_character and text:
            spaces.append(_needs_space(last_character + text[0], before, part))
        else:
            spaces.append(False)
        last_character = text[-1:] or last_character
        before = part
    return spaces


def _needs_space(target_seam: str, before: Part, after: Part) -> bool:
    if UNSPACED.search(target_seam):
        return False
    return after.had_space or UNSPACED.search(before.text[-1] + after.text[0]) is not None
