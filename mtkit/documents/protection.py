"""Segments as a model reads them, and its translations with the protected stretches back in their places."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mtkit.decoding.translation import Links
from mtkit.documents.document import Protected, Segment, TranslatedSegment
from mtkit.documents.placeholders import find_order, find_placeholders, protect_placeholders
from mtkit.documents.placement import Hidden, Insertion, place_hidden

# Stands for a space that is not in the document, between words that only a tag parted: private use.
_GAP = "\ue000"
_BLANKS = string.whitespace + "\xa0" + _GAP


@dataclass(frozen=True)
class Masked:
    """A segment as the model reads it.

    What has something to show (`%s`) stands in the text; the model copies it. What has not (`<b>`, a line break) is
    taken out, and put back by the links of words.

    Attributes:
        text: For the model, on one line, no white space around it; empty if there is nothing to translate.
        shown: What the text shows of protected stretches, in order.
        hidden: What was taken out, with the places.
        margins: What stands before and behind the text, whatever its translation is.
        parts: Of the segment, with the placeholders protected that stand in its plain parts.
    """

    text: str
    shown: tuple[Protected, ...]
    hidden: tuple[Hidden, ...]
    margins: tuple[TranslatedSegment, TranslatedSegment]
    parts: tuple[str | Protected, ...]

    @property
    def has_words(self) -> bool:
        """Whether there is anything in it that a model can translate: a letter outside what is protected."""
        return any(isinstance(part, str) and any(map(str.isalpha, part)) for part in self.parts)

    @property
    def is_protected(self) -> bool:
        """Whether anything in it is protected but white space."""
        return any(isinstance(part, Protected) and part.text.strip() for part in self.parts)

    @property
    def required(self) -> tuple[str, ...]:
        """What a translation must contain, as phrases for a request."""
        return tuple(part.shown for part in self.shown)


def mask_segment(segment: Segment) -> Masked:
    """Return a segment as the model reads it."""
    parts = protect_placeholders(segment.parts)
    first, last = _peel(parts)
    text = ""
    shown: list[Protected] = []
    hidden: list[Hidden] = []
    is_closed = follows_hidden = False  # whether a tag was closed right here, and whether anything was taken out
    for index, part in enumerate(parts[first:last], first):
        if isinstance(part, str):
            text += part.lstrip() if follows_hidden and text[-1:].isspace() else part
        elif part.shown:
            text += part.shown
            shown.append(part)
        else:
            after = _begins_with_space(parts[index + 1 : last])
            hidden.append(Hidden(part, len(text), text[-1:].isspace(), after))
            is_break = part.kind == "standalone" or (is_closed and part.kind == "open")
            if is_break and text and not text[-1].isspace() and not after:
                text += _GAP  # what it parted stays two words
        is_hidden = isinstance(part, Protected) and not part.shown
        is_closed = is_hidden and (is_closed or (isinstance(part, Protected) and part.kind == "close"))
        follows_hidden = is_hidden
    core = text.strip(_BLANKS)
    start = len(text) - len(text.lstrip(_BLANKS))
    moved = tuple(replace(item, offset=min(max(item.offset - start, 0), len(core))) for item in hidden)
    margins = (text[:start], text[start + len(core) :])
    lead = (*parts[:first], margins[0].replace(_GAP, ""))
    trail = (margins[1].replace(_GAP, ""), *parts[last:])
    return Masked(core.replace(_GAP, " "), tuple(shown), moved, (lead, trail), parts)


def _peel(parts: Sequence[str | Protected]) -> tuple[int, int]:
    """Return the span of the parts without those around it that keep their place whatever the translation is.

    These are white space, what is hidden and stands alone, and pairs that enclose all the rest.
    """
    first, last = 0, len(parts)
    while first < last:
        head, tail = parts[first], parts[last - 1]
        if _stands_alone(head):
            first += 1
        elif _stands_alone(tail):
            last -= 1
        elif (
            isinstance(head, Protected)
            and isinstance(tail, Protected)
            and (head.kind, tail.kind) == ("open", "close")
            and head.pair == tail.pair
            and not head.shown
            and not tail.shown
        ):
            first, last = first + 1, last - 1
        else:
            break
    return first, last


def _stands_alone(part: str | Protected) -> bool:
    if isinstance(part, str):
        return not part.strip()
    return part.kind == "standalone" and not part.shown


def unmask(masked: Masked, translation: str, links: Links | None) -> TranslatedSegment | None:
    """Return a translation with every protected stretch in it once; None if one was lost, doubled, made up or moved.

    Moved: of placeholders that are told apart by their order alone (`%s`, `%d`), the order must be the source's.

    Args:
        masked: The source.
        translation: Of `masked.text`.
        links: Of the words of both, parted by white space; None if they are not known.
    """
    if not translation.strip():
        return None
    found = _match_shown(masked, translation)
    if found is None:
        return None
    if _count_placeholders(translation) != _count_placeholders(masked.text):  # made up, or grown into something else
        return None
    shown: list[Insertion] = [(first, last, (part,)) for first, last, part in found]
    taken = [(first, last) for first, last, _ in found]
    hidden = place_hidden(masked.text, translation, masked.hidden, links, taken)
    parts: list[str | Protected] = [*masked.margins[0]]
    end = 0
    for first, last, inserted in sorted([*hidden, *shown], key=lambda item: item[:2]):
        parts += [translation[end:first], *inserted]
        end = max(end, last)
    parts += [translation[end:], *masked.margins[1]]
    return _join(parts)


def _match_shown(masked: Masked, translation: str) -> list[tuple[int, int, Protected]] | None:
    """Return where the shown stretches stand in a translation; None unless each does, exactly once."""
    if not masked.shown:
        return []
    pattern = _compile([part.shown for part in masked.shown])
    there = list(pattern.finditer(translation))
    if Counter(match[0] for match in there) != Counter(match[0] for match in pattern.finditer(masked.text)):
        return None
    waiting: dict[str, list[Protected]] = {}
    for part in masked.shown:
        waiting.setdefault(part.shown, []).append(part)
    found = [(m.start(), m.end(), waiting[m[0]].pop(0)) for m in there if waiting[m[0]]]
    if any(waiting.values()):  # one stood inside another, which the pattern took
        return None
    order = [find_order([part.text for part in parts]) for parts in (masked.shown, [part for *_, part in found])]
    return found if order[0] == order[1] else None


def _compile(texts: Sequence[str]) -> re.Pattern[str]:
    """Return a pattern for any of these, longer ones first; one that begins or ends like a word is a whole word."""
    patterns = []
    for text in sorted(set(texts), key=len, reverse=True):
        left = r"(?<!\w)" if text[0].isalnum() else ""
        right = r"(?!\w)" if text[-1].isalnum() and text[0].isalnum() else ""
        patterns.append(f"{left}{re.escape(text)}{right}")
    return re.compile("|".join(patterns))


def _count_placeholders(text: str) -> Counter[str]:
    return Counter(part.text for part in find_placeholders(text) if isinstance(part, Protected))


def _begins_with_space(parts: Sequence[str | Protected]) -> bool:
    """Return whether white space comes next, hidden stretches left out."""
    for part in parts:
        if isinstance(part, str):
            return part[:1].isspace()
        if part.shown:
            return False
    return False


def _join(parts: Sequence[str | Protected]) -> TranslatedSegment:
    """Return parts without empty ones, neighbouring texts as one."""
    joined: list[str | Protected] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part:
            joined.append(part)
    return tuple(joined)
